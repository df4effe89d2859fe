#include "models/fused/language_model_fused.h"

#include <optional>
#include <utility>

#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/fused/cpu.h"
#include "models/fused/parallel.h"
#include "models/kept_prefix.h"
#include "models/sequence_language_model.h"

namespace edgetune {
namespace {

class FusedSequence final : public SequenceEngine {
 public:
  FusedSequence(std::shared_ptr<const ModelFile> file,
                std::unique_ptr<fused::Llama> llama, int threads)
      : file_(std::move(file)), llama_(std::move(llama)), threads_(threads) {}

  absl::Status SetAdapter(const Adapter* adapter) override {
    lora_.reset();
    if (adapter == nullptr) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(
        lora_, fused::LoraFactors::Make(file_->config(), *adapter));
    return absl::OkStatus();
  }

  void Reset(size_t capacity) override { llama_->Reset(capacity); }
  void Keep(size_t length) override { llama_->Keep(length); }
  void Extend(std::span<const int32_t> ids) override {
    fused::UseThreads(threads_);
    llama_->Extend(ids, lora_ ? &*lora_ : nullptr, ids.size());
  }
  void ExtendByChunks(std::span<const int32_t> ids) override {
    fused::UseThreads(threads_);
    llama_->Extend(ids, lora_ ? &*lora_ : nullptr, kPromptChunk);
  }
  std::vector<float> LastLogits() override {
    fused::UseThreads(threads_);
    return llama_->LastLogits();
  }
  std::vector<float> NextNll(std::span<const int32_t> next) override {
    fused::UseThreads(threads_);
    return llama_->NextNll(next);
  }

 private:
  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<fused::Llama> llama_;
  const int threads_;
  std::optional<fused::LoraFactors> lora_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageModel>> MakeFusedLanguageModel(
    std::shared_ptr<const ModelFile> model,
    const fused::Llama::Options& options, int threads) {
  using Result = absl::StatusOr<std::unique_ptr<LanguageModel>>;
  return CatchExceptions([&]() -> Result {
    EDGETUNE_ASSIGN_OR_RETURN(auto llama, fused::Llama::Load(model, options));
    return MakeSequenceLanguageModel(
        model, std::make_unique<FusedSequence>(model, std::move(llama),
                                               ThreadCount(threads)));
  });
}

}  // namespace edgetune
