#include "models/torch/vision_net.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "models/io/vision/vision_model.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

// Each value of `kept_shape`, which spreads over x, is dropped as a whole.
at::Tensor Drop(const at::Tensor& x, at::IntArrayRef kept_shape, double rate,
                const c10::optional<at::Generator>& random) {
  if (!random.has_value() || rate == 0) return x;
  const at::Tensor kept =
      at::empty(kept_shape, x.options()).bernoulli_(1 - rate, random);
  return x * kept.div_(1 - rate);
}

// [N,C,H,W]: the channels of the first half and the second in turn.
at::Tensor Shuffled(const at::Tensor& x) {
  const auto n = x.size(0), c = x.size(1), h = x.size(2), w = x.size(3);
  return x.view({n, 2, c / 2, h, w}).transpose(1, 2).reshape({n, c, h, w});
}

at::Tensor CopyOf(std::span<const float> values) {
  const at::Tensor copy =
      at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::ranges::copy(values, copy.data_ptr<float>());
  return copy;
}

at::Tensor Convolve(const VisionLayer& what, const at::Tensor& x,
                    const at::Tensor& weight, const at::Tensor& bias) {
  return at::conv2d(x, weight, bias, {what.stride, what.stride},
                    {what.padding, what.padding}, /*dilation=*/{1, 1},
                    what.groups);
}

}  // namespace

// Hands out the tensors of one layer after the other, in layout order.
class VisionNet::Loader {
 public:
  // `all`: the layout of the network; `trained`: all of it or a part, in its
  // order.
  Loader(const VisionNet& net, const ParameterLayout& all,
         const ParameterLayout& trained)
      : net_(net), all_(all), trained_(trained) {}

  std::vector<Layer> Load(std::vector<VisionLayer> layers) {
    std::vector<Layer> out;
    for (VisionLayer& what : layers) out.push_back(LoadOne(std::move(what)));
    return out;
  }

 private:
  Layer LoadOne(VisionLayer what) {
    Layer layer;
    if (what.has_parameters()) {
      layer.weight = NextWeight();
      if (what.bias) layer.bias = NextWeight();
    }
    if (what.kind == Kind::kBatchNorm) {
      layer.mean = NextStatistic(what.out);
      layer.variance = NextStatistic(what.out);
    }
    for (auto& part : std::exchange(what.parts, {})) {
      layer.parts.push_back(Load(std::move(part)));
    }
    layer.what = std::move(what);
    return layer;
  }

  // A view of the trained values, or of the base's weights where it is frozen.
  at::Tensor NextWeight() {
    const auto& tensor = all_.tensors()[next_++];
    const auto count = static_cast<int64_t>(tensor.count);
    const auto cut = [&](const at::Tensor& flat, int64_t from) {
      return flat.narrow(0, from, count).view(tensor.shape).detach();
    };
    if (next_trained_ == trained_.tensors().size() ||
        trained_.tensors()[next_trained_].name != tensor.name) {
      return cut(net_.weights_, static_cast<int64_t>(tensor.offset));
    }
    const auto from =
        static_cast<int64_t>(trained_.tensors()[next_trained_++].offset);
    at::Tensor leaf = cut(net_.values_, from);
    leaf.copy_(cut(net_.weights_, static_cast<int64_t>(tensor.offset)));
    leaf.set_requires_grad(true);
    leaf.mutable_grad() = cut(net_.gradient_, from);
    return leaf;
  }

  at::Tensor NextStatistic(int64_t count) {
    statistic_at_ += count;
    return net_.statistics_.narrow(0, statistic_at_ - count, count);
  }

  const VisionNet& net_;
  const ParameterLayout& all_;
  const ParameterLayout& trained_;
  size_t next_ = 0, next_trained_ = 0;
  int64_t statistic_at_ = 0;
};

