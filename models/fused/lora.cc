#include "models/fused/lora.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/status.h"
#include "models/fused/matmul.h"
#include "models/fused/parallel.h"
#include "models/io/llama_names.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

// Up to this rank a product is a few sums over rows, which oneDNN does at a
// tenth of the speed of memory.
constexpr size_t kLowRank = 32;

// Up to this sum of ranks the B of linears side by side are multiplied as one
// matrix with zeros between them: oneDNN has no fast kernels for the columns of
// one linear alone, which have gaps, and takes five times as long.
constexpr size_t kTogether = 64;

}  // namespace

absl::StatusOr<LoraFactors> LoraFactors::Make(const ModelConfig& model,
                                              const Adapter& adapter) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(model, adapter));
  LoraFactors lora;
  lora.values_ = adapter.values;
  lora.gradient_.resize(adapter.values.size());
  std::map<std::string, size_t> offsets;
  for (const auto& tensor : adapter.layout.tensors()) {
    offsets[tensor.name] = tensor.offset;
  }
  lora.factors_.resize(static_cast<size_t>(model.layers));
  for (size_t layer = 0; layer < lora.factors_.size(); ++layer) {
    for (size_t linear = 0; linear < kLinears; ++linear) {
      const LinearShape size = LlamaLinearShape(model, linear);
      Factor& factor = lora.factors_[layer][linear];
      factor.in = static_cast<size_t>(size.in);
      factor.out = static_cast<size_t>(size.out);
      const std::string module =
          fmt::format("layers.{}.{}", layer, kLlamaLinears[linear].module);
      const auto a = offsets.find(module + ".lora_A");
      if (a == offsets.end()) continue;
      const LoraShape shape = adapter.spec.Of(module);
      factor.rank = static_cast<size_t>(shape.rank);
      factor.scale = static_cast<float>(shape.scale());
      factor.a = a->second;
      factor.b = offsets.at(module + ".lora_B");
    }
  }
  return lora;
}

template <typename T>
void LoraGroup<T>::Prepare(const LoraFactors* lora, size_t layer, Group group) {
  const ProfileScope scope(StepPart::kAdapters);
  parts_.clear();
  rank_ = in_ = 0;
  if (lora == nullptr) return;
  size_t out = 0, b = 0;
  const auto [first, count] = kGroupLinears[group];
  for (size_t linear = first; linear < first + count; ++linear) {
    const LoraFactors::Factor& factor = lora->at(layer, linear);
    if (factor.rank > 0) {
      parts_.push_back({factor, rank_, out, b});
      rank_ += factor.rank;
      in_ = factor.in;
      b += factor.out * factor.rank;
    }
    out += factor.out;
  }
  out_ = out;
  together_ = count > 1 && rank_ <= kTogether;
  const auto a = a_.Make(rank_, in_);
  const auto all = together_ ? all_b_.Make(out_, rank_) : Rows<T>();
  if (together_) std::fill_n(all.data, out_ * rank_, T());
  b_.Reserve(b);
  b_transposed_.Reserve(b);
  const float* values = lora->values().data();
  for (const Part& part : parts_) {
    const LoraFactors::Factor& factor = part.factor;
    for (size_t i = 0; i < factor.rank * factor.in; ++i) {
      a.row(part.rank_begin)[i] =
          FromFloat<T>(factor.scale * values[factor.a + i]);
    }
    const float* b_values = values + factor.b;
    Convert(b_values, factor.out * factor.rank, b_.data() + part.b_begin);
    float* transposed = b_transposed_.data() + part.b_begin;
    for (size_t i = 0; i < factor.out; ++i) {
      for (size_t j = 0; j < factor.rank; ++j) {
        transposed[j * factor.out + i] = b_values[i * factor.rank + j];
      }
      if (together_) {
        std::copy_n(B(part).row(i), factor.rank,
                    all.row(part.out_begin + i) + part.rank_begin);
      }
    }
  }
}

template <typename T>
template <typename C>
void LoraGroup<T>::Forward(const Rows<const T>& x, const Rows<T>& down,
                           const Rows<C>& y) const {
  if (rank_ == 0) return;
  const ProfileScope scope(StepPart::kAdapters);
  Multiply(Form::kABt, x, Const(a_.As(rank_, in_)), down);
  for (const Part& part : parts_) {
    const auto& factor = part.factor;
    const auto from = Const(ColumnRange(down, part.rank_begin, factor.rank));
    const auto to = ColumnRange(y, part.out_begin, factor.out);
    if (factor.rank > kLowRank) {
      Multiply(Form::kABt, from, B(part), to, {.add = true});
      continue;
    }
    const Rows<const float> b = {b_transposed_.data() + part.b_begin,
                                 factor.rank, factor.out, factor.out};
    ForRows(x.rows, [&](size_t begin, size_t end) {
      AddLowRank(RowRange(from, begin, end), b, RowRange(to, begin, end));
    });
  }
}

