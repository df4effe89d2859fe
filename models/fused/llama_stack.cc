#include "models/fused/llama_stack.h"

#include <algorithm>
#include <numeric>

#include "models/fused/matmul.h"
#include "models/fused/parallel.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

size_t Size(int64_t n) { return static_cast<size_t>(n); }

HeadShape HeadsOf(const ModelConfig& c) {
  return {Size(c.heads), Size(c.kv_heads), Size(c.head_dim)};
}

template <typename T>
Rows<const T> Matrix(const Buffer<T>& weights, size_t rows, size_t columns) {
  return Const(weights.As(rows, columns));
}

template <typename T>
Rows<const T> ProjectionOf(const ModelConfig& c, const Weights<T>& weights) {
  return Matrix(c.tied ? weights.embedding : weights.head, Size(c.vocab),
                Size(c.hidden));
}

// gate_up becomes its own gradient.
template <typename T>
void BackThroughSwiGlu(const Rows<const T>& dout, const Rows<T>& gate_up) {
  const ProfileScope scope(StepPart::kNorms);
  ForRows(dout.rows, [&](size_t begin, size_t end) {
    SwiGluGradient(RowRange(dout, begin, end), RowRange(gate_up, begin, end));
  });
}

void Copy(const Rows<const float>& from, const Rows<float>& to) {
  ForRows(from.rows, [&](size_t begin, size_t end) {
    std::copy_n(from.row(begin), (end - begin) * from.width, to.row(begin));
  });
}

}  // namespace

template <typename T>
LlamaStack<T>::LlamaStack(const ModelConfig& config, Weights<T> weights)
    : config_(config),
      weights_(std::move(weights)),
      heads_(HeadsOf(config)),
      attention_(heads_),
      head_(ProjectionOf(config, weights_), weights_.norm.data(),
            static_cast<float>(config.rms_eps)),
      rotary_(config) {}

template <typename T>
Rows<T> LlamaStack<T>::Norm(const Rows<const float>& x,
                            const Buffer<float>& gain) {
  const ProfileScope scope(StepPart::kNorms);
  const auto out = normed_.Make(x.rows, x.width);
  ForRows(x.rows, [&](size_t begin, size_t end) {
    RmsNorm(RowRange(x, begin, end), gain.data(),
            static_cast<float>(config_.rms_eps), RowRange(out, begin, end));
  });
  return out;
}

template <typename T>
void LlamaStack<T>::AddNormGradient(const Buffer<float>& x,
                                    const Buffer<float>& gain,
                                    const Rows<const float>& dy,
                                    const Rows<float>& dx) {
  const ProfileScope scope(StepPart::kNorms);
  const auto input = Const(x.As(dx.rows, dx.width));
  ForRows(dx.rows, [&](size_t begin, size_t end) {
    AddRmsNormGradient(RowRange(input, begin, end), gain.data(),
                       static_cast<float>(config_.rms_eps),
                       RowRange(dy, begin, end), RowRange(dx, begin, end));
  });
}

// The gradient of the residual stream as products take it.
template <typename T>
Rows<const T> LlamaStack<T>::Narrow(const Rows<float>& x) {
  const ProfileScope scope(StepPart::kNorms);
  const auto out = narrow_.Make(x.rows, x.width);
  ForRows(x.rows, [&](size_t begin, size_t end) {
    Convert(x.row(begin), (end - begin) * x.width, out.row(begin));
  });
  return Const(out);
}

template <typename T>
Rows<T> LlamaStack<T>::Activate(const Rows<const T>& gate_up) {
  const ProfileScope scope(StepPart::kNorms);
  const auto out = activated_.Make(gate_up.rows, Size(config_.ffn));
  ForRows(gate_up.rows, [&](size_t begin, size_t end) {
    SwiGlu(RowRange(gate_up, begin, end), RowRange(out, begin, end));
  });
  return out;
}

template <typename T>
void LlamaStack<T>::RotateHeads(const Rows<T>& qkv, bool inverse) {
  const ProfileScope scope(StepPart::kNorms);
  const auto rotated =
      ColumnRange(qkv, 0, heads_.query_width() + heads_.kv_width());
  ForRows(qkv.rows, [&](size_t begin, size_t end) {
    Rotate(RowRange(rotated, begin, end), heads_.dim, rotary_.cosine(begin),
           rotary_.sine(begin), inverse);
  });
}

template <typename T>
template <typename C>
void LlamaStack<T>::Apply(const Step& step, size_t layer, Group group,
                          const Rows<const T>& input, Trace& trace,
                          const Rows<C>& output) {
  lora_.Prepare(step.lora, layer, group);
  lora_.Forward(input, trace.down[group].Make(step.tokens, lora_.rank()),
                output);
}

