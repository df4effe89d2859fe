#include "models/torch/language_model_torch.h"

#include <ATen/Parallel.h>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/sequence_language_model.h"
#include "models/torch/llama.h"
#include "models/torch/lora.h"

namespace edgetune {
namespace {

class TorchSequence final : public SequenceEngine {
 public:
  TorchSequence(std::shared_ptr<const ModelFile> file,
                std::unique_ptr<Llama> llama, int threads)
      : file_(std::move(file)), llama_(std::move(llama)), threads_(threads) {}

  absl::Status SetAdapter(const Adapter* adapter) override {
    lora_.reset();
    if (adapter == nullptr) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(lora_,
                              LoraFactors::Make(file_->config(), *adapter,
                                                /*trained=*/std::nullopt));
    return absl::OkStatus();
  }

  void Reset(size_t capacity) override {
    cache_ = llama_->MakeCache(static_cast<int64_t>(capacity));
  }
  void Keep(size_t length) override {
    cache_.length = static_cast<int64_t>(length);
  }
  void Extend(std::span<const int32_t> ids) override {
    at::set_num_threads(threads_);
    hidden_ = llama_->HiddenNext(ids, lora_ ? &*lora_ : nullptr, cache_);
  }

  std::vector<float> LastLogits() override {
    at::set_num_threads(threads_);
    return ToVector(
        llama_->Logits(hidden_.narrow(0, hidden_.size(0) - 1, 1)));  // [1,V]
  }
  std::vector<float> NextNll(std::span<const int32_t> next) override {
    at::set_num_threads(threads_);
    const std::vector<int64_t> targets(next.begin(), next.end());
    return ToVector(llama_->NllOf(
        hidden_.narrow(0, 0, static_cast<int64_t>(targets.size())),
        at::tensor(targets, at::kLong)));  // [n]
  }

 private:
  static std::vector<float> ToVector(const at::Tensor& values) {
    const float* data = values.data_ptr<float>();
    return {data, data + values.numel()};
  }

  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<const Llama> llama_;
  const int threads_;
  std::optional<LoraFactors> lora_;
  KeyValueCache cache_;
  at::Tensor hidden_;  // of the ids that came last [n,D]
};

}  // namespace

bool CpuMultipliesBf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") ||
         __builtin_cpu_supports("amx-bf16");
#else
  // Debian's LibTorch has no bfloat16 kernels of its own elsewhere.
  return false;
#endif
}

absl::StatusOr<std::unique_ptr<LanguageModel>> MakeTorchLanguageModel(
    std::shared_ptr<const ModelFile> model, const TorchModelOptions& options) {
  return CatchExceptions(
      [&]() -> absl::StatusOr<std::unique_ptr<LanguageModel>> {
        const int threads = ThreadCount(options.threads);
        at::set_num_threads(threads);
        EDGETUNE_ASSIGN_OR_RETURN(
            auto llama,
            Llama::Load(*model, options.bf16 ? at::kBFloat16 : at::kFloat));
        return MakeSequenceLanguageModel(
            model,
            std::make_unique<TorchSequence>(model, std::move(llama), threads));
      });
}

}  // namespace edgetune
