#include "models/fused/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "models/fused/block_kernels.h"
#include "models/fused/matmul.h"
#include "models/fused/parallel.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

// Queries worked on at once: a block of scores against a thousand keys fills
// half of a 2 MiB second-level cache, and half of a block is masked for
// nothing.
constexpr size_t kBlock = 128;

// Lengths are rounded up to multiples of this, since oneDNN generates code for
// every shape. Rows of zeros stand for the tokens that are not: behind all
// others, nobody sees them as keys, and what they see as queries is dropped.
constexpr size_t kStep = 16;

// Room for the keys of a single query grows in steps of so many.
constexpr size_t kOneStep = 1024;

size_t RoundUp(size_t n) { return (n + kStep - 1) / kStep * kStep; }

template <typename T>
void CopyRows(const Rows<const T>& from, const Rows<T>& to) {
  for (size_t i = 0; i < from.rows; ++i) {
    std::copy_n(from.row(i), from.width, to.row(i));
  }
}

// The same into a matrix of its own, and zeros up to RoundUp rows.
template <typename T>
void TakeOut(const Rows<const T>& from, const Buffer<T>& to) {
  const auto out = to.As(RoundUp(from.rows), from.width);
  CopyRows(from, out);
  std::fill(out.row(from.rows), out.row(out.rows), T());
}

}  // namespace

template <typename T>
void Attention<T>::Prepare(std::span<const size_t> lengths, bool backward) {
  sequences_.clear();
  size_t begin = 0, longest = 0;
  for (const size_t length : lengths) {
    sequences_.push_back({begin, length});
    begin += length;
    longest = std::max(longest, RoundUp(length));
  }
  Reserve(longest, longest, backward);
}

template <typename T>
void Attention<T>::Reserve(size_t queries, size_t keys, bool backward) {
  scratch_.resize(static_cast<size_t>(omp_get_max_threads()));
  const size_t block = std::min(kBlock, queries) * keys;
  for (Scratch& scratch : scratch_) {
    for (auto* buffer : {&scratch.query, &scratch.out}) {
      buffer->Reserve(queries * shape_.dim);
    }
    for (auto* buffer : {&scratch.key, &scratch.value}) {
      buffer->Reserve(keys * shape_.dim);
    }
    scratch.scores.Reserve(block);
    scratch.probabilities.Reserve(block);
    scratch.log_sums.Reserve(queries);
    if (!backward) continue;
    for (auto* buffer : {&scratch.dout, &scratch.dquery}) {
      buffer->Reserve(queries * shape_.dim);
    }
    for (auto* buffer : {&scratch.dkey, &scratch.dvalue}) {
      buffer->Reserve(keys * shape_.dim);
    }
    scratch.dprobabilities.Reserve(block);
    scratch.dscores.Reserve(block);
    scratch.dots.Reserve(queries);
  }
}

template <typename T>
void Attention<T>::ForwardHead(size_t queries, size_t keys, size_t block,
                               Scratch& scratch) const {
  const size_t d = shape_.dim, past = keys - queries;
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  const auto query = Const(scratch.query.As(queries, d));
  const auto key = Const(scratch.key.As(keys, d));
  const auto value = Const(scratch.value.As(keys, d));
  const auto result = scratch.out.As(queries, d);
  ForBlocks(queries, std::min(block, kBlock), [&](size_t begin, size_t end) {
    const size_t seen = past + end;
    const auto scores = scratch.scores.As(end - begin, seen);
    const auto probabilities = scratch.probabilities.As(end - begin, seen);
    Multiply(Form::kABt, RowRange(query, begin, end), RowRange(key, 0, seen),
             scores);
    CausalSoftmax(scores, past + begin, scale, probabilities,
                  scratch.log_sums.data() + begin);
    Multiply(Form::kAB, Const(probabilities), RowRange(value, 0, seen),
             RowRange(result, begin, end));
  });
}