template <typename T>
void LlamaStack<T>::Attend(const Step& step, size_t layer, const Rows<T>& qkv,
                           Trace& trace) {
  const auto attended = trace.attended.Make(step.tokens, heads_.query_width());
  if (step.mode != Mode::kExtend) {
    trace.log_sums.Reserve(heads_.heads * step.tokens);
    attention_.Forward(Const(qkv), step.lengths, attended,
                       trace.log_sums.data());
    return;
  }
  const size_t width = heads_.kv_width();
  const auto keys = caches_[layer].keys.As(past_ + step.tokens, width);
  const auto values = caches_[layer].values.As(past_ + step.tokens, width);
  for (size_t i = 0; i < step.tokens; ++i) {
    const T* key = qkv.row(i) + heads_.query_width();
    std::copy_n(key, width, keys.row(past_ + i));
    std::copy_n(key + width, width, values.row(past_ + i));
  }
  attention_.Extend(Const(ColumnRange(qkv, 0, heads_.query_width())),
                    Const(keys), Const(values), attended);
}

template <typename T>
void LlamaStack<T>::AttentionForward(const Step& step, size_t layer,
                                     Trace& trace) {
  const auto& weights = weights_.layers[layer];
  const size_t m = step.tokens, d = step.x.width;
  if (step.mode == Mode::kTrain) Copy(Const(step.x), trace.input.Make(m, d));
  const auto normed = Const(Norm(Const(step.x), weights.attention_norm));
  const auto qkv = trace.qkv.Make(m, heads_.width());
  Multiply(Form::kABt, normed, Matrix(weights.qkv, heads_.width(), d), qkv,
           {.bias = weights.qkv_bias.data()});
  Apply(step, layer, kQkv, normed, trace, qkv);
  RotateHeads(qkv, /*inverse=*/false);
  Attend(step, layer, qkv, trace);
  const auto attended = Const(trace.attended.As(m, heads_.query_width()));
  Multiply(Form::kABt, attended, Matrix(weights.out, d, heads_.query_width()),
           step.x, {.add = true});
  Apply(step, layer, kOut, attended, trace, step.x);
}

template <typename T>
void LlamaStack<T>::MlpForward(const Step& step, size_t layer, Trace& trace) {
  const auto& weights = weights_.layers[layer];
  const size_t m = step.tokens, d = step.x.width, f = Size(config_.ffn);
  if (step.mode == Mode::kTrain) Copy(Const(step.x), trace.middle.Make(m, d));
  const auto normed = Const(Norm(Const(step.x), weights.mlp_norm));
  const auto gate_up = trace.gate_up.Make(m, 2 * f);
  Multiply(Form::kABt, normed, Matrix(weights.gate_up, 2 * f, d), gate_up);
  Apply(step, layer, kGateUp, normed, trace, gate_up);
  const auto activated = Const(Activate(Const(gate_up)));
  Multiply(Form::kABt, activated, Matrix(weights.down, d, f), step.x,
           {.add = true});
  Apply(step, layer, kDown, activated, trace, step.x);
}

template <typename T>
typename LlamaStack<T>::Step LlamaStack<T>::Begin(
    std::span<const int32_t> ids, std::span<const size_t> lengths,
    const LoraFactors* lora, Mode mode) {
  return {ids,  lengths,    lora,
          mode, ids.size(), x_.Make(ids.size(), Size(config_.hidden))};
}

// x of `step` becomes the hidden states before the last norm.
template <typename T>
void LlamaStack<T>::Run(const Step& step) {
  const size_t d = step.x.width, v = Size(config_.vocab);
  const auto embedding = Matrix(weights_.embedding, v, d);
  ForRows(step.tokens, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      Widen(embedding.row(Size(step.ids[i])), d, step.x.row(i));
    }
  });
  rotary_.Fill(step.lengths, step.mode == Mode::kExtend ? past_ : 0);
  const bool train = step.mode == Mode::kTrain;
  const size_t layers = weights_.layers.size();
  traces_.resize(std::max(traces_.size(), train ? layers : 1));
  for (size_t layer = 0; layer < layers; ++layer) {
    Trace& trace = traces_[train ? layer : 0];
    AttentionForward(step, layer, trace);
    MlpForward(step, layer, trace);
  }
}

template <typename T>
std::vector<float> LlamaStack<T>::Nll(const PackedBatch& batch,
                                      const LoraFactors* lora) {
  const Step step = Begin(batch.tokens, batch.lengths, lora, Mode::kScore);
  Run(step);
  std::vector<float> nll(batch.label_rows.size());
  head_.Nll(Const(step.x), batch.label_rows, batch.label_tokens, nll);
  return nll;
}

template <typename T>
void LlamaStack<T>::Reset(size_t capacity) {
  caches_.resize(weights_.layers.size());
  for (Cache& cache : caches_) {
    cache.keys.Reserve(capacity * heads_.kv_width());
    cache.values.Reserve(capacity * heads_.kv_width());
  }
  past_ = 0;
}

template <typename T>
void LlamaStack<T>::Extend(std::span<const int32_t> ids,
                           const LoraFactors* lora) {
  extended_ = ids.size();
  Run(Begin(ids, {&extended_, 1}, lora, Mode::kExtend));
  past_ += ids.size();
}

