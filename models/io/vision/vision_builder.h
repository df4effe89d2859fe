#ifndef EDGETUNE_MODELS_IO_VISION_VISION_BUILDER_H_
#define EDGETUNE_MODELS_IO_VISION_VISION_BUILDER_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/vision/vision_network.h"

namespace edgetune {

// Appends layers to a network and keeps account of the shape between them. Used
// once, within the function that describes an architecture.
class VisionBuilder {
 public:
  using Kind = VisionLayer::Kind;
  // Describes a part: appends its layers to what it is given.
  using Part = std::function<void(VisionBuilder&)>;

  struct Convolution {
    int64_t out;
    int64_t kernel = 1, stride = 1, groups = 1;
    bool bias = false;
    bool padded = true;  // to the size divided by `stride`, rounded up
  };

  // For the image and variant of `config`, which outlives it. `epsilon` of
  // batch norm; group norm has PyTorch's 1e-5.
  explicit VisionBuilder(const ModelConfig& config, double epsilon = 1e-5);

  VisionBuilder& Convolve(std::string name, const Convolution& what);
  VisionBuilder& Norm(std::string name);  // of the variant's kind
  // Convolution, norm and, where given, activation, which torchvision calls
  // PREFIX.`first` and PREFIX.`first`+1.
  VisionBuilder& ConvolveNorm(const std::string& prefix, int first,
                              const Convolution& what,
                              std::optional<Kind> activation);
  VisionBuilder& Linear(std::string name, int64_t out);
  VisionBuilder& Apply(Kind kind);  // a kind without parameters or sizes
  VisionBuilder& MaxPool(int64_t kernel, int64_t stride, int64_t padding);
  VisionBuilder& MeanPool();
  VisionBuilder& Flatten();
  VisionBuilder& Dropout(double rate);

  VisionBuilder& Residual(double rate, const Part& body);
  // Squeeze and excitation through PREFIX.fc1 of `squeezed` channels and
  // PREFIX.fc2, followed by `inner` and `outer`.
  VisionBuilder& SqueezeExcite(const std::string& prefix, int64_t squeezed,
                               Kind inner, Kind outer);
  // Without `first`: the unit that keeps half of the channels as they are.
  VisionBuilder& ShuffleUnit(const Part& first, const Part& second);

  VisionBuilder& Law(VisionNetwork::Law law);

  int64_t channels() const { return at_.channels; }
  // `channels` times `multiplier` and the variant's width, as a multiple of 8:
  // torchvision's _make_divisible.
  int64_t Widened(int64_t channels, double multiplier = 1) const;

  // InvalidArgument when the image was used up before the last layer.
  absl::StatusOr<VisionNetwork> Take();

 private:
  VisionBuilder& Add(VisionLayer layer);
  void Shrink(int64_t kernel, int64_t stride, int64_t padding);
  // The layers that `part` appends for images of `shape`; at_ is then what
  // they give.
  std::vector<VisionLayer> Collect(const ImageShape& shape, const Part& part);

  const ModelConfig& config_;
  const double epsilon_;
  VisionNetwork network_;
  ImageShape at_;
  int64_t features_ = 0;
  bool too_small_ = false;
};

// v as torchvision rounds a number of channels: to a multiple of 8, at least 8,
// and not below nine tenths of v.
int64_t MakeDivisible(double v);

// The architectures, a family a file.
absl::StatusOr<VisionNetwork> SmallNetwork(const ModelConfig& config);
absl::StatusOr<VisionNetwork> MobileNetV2(const ModelConfig& config);
absl::StatusOr<VisionNetwork> MobileNetV3(const ModelConfig& config);
absl::StatusOr<VisionNetwork> ShuffleNetV2(const ModelConfig& config);
absl::StatusOr<VisionNetwork> EfficientNet(const ModelConfig& config);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_VISION_VISION_BUILDER_H_
