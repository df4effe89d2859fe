#include "tools/model/calibrated_rounding.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/io/llama_names.h"
#include "models/io/quantise/quantise.h"
#include "models/shrink/compensated_rounding.h"
#include "models/shrink/importance.h"
#include "models/shrink/linear_inputs.h"
#include "models/shrink/rounded_model.h"
#include "tools/child_process.h"
#include "tools/model/calibration.h"
#include "tools/progress.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

constexpr uint64_t kMostSums = uint64_t{512} << 20;  // bytes
constexpr size_t kPlaces = 5;                        // of LayerInput

class Rounding {
 public:
  Rounding(std::shared_ptr<const ModelFile> model, const TensorEncoder& encoder,
           Calibrator& calibrator, const Output& output)
      : model_(std::move(model)),
        encoder_(encoder),
        calibrator_(calibrator),
        output_(output) {}

  absl::StatusOr<std::map<std::string, RoundedTensor>> Run(
      std::span<const std::vector<int32_t>> texts) {
    const int64_t layers = model_->config().layers;
    const int64_t step = LayersTogether();
    passes_ = (layers + step - 1) / step;
    progress_ = std::make_unique<Progress>(
        output_, "calibrating",
        static_cast<uint64_t>(passes_) * texts.size() +
            static_cast<uint64_t>(layers),
        Progress::Unit::kCount);
    for (first_ = 0; first_ < layers; first_ += step) {
      last_ = std::min(layers, first_ + step);
      EDGETUNE_RETURN_IF_ERROR(Observe(texts));
      for (int64_t layer = first_; layer < last_; ++layer) {
        if (Interrupted()) return InterruptedError("nothing was written");
        EDGETUNE_RETURN_IF_ERROR(RoundLayer(layer));
        progress_->Update(++done_);
      }
    }
    return std::move(rounded_);
  }

 private:
  int64_t LayersTogether() const {
    uint64_t a_layer = 0;
    for (const InputReaders& readers : AllInputReaders()) {
      const auto width =
          static_cast<uint64_t>(InputWidth(model_->config(), readers.place));
      a_layer += width * width * sizeof(float);
    }
    return static_cast<int64_t>(std::max<uint64_t>(1, kMostSums / a_layer));
  }

  std::vector<float>& SumsOf(int64_t layer, LayerInput place) {
    return sums_[static_cast<size_t>(layer - first_) * kPlaces +
                 static_cast<size_t>(place)];
  }

  absl::Status Observe(std::span<const std::vector<int32_t>> texts) {
    sums_.assign(static_cast<size_t>(last_ - first_) * kPlaces, {});
    const uint64_t before = done_;
    const absl::Status ran = calibrator_.Run(
        texts, [this](const ObservedInput& seen) { return Add(seen); },
        InterruptFlag(),
        [&](int64_t texts_done) {
          progress_->Update(done_ = before + static_cast<uint64_t>(texts_done));
        });
    if (absl::IsCancelled(ran)) return InterruptedError("nothing was written");
    return ran;
  }

  absl::Status Add(const ObservedInput& seen) {
    EDGETUNE_RETURN_IF_ERROR(CheckObserved(model_->config(), seen));
    if (seen.place == LayerInput::kLayer || seen.layer < first_ ||
        seen.layer >= last_) {
      return absl::OkStatus();
    }
    std::vector<float>& sums = SumsOf(seen.layer, seen.place);
    sums.resize(static_cast<size_t>(seen.width * seen.width), 0.0f);
    calibrator_.AddGram(seen, sums);
    return absl::OkStatus();
  }

  absl::Status RoundLayer(int64_t layer) {
    for (const InputReaders& readers : AllInputReaders()) {
      std::vector<float>& sums = SumsOf(layer, readers.place);
      const int64_t inputs = InputWidth(model_->config(), readers.place);
      auto rounding = CompensatedRounding::Make(sums, inputs);
      if (!rounding.ok()) {
        return Prefix(rounding.status(),
                      LinearName(layer, readers.linears.front()));
      }
      for (const size_t linear : readers.linears) {
        const std::string name =
            fmt::format("model.{}.weight", LinearName(layer, linear));
        EDGETUNE_RETURN_IF_ERROR(
            Prefix(RoundLinear(name, inputs, *rounding), name));
      }
      sums = {};
    }
    return absl::OkStatus();
  }

  absl::Status RoundLinear(const std::string& name, int64_t inputs,
                           const CompensatedRounding& rounding) {
    const auto info =
        std::ranges::find(model_->tensors(), name, &TensorInfo::name);
    if (info == model_->tensors().end()) {
      return absl::InvalidArgumentError("the model has no such tensor");
    }
    const BlockType type = encoder_.TypeOf(*info);
    if (!HasLevels(type)) return absl::OkStatus();
    RoundedTensor& out = rounded_[name];
    out.type = type;
    std::vector<float> row(static_cast<size_t>(inputs));
    for (int64_t i = 0; i < info->rows(); ++i) {
      EDGETUNE_RETURN_IF_ERROR(model_->ReadRows(name, i, i + 1, row));
      EDGETUNE_RETURN_IF_ERROR(rounding.Encode(type, row, &out.bytes));
    }
    model_->Release(name);
    return absl::OkStatus();
  }

  const std::shared_ptr<const ModelFile> model_;
  const TensorEncoder& encoder_;
  Calibrator& calibrator_;
  const Output& output_;
  int64_t passes_ = 1, first_ = 0, last_ = 0;  // layers at work
  uint64_t done_ = 0;                          // texts and layers
  // Of each layer at work and place, input by input.
  std::vector<std::vector<float>> sums_;
  std::map<std::string, RoundedTensor> rounded_;
  std::unique_ptr<Progress> progress_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> RoundByExamples(
    const std::shared_ptr<const ModelFile>& model, const TensorEncoder& encoder,
    const std::string& examples, int64_t tokens, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto texts,
                            FirstTexts(examples, tokens, *model));
  EDGETUNE_ASSIGN_OR_RETURN(const auto calibrator, MakeExactCalibrator(model));
  CatchInterrupts();
  Rounding rounding(model, encoder, *calibrator, output);
  EDGETUNE_ASSIGN_OR_RETURN(auto rounded, rounding.Run(texts));
  return MakeRoundedModel(*model, std::move(rounded));
}

}  // namespace edgetune
