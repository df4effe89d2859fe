#include "models/fused/head.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/fused/matmul.h"
#include "models/fused/parallel.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

// Labels and columns of the vocabulary worked on at once: 8 MB of logits. More
// labels spare reading the projection again, fewer columns spare memory.
constexpr size_t kLabels = 1024;
constexpr size_t kColumns = 2048;

// Logits of many rows that are there at once: 32 MB. Fewer would read the
// projection, which may have to be de-quantised, for too few rows.
constexpr size_t kLogits = size_t{8} << 20;

// The same on the way to a gradient, which a device has to hold.
constexpr size_t kGradientLogits = size_t{4} << 20;

// Labels are rounded up to multiples of this: oneDNN generates code for every
// number of rows.
constexpr size_t kStep = 32;

// Rows whose logits over `width` tokens are at most `logits`.
size_t RowsWithin(size_t logits, size_t width) {
  return std::clamp(logits / width / kStep * kStep, kStep, kLabels);
}

}  // namespace

template <typename T>
typename Head<T>::Chunk Head<T>::Collect(const Rows<const float>& x,
                                         std::span<const size_t> rows,
                                         std::span<const int32_t> tokens,
                                         size_t begin) {
  const size_t labels = std::min(kLabels, rows.size() - begin);
  const auto out = CollectRows(x, rows, begin, labels);
  tokens_.assign(out.rows, 0);
  std::ranges::copy(tokens.subspan(begin, labels), tokens_.begin());
  return {out, tokens_, labels};
}

template <typename T>
Rows<const float> Head<T>::CollectRows(const Rows<const float>& x,
                                       std::span<const size_t> rows,
                                       size_t begin, size_t most) {
  const size_t labels = std::min(most, rows.size() - begin);
  const size_t n = (labels + kStep - 1) / kStep * kStep;
  const auto out = collected_.Make(n, x.width);
  for (size_t i = 0; i < labels; ++i) {
    std::copy_n(x.row(rows[begin + i]), x.width, out.row(i));
  }
  std::fill_n(out.row(labels), (n - labels) * x.width, 0.0f);
  return Const(out);
}

template <typename T>
Rows<const T> Head<T>::ProjectionOf(std::span<const int32_t> vocabulary) {
  const size_t d = projection_.width();
  const auto out = chosen_.Make(vocabulary.size(), d);
  if (!std::ranges::equal(vocabulary, vocabulary_)) {
    ForRows(vocabulary.size(), [&](size_t begin, size_t end) {
      std::vector<float> row(d);
      for (size_t i = begin; i < end; ++i) {
        projection_.ReadRow<T>(static_cast<size_t>(vocabulary[i]), row.data());
        Convert(row.data(), d, out.row(i));
      }
    });
    vocabulary_.assign(vocabulary.begin(), vocabulary.end());
  }
  return Const(out);
}

template <typename T>
void Head<T>::Logits(
    const Rows<const float>& x, std::span<const size_t> rows,
    std::span<const int32_t> vocabulary,
    const std::function<void(size_t, const Rows<float>&)>& take) {
  const ProfileScope scope(StepPart::kHead);
  const size_t width =
      vocabulary.empty() ? projection_.rows() : vocabulary.size();
  const size_t most = RowsWithin(kLogits, width);
  for (size_t begin = 0; begin < rows.size(); begin += most) {
    const auto collected = CollectRows(x, rows, begin, most);
    const size_t n = collected.rows;
    Normalise(collected);
    Rows<float> logits;
    if (vocabulary.empty()) {
      logits = WholeLogits(n);
    } else {
      logits = logits_.Make(n, width);
      Multiply(Form::kABt, Const(normed_.As(n, x.width)),
               ProjectionOf(vocabulary), logits);
    }
    take(begin, RowRange(logits, 0, std::min(most, rows.size() - begin)));
  }
}