template <typename T>
template <typename C>
void LoraGroup<T>::ForwardRow(const LoraFactors& lora, size_t layer,
                              Group group, const T* x, C* y) {
  const float* values = lora.values().data();
  const auto [first, count] = kGroupLinears[group];
  for (size_t linear = first; linear < first + count; ++linear) {
    const LoraFactors::Factor& f = lora.at(layer, linear);
    if (f.rank > 0) {
      row_.Reserve(f.in + f.rank + f.out);
      float* const input = row_.data();
      float* const down = input + f.in;
      float* const up = down + f.rank;
      Widen(x, f.in, input);
      vector_.Set(input, f.in);
      DotRows(StoredAs<float>({values + f.a, f.rank, f.in, f.in}), 0, f.rank,
              vector_, down);
      vector_.Set(down, f.rank);
      DotRows(StoredAs<float>({values + f.b, f.out, f.rank, f.rank}), 0, f.out,
              vector_, up);
      for (size_t i = 0; i < f.out; ++i) {
        y[i] = FromFloat<C>(ToFloat(y[i]) + f.scale * up[i]);
      }
    }
    y += f.out;
  }
}

template <typename T>
void LoraGroup<T>::BackwardTogether(const Rows<const T>& down,
                                    const Rows<const T>& dy, Factors trained,
                                    float* gradient) {
  Multiply(Form::kAB, dy, Const(all_b_.As(out_, rank_)),
           ddown_.As(dy.rows, rank_));
  if (trained == Factors::kA) return;
  const auto db = all_db_.Make(out_, rank_);
  Multiply(Form::kAtB, dy, down, db);
  for (const Part& part : parts_) {
    const size_t rank = part.factor.rank;
    for (size_t i = 0; i < part.factor.out; ++i) {
      const float* from = db.row(part.out_begin + i) + part.rank_begin;
      float* to = gradient + part.factor.b + i * rank;
      for (size_t j = 0; j < rank; ++j) to[j] += from[j];
    }
  }
}

template <typename T>
void LoraGroup<T>::BackwardApart(const Rows<const T>& down,
                                 const Rows<const T>& dy, Factors trained,
                                 float* gradient) {
  const auto ddown = ddown_.As(dy.rows, rank_);
  for (const Part& part : parts_) {
    const LoraFactors::Factor& factor = part.factor;
    const auto dout = ColumnRange(dy, part.out_begin, factor.out);
    Multiply(Form::kAB, dout, B(part),
             ColumnRange(ddown, part.rank_begin, factor.rank));
    if (trained == Factors::kA) continue;
    Multiply(
        Form::kAtB, dout, ColumnRange(down, part.rank_begin, factor.rank),
        Rows<float>{gradient + factor.b, factor.out, factor.rank, factor.rank},
        {.add = true});
  }
}

template <typename T>
template <typename C>
void LoraGroup<T>::Backward(const Rows<const T>& x, const Rows<const T>& down,
                            const Rows<const T>& dy, Factors trained,
                            const Rows<C>& dx, LoraFactors& lora) {
  if (rank_ == 0) return;
  const ProfileScope scope(StepPart::kAdapters);
  const auto ddown = ddown_.Make(x.rows, rank_);
  float* gradient = lora.gradient().data();
  together_ ? BackwardTogether(down, dy, trained, gradient)
            : BackwardApart(down, dy, trained, gradient);
  if (trained != Factors::kB) {
    const auto da = da_.Make(rank_, in_);
    Multiply(Form::kAtB, Const(ddown), x, da);
    for (const Part& part : parts_) {
      const float* from = da.row(part.rank_begin);
      float* to = gradient + part.factor.a;
      for (size_t i = 0; i < part.factor.rank * in_; ++i) {
        to[i] += part.factor.scale * from[i];
      }
    }
  }
  if (dx.data != nullptr) {
    Multiply(Form::kAB, Const(ddown), Const(a_.As(rank_, in_)), dx,
             {.add = true});
  }
}

template class LoraGroup<float>;
template class LoraGroup<BFloat16>;
template void LoraGroup<float>::Forward(const Rows<const float>&,
                                        const Rows<float>&,
                                        const Rows<float>&) const;
template void LoraGroup<BFloat16>::Forward(const Rows<const BFloat16>&,
                                           const Rows<BFloat16>&,
                                           const Rows<BFloat16>&) const;
template void LoraGroup<BFloat16>::Forward(const Rows<const BFloat16>&,
                                           const Rows<BFloat16>&,
                                           const Rows<float>&) const;
template void LoraGroup<float>::ForwardRow(const LoraFactors&, size_t, Group,
                                           const float*, float*);
template void LoraGroup<BFloat16>::ForwardRow(const LoraFactors&, size_t, Group,
                                              const BFloat16*, BFloat16*);
template void LoraGroup<BFloat16>::ForwardRow(const LoraFactors&, size_t, Group,
                                              const BFloat16*, float*);
template void LoraGroup<float>::Backward(const Rows<const float>&,
                                         const Rows<const float>&,
                                         const Rows<const float>&, Factors,
                                         const Rows<float>&, LoraFactors&);
template void LoraGroup<BFloat16>::Backward(const Rows<const BFloat16>&,
                                            const Rows<const BFloat16>&,
                                            const Rows<const BFloat16>&,
                                            Factors, const Rows<BFloat16>&,
                                            LoraFactors&);
template void LoraGroup<BFloat16>::Backward(const Rows<const BFloat16>&,
                                            const Rows<const BFloat16>&,
                                            const Rows<const BFloat16>&,
                                            Factors, const Rows<float>&,
                                            LoraFactors&);

}  // namespace edgetune::fused
