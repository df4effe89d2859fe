#include "models/fused/int8_product.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/status.h"
#include "models/fused/int8_kernels.h"
#include "models/fused/parallel.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

// A product is worked on in blocks of so much at most: their sums stay in the
// second-level cache until they are scaled, and their rows are worth the
// packing of the weights with which either kernel begins.
constexpr size_t kBlockRows = 256;
constexpr size_t kBlockColumns = 576;
constexpr size_t kBlockSize = kBlockRows * kBlockColumns;
constexpr size_t kFewestBlockRows = 64;
// With room for columns rounded up.
constexpr size_t kSumsOfThread = kBlockSize + kBlockRows * kSumColumns;
constexpr size_t kFewestRowsOfThread = 64;

// oneDNN's kernels are made for a number of rows, which takes longer than most
// products: ragged sequences share them by multiplying a few rows too many, but
// for the fewest, which generation has.
constexpr size_t kRowUnit = 16;
static_assert(kRowUnit % kSumRows == 0);

constexpr size_t RoundedUp(size_t count, size_t unit) {
  return (count + unit - 1) / unit * unit;
}

}  // namespace

// Rows or columns.
struct Int8Workspace::Range {
  size_t begin, end;

  size_t size() const { return end - begin; }

  // The share of a thread, in multiples of `unit`.
  static Range OfThread(size_t thread, size_t threads, size_t count,
                        size_t unit) {
    const size_t size = RoundedUp((count + threads - 1) / threads, unit);
    return {std::min(thread * size, count),
            std::min((thread + 1) * size, count)};
  }
  // [begin, end) in parts of `size`, but for the last.
  template <typename Work>
  void InParts(size_t size, const Work& work) const {
    for (size_t i = begin; i < end; i += size) {
      work(Range{i, std::min(i + size, end)});
    }
  }
};

namespace {

struct Block {
  size_t rows, columns;
};

// oneDNN halves its speed for matrices with gaps: blocks have all columns of a
// row-major B, where they are shared out by rows, and else parts of one size.
Block BlockOf(Form form, bool by_rows, size_t width) {
  if (form == Form::kAB && by_rows && width * kFewestBlockRows <= kBlockSize) {
    const size_t rows = kBlockSize / width / kRowUnit * kRowUnit;
    return {std::min(rows, kBlockRows), width};
  }
  const size_t parts = (width + kBlockColumns - 1) / kBlockColumns;
  return {kBlockRows, RoundedUp((width + parts - 1) / parts, kSumColumns)};
}

}  // namespace

void QuantiseRow(const float* in, size_t row, Int8Matrix& w) {
  QuantiseRows<float>({in, 1, w.width, w.width}, nullptr,
                      {w.values.data() + row * w.width, 1, w.width, w.width},
                      w.scales.data() + row);
}

// Where there are rows enough, each thread quantises its own and multiplies
// them with all of w; else each multiplies all rows with its part of w.
template <typename T, typename C>
void Int8Workspace::Run(const Product<T, C>& product) {
  const size_t rows = product.y.rows, width = product.y.width;
  EDGETUNE_CHECK(product.x.width <= kMostTerms && product.x.rows == rows);
  if (rows == 0 || width == 0) return;
  const ProfileScope scope(StepPart::kProducts,
                           2.0 * static_cast<double>(rows) *
                               static_cast<double>(width) *
                               static_cast<double>(product.x.width));
  const auto threads = static_cast<size_t>(omp_get_max_threads());
  Reserve(rows, product.x.width, threads);
  const bool by_rows = rows >= threads * kFewestRowsOfThread;
  if (!by_rows) {
    ForRows(rows, [&](size_t begin, size_t end) {
      Quantise(product, Range{begin, end});
    });
  }
  ForTasks(threads, [&](size_t task, size_t thread) {
    Range down{0, rows}, across{0, width};
    if (by_rows) {
      down = Range::OfThread(task, threads, rows, kRowUnit);
    } else {
      across = Range::OfThread(task, threads, width, kSumColumns);
    }
    if (across.begin >= across.end) return;
    const Block block = BlockOf(product.form, by_rows, across.size());
    down.InParts(block.rows, [&](const Range& rows_of_block) {
      if (by_rows) Quantise(product, rows_of_block);
      across.InParts(block.columns, [&](const Range& columns_of_block) {
        MultiplyBlock(product, rows_of_block, columns_of_block, thread);
      });
    });
  });
}

void Int8Workspace::Reserve(size_t rows, size_t depth, size_t threads) {
  const size_t padded = RoundedUp(rows, kRowUnit);
  const Rows<int8_t> values = quantised_.Make(padded, depth);
  std::memset(values.row(rows), 0, (padded - rows) * depth);
  row_scales_.Reserve(rows);
  sums_.Reserve(kSumsOfThread * threads);
  if (!through_onednn_) scratch_.Reserve(ScratchOfBytes(kBlockRows) * threads);
}

template <typename T, typename C>
void Int8Workspace::Quantise(const Product<T, C>& product, const Range& rows) {
  const Rows<int8_t> values = quantised_.As(product.x.rows, product.x.width);
  QuantiseRows(RowRange(product.x, rows.begin, rows.end), product.factors,
               RowRange(values, rows.begin, rows.end),
               row_scales_.data() + rows.begin);
}