template <typename T>
Rows<float> Head<T>::WholeLogits(size_t n) {
  const size_t width = projection_.rows();
  const auto logits = logits_.Make(n, width);
  const auto normed = Const(normed_.As(n, projection_.width()));
  for (size_t column = 0; column < width; column += kColumns) {
    const size_t end = std::min(column + kColumns, width);
    Multiply(Form::kABt, normed, projection_.Read(column, end, columns_),
             ColumnRange(logits, column, end - column));
  }
  return logits;
}

template <typename T>
void Head<T>::ProjectBack(const Rows<const float>& dlogits) {
  const size_t n = dlogits.rows;
  const auto sums = sums_.Make(n, projection_.width());
  std::fill_n(sums.data, n * sums.width, 0.0f);
  for (size_t column = 0; column < dlogits.width; column += kColumns) {
    const size_t end = std::min(column + kColumns, dlogits.width);
    const auto part = exps_.Make(n, end - column);
    ForRows(n, [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) {
        Convert(dlogits.row(i) + column, part.width, part.row(i));
      }
    });
    Multiply(Form::kAB, Const(part), projection_.Read(column, end, columns_),
             sums, {.add = true});
  }
}

template <typename T>
void Head<T>::Normalise(const Rows<const float>& x) {
  const auto normed = normed_.Make(x.rows, x.width);
  ForRows(x.rows, [&](size_t begin, size_t end) {
    RmsNorm(RowRange(x, begin, end), gain_, epsilon_,
            RowRange(normed, begin, end));
  });
}

template <typename T>
std::span<const float> Head<T>::Logits(const float* x) {
  const ProfileScope scope(StepPart::kHead);
  const size_t d = projection_.width();
  const auto normed = row_.Make(1, d);
  RmsNorm(Rows<const float>{x, 1, d, d}, gain_, epsilon_, normed);
  logits_.Reserve(projection_.rows());
  vector_.Set(normed.data, d);
  projection_.Dot(vector_, logits_.data());
  return {logits_.data(), projection_.rows()};
}

template <typename T>
void Head<T>::Sweep(const Chunk& chunk, bool gradient) {
  const size_t n = chunk.x.rows, d = chunk.x.width;
  Normalise(chunk.x);
  for (auto* buffer : {&most_, &sum_, &logit_, &nll_}) buffer->Reserve(n);
  std::fill_n(most_.data(), n, std::numeric_limits<float>::lowest());
  std::fill_n(sum_.data(), n, 0.0f);
  const auto sums = gradient ? sums_.Make(n, d) : Rows<float>();
  if (gradient) std::fill_n(sums.data, n * d, 0.0f);
  for (size_t column = 0; column < projection_.rows(); column += kColumns) {
    const size_t end = std::min(column + kColumns, projection_.rows());
    const auto projection = projection_.Read(column, end, columns_);
    const auto logits = logits_.Make(n, projection.rows);
    const auto exps = gradient ? exps_.Make(n, projection.rows) : Rows<T>();
    Multiply(Form::kABt, Const(normed_.As(n, d)), projection, logits);
    ForRows(n, [&](size_t first, size_t last) {
      AddSoftmaxColumns(
          Const(RowRange(logits, first, last)), &chunk.tokens[first],
          static_cast<int32_t>(column),
          {most_.data() + first, sum_.data() + first, logit_.data() + first},
          gradient ? RowRange(sums, first, last) : sums,
          gradient ? RowRange(exps, first, last) : exps);
    });
    if (gradient) {
      Multiply(Form::kAB, Const(exps), projection, sums, {.add = true});
    }
  }
  for (size_t i = 0; i < n; ++i) {
    nll_.data()[i] =
        std::log(sum_.data()[i]) + (most_.data()[i] - logit_.data()[i]);
  }
}

template <typename T>
void Head<T>::Nll(const Rows<const float>& x, std::span<const size_t> rows,
                  std::span<const int32_t> tokens, std::span<float> nll) {
  const ProfileScope scope(StepPart::kHead);
  for (size_t begin = 0; begin < rows.size(); begin += kLabels) {
    const Chunk chunk = Collect(x, rows, tokens, begin);
    Sweep(chunk, /*gradient=*/false);
    std::copy_n(nll_.data(), chunk.labels, nll.data() + begin);
  }
}