template <typename T>
void Attention<T>::Forward(const Rows<const T>& qkv,
                           std::span<const size_t> lengths, const Rows<T>& out,
                           float* log_sums) {
  const ProfileScope scope(StepPart::kAttention);
  Prepare(lengths, /*backward=*/false);
  const size_t d = shape_.dim, group = shape_.heads / shape_.kv_heads;
  const size_t tasks = sequences_.size() * shape_.kv_heads;
  ForTasks(tasks, [&](size_t task, size_t thread) {
    const Sequence& sequence = sequences_[task / shape_.kv_heads];
    const size_t kv_head = task % shape_.kv_heads, n = sequence.length;
    const size_t key_column = shape_.query_width() + kv_head * d;
    const auto view = [&](const auto& m, size_t column) {
      return ColumnRange(RowRange(m, sequence.begin, sequence.begin + n),
                         column, d);
    };
    Scratch& scratch = scratch_[thread];
    TakeOut(view(qkv, key_column), scratch.key);
    TakeOut(view(qkv, key_column + shape_.kv_width()), scratch.value);
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      TakeOut(view(qkv, head * d), scratch.query);
      ForwardHead(RoundUp(n), RoundUp(n), kBlock, scratch);
      CopyRows(Const(scratch.out.As(n, d)), view(out, head * d));
      std::copy_n(scratch.log_sums.data(), n,
                  log_sums + head * qkv.rows + sequence.begin);
    }
  });
}

template <typename T>
void Attention<T>::ExtendOne(const T* query, const Rows<const T>& keys,
                             const Rows<const T>& values, T* out) {
  const size_t d = shape_.dim, n = keys.rows;
  const size_t group = shape_.heads / shape_.kv_heads;
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  scratch_.resize(static_cast<size_t>(omp_get_max_threads()));
  ForTasks(shape_.heads, [&](size_t head, size_t thread) {
    Scratch& scratch = scratch_[thread];
    const auto key = StoredAs(ColumnRange(keys, head / group * d, d));
    const auto value = ColumnRange(values, head / group * d, d);
    const size_t room = (n + kOneStep - 1) / kOneStep * kOneStep;
    scratch.one.Reserve(d);
    scratch.scores.Reserve(room);
    scratch.weights.Reserve(room);
    scratch.log_sums.Reserve(1);
    const auto scores = scratch.scores.As(1, n);
    const auto weights = scratch.weights.As(1, n);
    float* const one = scratch.one.data();
    Widen(query + head * d, d, one);
    scratch.query_vector.Set(one, d);
    DotRows(key, 0, n, scratch.query_vector, scores.data);
    CausalSoftmax(scores, n - 1, scale, weights,
                  scratch.log_sums.data());
    SumRows(weights.data, value, one);
    Convert(one, d, out + head * d);
  });
}

template <typename T>
void Attention<T>::Extend(const Rows<const T>& queries,
                          const Rows<const T>& keys,
                          const Rows<const T>& values, size_t block,
                          const Rows<T>& out) {
  const ProfileScope scope(StepPart::kAttention);
  if (queries.rows == 1) return ExtendOne(queries.data, keys, values, out.data);
  const size_t d = shape_.dim, group = shape_.heads / shape_.kv_heads;
  Reserve(queries.rows, keys.rows, /*backward=*/false);
  ForTasks(shape_.kv_heads, [&](size_t kv_head, size_t thread) {
    Scratch& scratch = scratch_[thread];
    CopyRows(ColumnRange(keys, kv_head * d, d), scratch.key.As(keys.rows, d));
    CopyRows(ColumnRange(values, kv_head * d, d),
             scratch.value.As(keys.rows, d));
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      CopyRows(ColumnRange(queries, head * d, d),
               scratch.query.As(queries.rows, d));
      ForwardHead(queries.rows, keys.rows, block, scratch);
      CopyRows(Const(scratch.out.As(queries.rows, d)),
               ColumnRange(out, head * d, d));
    }
  });
}