template <typename T>
std::vector<float> LlamaStack<T>::LastLogits() {
  const auto x = Const(x_.As(extended_, Size(config_.hidden)));
  const auto logits = head_.Logits(RowRange(x, extended_ - 1, extended_));
  return {logits.data, logits.data + logits.width};
}

template <typename T>
std::vector<float> LlamaStack<T>::NextNll(std::span<const int32_t> next) {
  std::vector<size_t> rows(next.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  std::vector<float> nll(next.size());
  head_.Nll(Const(x_.As(extended_, Size(config_.hidden))), rows, next, nll);
  return nll;
}

template <typename T>
void LlamaStack<T>::MlpBackward(const Step& step, size_t layer, Factors trained,
                                LoraFactors& lora, Trace& trace) {
  const auto& weights = weights_.layers[layer];
  const size_t m = step.tokens, d = step.x.width, f = Size(config_.ffn);
  const auto gate_up = trace.gate_up.As(m, 2 * f);
  const auto dx = Narrow(step.x);
  lora_.Prepare(step.lora, layer, kDown);
  // Before its gradient takes its place.
  const auto dactivated = doutput_.Make(m, f);
  Multiply(Form::kAB, dx, Matrix(weights.down, d, f), dactivated);
  if (lora_.rank() > 0) {
    lora_.Backward(Const(Activate(Const(gate_up))),
                   Const(trace.down[kDown].As(m, lora_.rank())), dx, trained,
                   dactivated, lora);
  }
  BackThroughSwiGlu(Const(dactivated), gate_up);
  const auto dnormed = dnormed_.Make(m, d);
  Multiply(Form::kAB, Const(gate_up), Matrix(weights.gate_up, 2 * f, d),
           dnormed);
  lora_.Prepare(step.lora, layer, kGateUp);
  if (lora_.rank() > 0) {
    lora_.Backward(Const(Norm(Const(trace.middle.As(m, d)), weights.mlp_norm)),
                   Const(trace.down[kGateUp].As(m, lora_.rank())),
                   Const(gate_up), trained, dnormed, lora);
  }
  AddNormGradient(trace.middle, weights.mlp_norm, Const(dnormed), step.x);
}

template <typename T>
void LlamaStack<T>::AttentionBackward(const Step& step, size_t layer,
                                      Factors trained, LoraFactors& lora,
                                      Trace& trace) {
  const auto& weights = weights_.layers[layer];
  const size_t m = step.tokens, d = step.x.width;
  const auto qkv = Const(trace.qkv.As(m, heads_.width()));
  const auto attended = Const(trace.attended.As(m, heads_.query_width()));
  const auto dx = Narrow(step.x);
  const auto dattended = doutput_.Make(m, heads_.query_width());
  Multiply(Form::kAB, dx, Matrix(weights.out, d, heads_.query_width()),
           dattended);
  lora_.Prepare(step.lora, layer, kOut);
  lora_.Backward(attended, Const(trace.down[kOut].As(m, lora_.rank())), dx,
                 trained, dattended, lora);
  const auto dqkv = dqkv_.Make(m, heads_.width());
  attention_.Backward(qkv, step.lengths, attended, trace.log_sums.data(),
                      Const(dattended), dqkv);
  RotateHeads(dqkv, /*inverse=*/true);
  lora_.Prepare(step.lora, layer, kQkv);
  // Nothing trained lies before the first layer.
  const bool last = layer == 0;
  const auto dnormed = last ? Rows<float>() : dnormed_.Make(m, d);
  if (!last) {
    Multiply(Form::kAB, Const(dqkv), Matrix(weights.qkv, heads_.width(), d),
             dnormed);
  }
  if (lora_.rank() > 0) {
    lora_.Backward(
        Const(Norm(Const(trace.input.As(m, d)), weights.attention_norm)),
        Const(trace.down[kQkv].As(m, lora_.rank())), Const(dqkv), trained,
        dnormed, lora);
  }
  if (!last) {
    AddNormGradient(trace.input, weights.attention_norm, Const(dnormed),
                    step.x);
  }
}

template <typename T>
double LlamaStack<T>::AddGradient(const PackedBatch& batch, double weight,
                                  Factors trained, LoraFactors& lora) {
  const Step step = Begin(batch.tokens, batch.lengths, &lora, Mode::kTrain);
  Run(step);
  const double sum = head_.Gradient(Const(step.x), batch.label_rows,
                                    batch.label_tokens, weight, step.x);
  for (size_t layer = weights_.layers.size(); layer-- > 0;) {
    MlpBackward(step, layer, trained, lora, traces_[layer]);
    AttentionBackward(step, layer, trained, lora, traces_[layer]);
  }
  return sum;
}

template class LlamaStack<float>;
template class LlamaStack<BFloat16>;

}  // namespace edgetune::fused