absl::StatusOr<VisionNet> VisionNet::Make(const ModelConfig& model,
                                          std::span<const float> base,
                                          std::span<const float> statistics,
                                          const Adapter& adapter) {
  EDGETUNE_ASSIGN_OR_RETURN(VisionNetwork network, NetworkOf(model));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout all, LayoutOf(network));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout beside,
                            StatisticsOf(network));
  EDGETUNE_CHECK(base.size() == all.size());
  EDGETUNE_CHECK(statistics.size() == beside.size());
  VisionNet net;
  net.weights_ = CopyOf(base);
  EDGETUNE_RETURN_IF_ERROR(
      AddChange(model, adapter, {net.weights_.data_ptr<float>(), base.size()}));
  const auto n = static_cast<int64_t>(adapter.values.size());
  net.values_ = at::empty({n}, at::kFloat);
  net.gradient_ = at::zeros({n}, at::kFloat);
  net.statistics_ = CopyOf(statistics);
  net.layers_ =
      Loader(net, all, adapter.layout).Load(std::move(network.layers));
  // Of what is trained, values_ has the weights.
  if (adapter.values.size() == base.size()) net.weights_.reset();
  return net;
}

at::Tensor VisionNet::Logits(const at::Tensor& images,
                             c10::optional<at::Generator> random) const {
  return Forward(layers_, images, random);
}

at::Tensor VisionNet::Forward(const std::vector<Layer>& layers, at::Tensor x,
                              const c10::optional<at::Generator>& random) {
  for (const Layer& layer : layers) x = Apply(layer, x, random);
  return x;
}

// x is [N,C,H,W], behind kFlatten [N,F].
at::Tensor VisionNet::Apply(const Layer& layer, const at::Tensor& x,
                            const c10::optional<at::Generator>& random) {
  const VisionLayer& what = layer.what;
  const auto part = [&](size_t i, const at::Tensor& given) {
    return Forward(layer.parts[i], given, random);
  };
  switch (what.kind) {
    case Kind::kConvolution:
      return Convolve(what, x, layer.weight, layer.bias);
    case Kind::kLinear:
      return at::linear(x, layer.weight, layer.bias);
    case Kind::kBatchNorm:
      return at::batch_norm(x, layer.weight, layer.bias, layer.mean,
                            layer.variance, /*training=*/false, /*momentum=*/0,
                            what.epsilon, /*cudnn_enabled=*/false);
    case Kind::kGroupNorm:
      return at::group_norm(x, what.groups, layer.weight, layer.bias,
                            what.epsilon, /*cudnn_enabled=*/false);
    case Kind::kRelu:
      return at::relu(x);
    case Kind::kRelu6:
      return at::hardtanh(x, 0, 6);
    case Kind::kHardswish:
      return at::hardswish(x);
    case Kind::kSilu:
      return at::silu(x);
    case Kind::kSigmoid:
      return at::sigmoid(x);
    case Kind::kHardsigmoid:
      return at::hardsigmoid(x);
    case Kind::kMaxPool:
      return at::max_pool2d(x, {what.kernel, what.kernel},
                            {what.stride, what.stride},
                            {what.padding, what.padding});
    case Kind::kMeanPool:
      return x.mean({2, 3}, /*keepdim=*/true);
    case Kind::kFlatten:
      return x.flatten(1);
    case Kind::kDropout:
      return Drop(x, x.sizes(), what.rate, random);
    case Kind::kResidual:
      return x + Drop(part(0, x), {x.size(0), 1, 1, 1}, what.rate, random);
    case Kind::kGate:
      return x * part(0, x);
    case Kind::kShuffleUnit: {
      const bool halves = layer.parts[0].empty();
      const int64_t half = x.size(1) / 2;
      const at::Tensor one = halves ? x.narrow(1, 0, half) : part(0, x);
      const at::Tensor two = part(1, halves ? x.narrow(1, half, half) : x);
      return Shuffled(at::cat({one, two}, 1));
    }
  }
  EDGETUNE_CHECK(false);
  return x;
}

}  // namespace edgetune