// One block, on the thread that calls it.
template <typename T, typename C>
void Int8Workspace::MultiplyBlock(const Product<T, C>& product,
                                  const Range& rows, const Range& columns,
                                  size_t thread) {
  const size_t padded =
      rows.size() < kRowUnit ? rows.size() : RoundedUp(rows.size(), kRowUnit);
  // Without gaps for oneDNN; MultiplyBytes needs the room.
  const size_t stride =
      through_onednn_ ? columns.size() : RoundedUp(columns.size(), kSumColumns);
  const Rows<int32_t> sums{sums_.data() + thread * kSumsOfThread, padded,
                           columns.size(), stride};
  const auto a =
      Const(RowRange(quantised_.As(rows.begin + padded, product.x.width),
                     rows.begin, rows.begin + padded));
  const auto w = Const(product.w.values.As(product.w.rows, product.w.width));
  const auto b = product.form == Form::kABt
                     ? RowRange(w, columns.begin, columns.end)
                     : ColumnRange(w, columns.begin, columns.size());
  if (through_onednn_) {
    Multiply(product.form, a, b, sums);
  } else {
    MultiplyBytes(product.form, a, b, sums,
                  scratch_.data() + thread * ScratchOfBytes(kBlockRows));
  }
  LowRank apart = product.apart;
  if (apart.x.width > 0) {
    apart = {RowRange(apart.x, rows.begin, rows.end),
             ColumnRange(apart.b, columns.begin, columns.size())};
  }
  const auto from = [&](const float* values) {
    return values == nullptr ? nullptr : values + columns.begin;
  };
  ScaleSums<C>(Const(RowRange(sums, 0, rows.size())),
               row_scales_.data() + rows.begin, from(product.scales),
               from(product.bias), apart, product.add,
               ColumnRange(RowRange(product.y, rows.begin, rows.end),
                           columns.begin, columns.size()));
}

template <typename T>
void Int8Workspace::FindLargest(const Rows<const T>& x) {
  const size_t width = x.width, apart = Apart(width);
  const auto threads = static_cast<size_t>(omp_get_max_threads());
  const auto most = most_.Make(threads, width);
  std::fill_n(most.data, threads * width, 0.0f);
  ForTasks(threads, [&](size_t task, size_t) {
    const size_t begin = x.rows * task / threads;
    const size_t end = x.rows * (task + 1) / threads;
    RaiseToMagnitudes(RowRange(x, begin, end), most.row(task));
  });
  for (size_t i = width; i < threads * width; ++i) {
    most.data[i % width] = std::max(most.data[i % width], most.data[i]);
  }
  order_.resize(width);
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::partial_sort(order_.begin(), order_.begin() + apart, order_.end(),
                    [&](size_t a, size_t b) {
                      return most.data[a] != most.data[b]
                                 ? most.data[a] > most.data[b]
                                 : a < b;
                    });
  factors_.Reserve(width);
  std::fill_n(factors_.data(), width, 1.0f);
  for (size_t i = 0; i < apart; ++i) factors_.data()[order_[i]] = 0;
}

template <typename T>
LowRank Int8Workspace::TakeApart(const Rows<const T>& x, const Int8Matrix& w) {
  const size_t apart = Apart(x.width);
  const auto b = w_apart_.Make(apart, w.rows);
  ForRows(w.rows, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      const int8_t* values = w.values.data() + row * w.width;
      for (size_t i = 0; i < apart; ++i) {
        b.row(i)[row] = w.scales.data()[row] * values[order_[i]];
      }
    }
  });
  const auto picked = x_apart_.Make(x.rows, apart);
  ForRows(x.rows, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      for (size_t i = 0; i < apart; ++i) {
        picked.row(row)[i] = ToFloat(x.row(row)[order_[i]]);
      }
    }
  });
  return {Const(picked), Const(b)};
}

template <typename T, typename C>
void Int8Workspace::Forward(const Rows<const T>& x, const Int8Matrix& w,
                            const float* bias, bool add, const Rows<C>& y) {
  EDGETUNE_CHECK(x.width == w.width && y.width == w.rows);
  FindLargest(x);
  Run<T, C>({.form = Form::kABt,
             .x = x,
             .factors = factors_.data(),
             .w = w,
             .scales = w.scales.data(),
             .bias = bias,
             .apart = TakeApart(x, w),
             .add = add,
             .y = y});
}

template <typename T, typename C>
void Int8Workspace::Backward(const Rows<const T>& dy, const Int8Matrix& w,
                             const Rows<C>& dx) {
  EDGETUNE_CHECK(dy.width == w.rows && dx.width == w.width);
  Run<T, C>({.form = Form::kAB,
             .x = dy,
             .factors = w.scales.data(),
             .w = w,
             .scales = nullptr,
             .bias = nullptr,
             .apart = {},
             .add = false,
             .y = dx});
}

template void Int8Workspace::Forward(const Rows<const float>&,
                                     const Int8Matrix&, const float*, bool,
                                     const Rows<float>&);
template void Int8Workspace::Forward(const Rows<const BFloat16>&,
                                     const Int8Matrix&, const float*, bool,
                                     const Rows<BFloat16>&);
template void Int8Workspace::Forward(const Rows<const BFloat16>&,
                                     const Int8Matrix&, const float*, bool,
                                     const Rows<float>&);
template void Int8Workspace::Backward(const Rows<const float>&,
                                      const Int8Matrix&, const Rows<float>&);
template void Int8Workspace::Backward(const Rows<const BFloat16>&,
                                      const Int8Matrix&, const Rows<BFloat16>&);
template void Int8Workspace::Backward(const Rows<const BFloat16>&,
                                      const Int8Matrix&, const Rows<float>&);

}  // namespace edgetune::fused
