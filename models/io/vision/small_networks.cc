// The networks by which federated averaging is measured (vision_network.h).

#include "models/io/vision/vision_builder.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

void Mcmahan2nn(VisionBuilder& b, int64_t classes) {
  b.Flatten().Linear("fc1", 200).Apply(Kind::kRelu);
  b.Linear("fc2", 200).Apply(Kind::kRelu).Linear("fc3", classes);
}

void McmahanCnn(VisionBuilder& b, int64_t classes) {
  const auto block = [&](const std::string& name, int64_t out) {
    b.Convolve(name, {.out = out, .kernel = 5, .bias = true});
    b.Apply(Kind::kRelu).MaxPool(2, 2, 0);
  };
  block("conv1", 32);
  block("conv2", 64);
  b.Flatten().Linear("fc1", 512).Apply(Kind::kRelu).Linear("fc2", classes);
}

// Names as its nn.Sequential counts them.
void PflCnn(VisionBuilder& b, int64_t classes) {
  const auto convolve = [&](const std::string& name, int64_t out) {
    b.Convolve(name, {.out = out, .kernel = 3, .bias = true, .padded = false});
    b.Apply(Kind::kRelu);
  };
  convolve("1", 32);
  convolve("3", 64);
  b.MaxPool(2, 2, 0).Dropout(0.25).Flatten();
  b.Linear("8", 128).Apply(Kind::kRelu).Dropout(0.5).Linear("11", classes);
  b.Law(VisionNetwork::Law::kGlorot);
}

}  // namespace

absl::StatusOr<VisionNetwork> SmallNetwork(const ModelConfig& config) {
  VisionBuilder b(config);
  if (config.architecture == "mcmahan_2nn") {
    Mcmahan2nn(b, config.vocab);
  } else if (config.architecture == "mcmahan_cnn") {
    McmahanCnn(b, config.vocab);
  } else {
    PflCnn(b, config.vocab);
  }
  return b.Take();
}

}  // namespace edgetune
