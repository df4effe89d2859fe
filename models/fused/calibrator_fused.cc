#include "models/fused/calibrator_fused.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/fused/matmul.h"
#include "models/fused/parallel.h"

namespace edgetune {
namespace {

// Texts go through together up to so many tokens, unless one is longer.
constexpr size_t kTokensTogether = 1024;

class FusedCalibrator final : public Calibrator {
 public:
  FusedCalibrator(std::shared_ptr<const ModelFile> file,
                  std::unique_ptr<fused::Llama> llama, int threads)
      : file_(std::move(file)), llama_(std::move(llama)), threads_(threads) {}

  absl::Status Run(
      std::span<const std::vector<int32_t>> texts,
      const std::function<absl::Status(const ObservedInput&)>& take,
      const std::atomic<bool>& stop,
      const std::function<void(int64_t)>& progress) override {
    EDGETUNE_RETURN_IF_ERROR(Check(texts));
    return CatchExceptions([&]() -> absl::Status {
      fused::UseThreads(threads_);
      for (size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
        if (stop.load(std::memory_order_relaxed)) {
          return absl::CancelledError("the calibration was stopped");
        }
        end = Pack(texts, begin);
        absl::Status taken;
        llama_->Watch(batch_, [&](const ObservedInput& seen) {
          if (taken.ok()) taken = take(seen);
        });
        EDGETUNE_RETURN_IF_ERROR(taken);
        if (progress) progress(static_cast<int64_t>(end));
      }
      return absl::OkStatus();
    });
  }

  void AddGram(const ObservedInput& seen, std::span<float> gram) override {
    const auto width = static_cast<size_t>(seen.width);
    const fused::Rows<const float> rows = {
        seen.rows.data(), seen.rows.size() / width, width, width};
    fused::Multiply(fused::Form::kAtB, rows, rows,
                    fused::Rows<float>{gram.data(), width, width, width},
                    {.add = true});
  }

 private:
  absl::Status Check(std::span<const std::vector<int32_t>> texts) const {
    const ModelConfig& config = file_->config();
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto length = static_cast<int64_t>(texts[i].size());
      if (length < 1 || length > config.context) {
        return absl::InvalidArgumentError(
            fmt::format("text {}: {} tokens, the model takes 1 to {}", i,
                        length, config.context));
      }
      const auto [least, most] = std::ranges::minmax(texts[i]);
      if (least < 0 || most >= config.vocab) {
        return absl::InvalidArgumentError(
            fmt::format("text {}: ids from {} to {}, the model has {} tokens",
                        i, least, most, config.vocab));
      }
    }
    return absl::OkStatus();
  }

  // The texts from `begin` on; the first that is not among them.
  size_t Pack(std::span<const std::vector<int32_t>> texts, size_t begin) {
    batch_ = {};
    size_t end = begin;
    do {
      const std::vector<int32_t>& text = texts[end++];
      batch_.tokens.insert(batch_.tokens.end(), text.begin(), text.end());
      batch_.lengths.push_back(text.size());
    } while (end < texts.size() &&
             batch_.tokens.size() + texts[end].size() <= kTokensTogether);
    return end;
  }

  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<fused::Llama> llama_;
  const int threads_;
  fused::PackedBatch batch_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Calibrator>> MakeFusedCalibrator(
    std::shared_ptr<const ModelFile> model,
    const fused::Llama::Options& options, int threads) {
  using Result = absl::StatusOr<std::unique_ptr<Calibrator>>;
  return CatchExceptions([&]() -> Result {
    EDGETUNE_ASSIGN_OR_RETURN(auto llama, fused::Llama::Load(model, options));
    return std::make_unique<FusedCalibrator>(std::move(model), std::move(llama),
                                             ThreadCount(threads));
  });
}

}  // namespace edgetune