template <typename T>
void Attention<T>::BackwardHead(size_t n, Scratch& scratch) const {
  const size_t d = shape_.dim;
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  const auto query = Const(scratch.query.As(n, d));
  const auto dout = Const(scratch.dout.As(n, d));
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, n);
    const auto block = [&](const auto& m) { return RowRange(m, begin, end); };
    const auto scores = scratch.scores.As(end - begin, end);
    const auto dp = scratch.dprobabilities.As(end - begin, end);
    const auto p = scratch.probabilities.As(end - begin, end);
    const auto ds = scratch.dscores.As(end - begin, end);
    const auto key = Const(scratch.key.As(end, d));
    Multiply(Form::kABt, block(query), key, scores);
    Multiply(Form::kABt, block(dout), Const(scratch.value.As(end, d)), dp);
    CausalSoftmaxGradient(Const(scores), begin, scale,
                          scratch.log_sums.data() + begin, Const(dp),
                          scratch.dots.data() + begin, p, ds);
    Multiply(Form::kAB, Const(ds), key, block(scratch.dquery.As(n, d)));
    Multiply(Form::kAtB, Const(ds), block(query), scratch.dkey.As(end, d),
             {.add = true});
    Multiply(Form::kAtB, Const(p), block(dout), scratch.dvalue.As(end, d),
             {.add = true});
  }
}

template <typename T>
void Attention<T>::BackwardGroup(const Rows<const T>& qkv,
                                 const Sequence& sequence, size_t kv_head,
                                 const Rows<const T>& out,
                                 const float* log_sums,
                                 const Rows<const T>& dout, const Rows<T>& dqkv,
                                 Scratch& scratch) const {
  const size_t d = shape_.dim, n = sequence.length;
  const size_t key_column = shape_.query_width() + kv_head * d;
  const size_t value_column = key_column + shape_.kv_width();
  const auto view = [&](const auto& m, size_t column) {
    return ColumnRange(RowRange(m, sequence.begin, sequence.begin + n), column,
                       d);
  };
  const size_t rounded = RoundUp(n);
  TakeOut(view(qkv, key_column), scratch.key);
  TakeOut(view(qkv, value_column), scratch.value);
  const auto dkey = scratch.dkey.As(rounded, d);
  const auto dvalue = scratch.dvalue.As(rounded, d);
  std::fill_n(dkey.data, rounded * d, 0.0f);
  std::fill_n(dvalue.data, rounded * d, 0.0f);
  // Where there is no token there is no gradient either.
  std::fill_n(scratch.dots.data(), rounded, 0.0f);
  std::fill_n(scratch.log_sums.data(), rounded, 0.0f);
  const size_t group = shape_.heads / shape_.kv_heads;
  for (size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const auto head_out = view(out, head * d), head_dout = view(dout, head * d);
    TakeOut(view(qkv, head * d), scratch.query);
    TakeOut(head_dout, scratch.dout);
    RowDots(head_out, head_dout, scratch.dots.data());
    std::copy_n(log_sums + head * qkv.rows + sequence.begin, n,
                scratch.log_sums.data());
    BackwardHead(rounded, scratch);
    CopyRows(Const(scratch.dquery.As(n, d)), view(dqkv, head * d));
  }
  for (size_t i = 0; i < n; ++i) {
    Convert(dkey.row(i), d, view(dqkv, key_column).row(i));
    Convert(dvalue.row(i), d, view(dqkv, value_column).row(i));
  }
}

template <typename T>
void Attention<T>::Backward(const Rows<const T>& qkv,
                            std::span<const size_t> lengths,
                            const Rows<const T>& out, const float* log_sums,
                            const Rows<const T>& dout, const Rows<T>& dqkv) {
  const ProfileScope scope(StepPart::kAttention);
  Prepare(lengths, /*backward=*/true);
  ForTasks(sequences_.size() * shape_.kv_heads,
           [&](size_t task, size_t thread) {
             BackwardGroup(qkv, sequences_[task / shape_.kv_heads],
                           task % shape_.kv_heads, out, log_sums, dout, dqkv,
                           scratch_[thread]);
           });
}

template class Attention<float>;
template class Attention<BFloat16>;

}  // namespace edgetune::fused
