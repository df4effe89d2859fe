#include "models/torch/vision_net.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

at::Tensor Drop(const at::Tensor& x, double rate,
                const c10::optional<at::Generator>& random) {
  if (!random.has_value()) return x;
  const at::Tensor kept = at::empty_like(x).bernoulli_(1 - rate, random);
  return x * kept.div_(1 - rate);
}

}  // namespace

absl::StatusOr<VisionNet> VisionNet::Make(const ModelConfig& model,
                                          std::span<const float> base,
                                          const Adapter& adapter) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(model, adapter));
  EDGETUNE_ASSIGN_OR_RETURN(VisionNetwork network, NetworkOf(model));
  EDGETUNE_CHECK(base.size() == adapter.values.size());
  VisionNet net;
  const auto n = static_cast<int64_t>(base.size());
  net.values_ = at::empty({n}, at::kFloat);
  net.gradient_ = at::zeros({n}, at::kFloat);
  std::transform(base.begin(), base.end(), adapter.values.begin(),
                 net.values().begin(), std::plus<float>());
  auto tensor = adapter.layout.tensors().begin();
  const auto next_leaf = [&] {
    const auto cut = [&](const at::Tensor& flat) {
      return flat
          .narrow(0, static_cast<int64_t>(tensor->offset),
                  static_cast<int64_t>(tensor->count))
          .view(tensor->shape)
          .detach();
    };
    at::Tensor leaf = cut(net.values_);
    leaf.set_requires_grad(true);
    leaf.mutable_grad() = cut(net.gradient_);
    ++tensor;
    return leaf;
  };
  for (VisionLayer& what : network.layers) {
    Layer layer;
    layer.what = std::move(what);
    if (layer.what.has_parameters()) {
      layer.weight = next_leaf();
      layer.bias = next_leaf();
    }
    net.layers_.push_back(std::move(layer));
  }
  return net;
}

at::Tensor VisionNet::Logits(const at::Tensor& images,
                             c10::optional<at::Generator> random) const {
  at::Tensor x = images;  // [N,C,H,W], then [N,F]
  for (const Layer& layer : layers_) {
    const int64_t k = layer.what.kernel, p = layer.what.padding;
    switch (layer.what.kind) {
      case Kind::kConvolution:
        x = at::conv2d(x, layer.weight, layer.bias, /*stride=*/{1, 1}, {p, p});
        break;
      case Kind::kLinear:
        x = at::linear(x, layer.weight, layer.bias);
        break;
      case Kind::kRelu:
        x = at::relu(x);
        break;
      case Kind::kMaxPool:
        x = at::max_pool2d(x, {k, k});
        break;
      case Kind::kFlatten:
        x = x.flatten(1);
        break;
      case Kind::kDropout:
        x = Drop(x, layer.what.rate, random);
        break;
    }
  }
  return x;
}

}  // namespace edgetune
