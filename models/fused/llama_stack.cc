#include "models/fused/llama_stack.h"

#include <algorithm>
#include <numeric>

#include "models/fused/parallel.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

size_t Size(int64_t n) { return static_cast<size_t>(n); }

HeadShape HeadsOf(const ModelConfig& c) {
  return {Size(c.heads), Size(c.kv_heads), Size(c.head_dim)};
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

bool Adapts(const LoraFactors* lora, size_t layer, Group group) {
  const auto [first, count] = kGroupLinears[group];
  for (size_t linear = first; lora && linear < first + count; ++linear) {
    if (lora->at(layer, linear).rank > 0) return true;
  }
  return false;
}

}  // namespace

template <typename T>
LlamaStack<T>::LlamaStack(Weights weights, bool recompute)
    : weights_(std::move(weights)),
      config_(weights_.file->config()),
      recompute_(recompute),
      heads_(HeadsOf(config_)),
      attention_(heads_),
      head_(weights_.projection(), weights_.norm.data(),
            static_cast<float>(config_.rms_eps)),
      rotary_(config_) {}

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

// Where the input of a group of linears stands.
constexpr LayerInput kPlaces[kGroups] = {
    LayerInput::kQkv, LayerInput::kOut, LayerInput::kGateUp, LayerInput::kDown};

template <typename T>
template <typename C>
void LlamaStack<T>::Apply(const Step& step, size_t layer, Group group,
                          const Rows<const T>& input, Trace& trace,
                          const Rows<C>& output) {
  if (step.tokens == 1 && step.mode == Mode::kExtend) {
    if (step.lora != nullptr) {
      lora_.ForwardRow(*step.lora, layer, group, input.data, output.data);
    }
    return;
  }
  watch_.Tell(layer, kPlaces[group], input);
  lora_.Prepare(step.lora, layer, group);
  const auto down = trace.down[group].Make(step.tokens, lora_.rank());
  ForBlocks(step.tokens, step.block, [&](size_t begin, size_t end) {
    lora_.Forward(RowRange(input, begin, end), RowRange(down, begin, end),
                  RowRange(output, begin, end));
  });
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
                    Const(keys), Const(values), step.block, attended);
}

template <typename T>
void LlamaStack<T>::AttentionForward(const Step& step, size_t layer,
                                     Trace& trace) {
  const auto& weights = weights_.layers[layer];
  const size_t m = step.tokens, d = step.x.width;
  if (Traced(step)) Copy(Const(step.x), trace.input.Make(m, d));
  const auto normed = Const(Norm(Const(step.x), weights.attention_norm));
  const auto qkv = trace.qkv.Make(m, heads_.width());
  products_.Forward(normed, weights.qkv, qkv, step.block,
                    {.bias = weights.qkv_bias.data()});
  Apply(step, layer, kQkv, normed, trace, qkv);
  RotateHeads(qkv, /*inverse=*/false);
  Attend(step, layer, qkv, trace);
  const auto attended = Const(trace.attended.As(m, heads_.query_width()));
  products_.Forward(attended, weights.out, step.x, step.block, {.add = true});
  Apply(step, layer, kOut, attended, trace, step.x);
}

template <typename T>
void LlamaStack<T>::MlpForward(const Step& step, size_t layer, Trace& trace) {
  const auto& weights = weights_.layers[layer];
  const size_t m = step.tokens, d = step.x.width, f = Size(config_.ffn);
  if (Traced(step)) Copy(Const(step.x), trace.middle.Make(m, d));
  const auto normed = Const(Norm(Const(step.x), weights.mlp_norm));
  const auto gate_up = trace.gate_up.Make(m, 2 * f);
  products_.Forward(normed, weights.gate_up, gate_up, step.block);
  Apply(step, layer, kGateUp, normed, trace, gate_up);
  // Nobody reads what comes out of a layer that runs again.
  const bool again = step.mode == Mode::kAgain;
  if (again && !Adapts(step.lora, layer, kDown)) return;
  const auto activated = Const(Activate(Const(gate_up)));
  if (!again) {
    products_.Forward(activated, weights.down, step.x, step.block,
                      {.add = true});
  }
  Apply(step, layer, kDown, activated, trace, step.x);
}

template <typename T>
typename LlamaStack<T>::Step LlamaStack<T>::Begin(
    std::span<const int32_t> ids, std::span<const size_t> lengths,
    const LoraFactors* lora, Mode mode) {
  return {ids,
          lengths,
          lora,
          mode,
          ids.size(),
          ids.size(),
          x_.Make(ids.size(), Size(config_.hidden))};
}

