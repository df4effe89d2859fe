#include "models/fused/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "models/fused/matmul.h"
#include "models/fused/parallel.h"

namespace edgetune::fused {
namespace {

// Queries worked on at once: a block of scores against a thousand keys fills
// half of a 2 MiB second-level cache, and half of a block is masked for
// nothing.
constexpr size_t kBlock = 128;

}  // namespace

template <typename T>
void Attention<T>::Prepare(std::span<const size_t> lengths) {
  sequences_.clear();
  size_t begin = 0, longest = 0;
  for (const size_t length : lengths) {
    sequences_.push_back({begin, length});
    begin += length;
    longest = std::max(longest, length);
  }
  Reserve(longest, longest);
}

template <typename T>
void Attention<T>::Reserve(size_t queries, size_t keys) {
  scratch_.resize(static_cast<size_t>(omp_get_max_threads()));
  const size_t size = std::min(kBlock, queries) * keys;
  for (Scratch& scratch : scratch_) {
    scratch.scores.Reserve(size);
    scratch.probabilities.Reserve(size);
  }
}

template <typename T>
void Attention<T>::ForwardHead(const Rows<const T>& query,
                               const Rows<const T>& key,
                               const Rows<const T>& value, const Rows<T>& out,
                               float* log_sums, Scratch& scratch) const {
  const float scale = 1 / std::sqrt(static_cast<float>(shape_.dim));
  const size_t past = key.rows - query.rows;
  for (size_t begin = 0; begin < query.rows; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, query.rows);
    const size_t seen = past + end;
    const auto scores = scratch.scores.As(end - begin, seen);
    const auto probabilities = scratch.probabilities.As(end - begin, seen);
    Multiply(Form::kABt, RowRange(query, begin, end), RowRange(key, 0, seen),
             scores);
    CausalSoftmax(Const(scores), past + begin, scale, probabilities,
                  log_sums + begin);
    Multiply(Form::kAB, Const(probabilities), RowRange(value, 0, seen),
             RowRange(out, begin, end));
  }
}

template <typename T>
void Attention<T>::Forward(const Rows<const T>& qkv,
                           std::span<const size_t> lengths, const Rows<T>& out,
                           float* log_sums) {
  Prepare(lengths);
  const size_t d = shape_.dim, group = shape_.heads / shape_.kv_heads;
  ForTasks(sequences_.size() * shape_.heads, [&](size_t task, size_t thread) {
    const Sequence& sequence = sequences_[task / shape_.heads];
    const size_t head = task % shape_.heads;
    const size_t key_column = shape_.query_width() + head / group * d;
    const auto view = [&](const auto& m, size_t column) {
      const size_t end = sequence.begin + sequence.length;
      return ColumnRange(RowRange(m, sequence.begin, end), column, d);
    };
    ForwardHead(view(qkv, head * d), view(qkv, key_column),
                view(qkv, key_column + shape_.kv_width()), view(out, head * d),
                log_sums + head * qkv.rows + sequence.begin, scratch_[thread]);
  });
}

template <typename T>
void Attention<T>::Extend(const Rows<const T>& queries,
                          const Rows<const T>& keys,
                          const Rows<const T>& values, const Rows<T>& out) {
  const size_t d = shape_.dim, group = shape_.heads / shape_.kv_heads;
  Reserve(queries.rows, keys.rows);
  for (Scratch& scratch : scratch_) scratch.log_sums.Reserve(queries.rows);
  ForTasks(shape_.heads, [&](size_t head, size_t thread) {
    const size_t kv_column = head / group * d;
    ForwardHead(
        ColumnRange(queries, head * d, d), ColumnRange(keys, kv_column, d),
        ColumnRange(values, kv_column, d), ColumnRange(out, head * d, d),
        scratch_[thread].log_sums.data(), scratch_[thread]);
  });
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
  const auto own = [&](const auto& m) {
    return RowRange(m, sequence.begin, sequence.begin + n);
  };
  const auto key = ColumnRange(own(qkv), key_column, d);
  const auto value = ColumnRange(own(qkv), value_column, d);
  const auto dkeys = scratch.dkeys.As(n, d);
  const auto dvalues = scratch.dvalues.As(n, d);
  std::fill_n(dkeys.data, n * d, 0.0f);
  std::fill_n(dvalues.data, n * d, 0.0f);
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  const size_t group = shape_.heads / shape_.kv_heads;
  for (size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const auto query = ColumnRange(own(qkv), head * d, d);
    const auto dquery = ColumnRange(own(dqkv), head * d, d);
    const auto dresult = ColumnRange(own(dout), head * d, d);
    RowDots(ColumnRange(own(out), head * d, d), dresult, scratch.dots.data());
    const float* sums = log_sums + head * qkv.rows + sequence.begin;
    for (size_t begin = 0; begin < n; begin += kBlock) {
      const size_t end = std::min(begin + kBlock, n);
      const auto block = [&](const auto& m) { return RowRange(m, begin, end); };
      const auto scores = scratch.scores.As(end - begin, end);
      const auto dp = scratch.dprobabilities.As(end - begin, end);
      const auto p = scratch.probabilities.As(end - begin, end);
      const auto ds = scratch.dscores.As(end - begin, end);
      const auto keys = RowRange(key, 0, end);
      Multiply(Form::kABt, block(query), keys, scores);
      Multiply(Form::kABt, block(dresult), RowRange(value, 0, end), dp);
      CausalSoftmaxGradient(Const(scores), begin, scale, sums + begin,
                            Const(dp), scratch.dots.data() + begin, p, ds);
      Multiply(Form::kAB, Const(ds), keys, block(dquery));
      Multiply(Form::kAtB, Const(ds), block(query), RowRange(dkeys, 0, end),
               {.add = true});
      Multiply(Form::kAtB, Const(p), block(dresult), RowRange(dvalues, 0, end),
               {.add = true});
    }
  }
  for (size_t i = 0; i < n; ++i) {
    T* row = own(dqkv).row(i);
    Convert(dkeys.row(i), d, row + key_column);
    Convert(dvalues.row(i), d, row + value_column);
  }
}

template <typename T>
void Attention<T>::Backward(const Rows<const T>& qkv,
                            std::span<const size_t> lengths,
                            const Rows<const T>& out, const float* log_sums,
                            const Rows<const T>& dout, const Rows<T>& dqkv) {
  Prepare(lengths);
  size_t longest = 0;
  for (const size_t length : lengths) longest = std::max(longest, length);
  for (Scratch& scratch : scratch_) {
    scratch.dprobabilities.Reserve(std::min(kBlock, longest) * longest);
    scratch.dscores.Reserve(std::min(kBlock, longest) * longest);
    scratch.dkeys.Reserve(longest * shape_.dim);
    scratch.dvalues.Reserve(longest * shape_.dim);
    scratch.dots.Reserve(longest);
  }
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