template <typename T>
void Head<T>::AddGradient(const Chunk& chunk, float weight,
                          const Rows<float>& dx) {
  const size_t d = dx.width;
  const auto dnormed = sums_.As(chunk.labels, d);
  const auto targets = targets_.Make(chunk.labels, d);
  ForRows(dx.rows, [&](size_t first, size_t last) {
    for (size_t i = first; i < last; ++i) {
      float* const row = targets.row(i);
      projection_.ReadRow<T>(static_cast<size_t>(chunk.tokens[i]), row);
      const float others = weight / sum_.data()[i];
      // p - 1 without cancellation where p is near 1.
      const float own = weight * std::expm1(-nll_.data()[i]);
      float* out = dnormed.row(i);
      for (size_t j = 0; j < d; ++j) out[j] = others * out[j] + own * row[j];
    }
    AddRmsNormGradient(RowRange(chunk.x, first, last), gain_, epsilon_,
                       Const(RowRange(dnormed, first, last)),
                       RowRange(dx, first, last));
  });
}

template <typename T>
double Head<T>::Gradient(const Rows<const float>& x,
                         std::span<const size_t> rows,
                         std::span<const int32_t> tokens, double weight,
                         const Rows<float>& dx) {
  const ProfileScope scope(StepPart::kHead);
  const auto gradients = dcollected_.Make(rows.size(), x.width);
  std::fill_n(gradients.data, rows.size() * x.width, 0.0f);
  double sum = 0;
  for (size_t begin = 0; begin < rows.size(); begin += kLabels) {
    const Chunk chunk = Collect(x, rows, tokens, begin);
    Sweep(chunk, /*gradient=*/true);
    const size_t end = begin + chunk.labels;
    for (size_t i = begin; i < end; ++i) sum += nll_.data()[i - begin];
    AddGradient(chunk, static_cast<float>(weight),
                RowRange(gradients, begin, end));
  }
  PutBack(rows, dx);
  return sum;
}

template <typename T>
double Head<T>::Gradient(const Rows<const float>& x,
                         std::span<const size_t> rows, const LossOfLogits& loss,
                         double weight, const Rows<float>& dx) {
  const ProfileScope scope(StepPart::kHead);
  const auto gradients = dcollected_.Make(rows.size(), x.width);
  std::fill_n(gradients.data, rows.size() * x.width, 0.0f);
  const size_t most = RowsWithin(kGradientLogits, projection_.rows());
  double sum = 0;
  for (size_t begin = 0; begin < rows.size(); begin += most) {
    const auto collected = CollectRows(x, rows, begin, most);
    Normalise(collected);
    const auto logits = WholeLogits(collected.rows);
    const size_t labels = std::min(most, rows.size() - begin);
    sum += loss(begin, RowRange(logits, 0, labels));
    ProjectBack(Const(logits));
    ForRows(labels, [&](size_t first, size_t last) {
      const auto dnormed = RowRange(sums_.As(labels, x.width), first, last);
      for (size_t i = 0; i < dnormed.rows * x.width; ++i) {
        dnormed.data[i] *= static_cast<float>(weight);
      }
      AddRmsNormGradient(RowRange(collected, first, last), gain_, epsilon_,
                         Const(dnormed),
                         RowRange(gradients, begin + first, begin + last));
    });
  }
  PutBack(rows, dx);
  return sum;
}

template <typename T>
void Head<T>::PutBack(std::span<const size_t> rows, const Rows<float>& dx) {
  std::fill_n(dx.data, dx.rows * dx.width, 0.0f);
  const auto gradients = dcollected_.As(rows.size(), dx.width);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(gradients.row(i), dx.width, dx.row(rows[i]));
  }
}

template class Head<float>;
template class Head<BFloat16>;

}  // namespace edgetune::fused