// x of `step` becomes the hidden states before the last norm.
template <typename T>
void LlamaStack<T>::Run(const Step& step) {
  ForRows(step.tokens, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      weights_.embedding.ReadRow<T>(Size(step.ids[i]), step.x.row(i));
    }
  });
  rotary_.Fill(step.lengths, step.mode == Mode::kExtend ? past_ : 0);
  const size_t layers = weights_.layers.size();
  const bool train = step.mode == Mode::kTrain;
  const bool inputs = step.mode == Mode::kInputs;
  traces_.resize(std::max(traces_.size(), train ? layers : 1));
  if (inputs) inputs_.resize(layers);
  for (size_t layer = 0; layer < layers; ++layer) {
    if (inputs) {
      Copy(Const(step.x), inputs_[layer].Make(step.tokens, step.x.width));
    }
    Trace& trace = traces_[train ? layer : 0];
    watch_.Tell(layer, LayerInput::kLayer, Const(step.x));
    AttentionForward(step, layer, trace);
    MlpForward(step, layer, trace);
  }
  watch_.Tell(layers, LayerInput::kLayer, Const(step.x));
}

template <typename T>
void LlamaStack<T>::Watch(const PackedBatch& batch,
                          const InputWatch::Take& take) {
  watch_.During(take, [&] {
    Run(Begin(batch.tokens, batch.lengths, nullptr, Mode::kScore));
  });
}

template <typename T>
void LlamaStack<T>::RunAgain(const Step& step, size_t layer) {
  Step again = step;
  again.mode = Mode::kAgain;
  again.x = again_.Make(step.tokens, step.x.width);
  Copy(Const(inputs_[layer].As(step.tokens, step.x.width)), again.x);
  AttentionForward(again, layer, traces_[0]);
  MlpForward(again, layer, traces_[0]);
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
void LlamaStack<T>::Logits(const PackedBatch& batch,
                           std::span<const int32_t> vocabulary,
                           const TakeLogits& take) {
  const Step step = Begin(batch.tokens, batch.lengths, nullptr, Mode::kScore);
  Run(step);
  head_.Logits(Const(step.x), batch.label_rows, vocabulary, take);
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
                           const LoraFactors* lora, size_t block) {
  extended_ = ids.size();
  Step step = Begin(ids, {&extended_, 1}, lora, Mode::kExtend);
  step.block = block;
  Run(step);
  past_ += ids.size();
}

template <typename T>
std::vector<float> LlamaStack<T>::LastLogits() {
  const auto x = Const(x_.As(extended_, Size(config_.hidden)));
  const auto logits = head_.Logits(x.row(extended_ - 1));
  return {logits.begin(), logits.end()};
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
  products_.Backward(dx, weights.down, dactivated);
  if (lora_.rank() > 0) {
    lora_.Backward(Const(Activate(Const(gate_up))),
                   Const(trace.down[kDown].As(m, lora_.rank())), dx, trained,
                   dactivated, lora);
  }
  BackThroughSwiGlu(Const(dactivated), gate_up);
  const auto dnormed = dnormed_.Make(m, d);
  products_.Backward(Const(gate_up), weights.gate_up, dnormed);
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
  products_.Backward(dx, weights.out, dattended);
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
  if (!last) products_.Backward(Const(dqkv), weights.qkv, dnormed);
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
  return Gradient(batch, trained, lora, [&](const Rows<float>& x) {
    return head_.Gradient(Const(x), batch.label_rows, batch.label_tokens,
                          weight, x);
  });
}

template <typename T>
double LlamaStack<T>::AddGradient(const PackedBatch& batch,
                                  const LossOfLogits& loss, double weight,
                                  Factors trained, LoraFactors& lora) {
  return Gradient(batch, trained, lora, [&](const Rows<float>& x) {
    return head_.Gradient(Const(x), batch.label_rows, loss, weight, x);
  });
}

template <typename T>
template <typename HeadGradient>
double LlamaStack<T>::Gradient(const PackedBatch& batch, Factors trained,
                               LoraFactors& lora, const HeadGradient& head) {
  const Step step = Begin(batch.tokens, batch.lengths, &lora,
                          recompute_ ? Mode::kInputs : Mode::kTrain);
  Run(step);
  const double sum = head(step.x);
  for (size_t layer = weights_.layers.size(); layer-- > 0;) {
    if (recompute_) RunAgain(step, layer);
    Trace& trace = traces_[recompute_ ? 0 : layer];
    MlpBackward(step, layer, trained, lora, trace);
    AttentionBackward(step, layer, trained, lora, trace);
  }
  return sum;
}

template class LlamaStack<float>;
template class LlamaStack<BFloat16>;

}  // namespace edgetune::fused
