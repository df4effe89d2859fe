#include "models/torch/language_model_torch.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "base/status.h"
#include "models/torch/exception_guard.h"
#include "models/torch/kept_prefix.h"
#include "models/torch/llama.h"
#include "models/torch/lora.h"
#include "models/torch/sampling.h"

namespace edgetune {
namespace {

// Tokens a forward pass where all are scored: bounds the memory of long texts.
constexpr size_t kScoredChunk = 256;

class TorchLanguageModel final : public LanguageModel {
 public:
  TorchLanguageModel(std::shared_ptr<const ModelFile> file,
                     std::unique_ptr<Llama> llama, int threads)
      : file_(std::move(file)), llama_(std::move(llama)), threads_(threads) {}

  absl::Status SetAdapter(const Adapter* adapter) override {
    return CatchExceptions([&]() -> absl::Status {
      kept_.Drop();
      cache_ = {};
      if (adapter == nullptr) {
        lora_.reset();
        return absl::OkStatus();
      }
      EDGETUNE_ASSIGN_OR_RETURN(lora_,
                                LoraFactors::Make(file_->config(), *adapter,
                                                  /*trained=*/std::nullopt));
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<float>> ScoreTokens(
      std::span<const int32_t> ids) override {
    return CatchExceptions([&]() -> absl::StatusOr<std::vector<float>> {
      EDGETUNE_RETURN_IF_ERROR(Check(ids));
      at::set_num_threads(threads_);
      KeyValueCache cache;
      llama_->Reserve(static_cast<int64_t>(ids.size()), cache);
      std::vector<float> scores;
      for (size_t begin = 0; begin + 1 < ids.size(); begin += kScoredChunk) {
        const size_t n = std::min(kScoredChunk, ids.size() - 1 - begin);
        const at::Tensor hidden =
            llama_->HiddenNext(ids.subspan(begin, n), Lora(), cache);
        const auto next = ids.subspan(begin + 1, n);
        const std::vector<int64_t> targets(next.begin(), next.end());
        const at::Tensor nll =
            llama_->NllOf(hidden, at::tensor(targets, at::kLong));  // [n]
        for (size_t i = 0; i < n; ++i) {
          scores.push_back(-nll.data_ptr<float>()[i]);
        }
      }
      return scores;
    });
  }

  absl::StatusOr<std::vector<float>> NextLogits(
      std::span<const int32_t> ids) override {
    return CatchExceptions([&]() -> absl::StatusOr<std::vector<float>> {
      EDGETUNE_RETURN_IF_ERROR(Check(ids));
      at::set_num_threads(threads_);
      return LogitsAfterPrompt(ids, ids.size());
    });
  }

  absl::StatusOr<std::vector<int32_t>> Generate(
      std::span<const int32_t> prompt, const GenerateOptions& options,
      const std::function<bool(int32_t)>& on_token) override {
    return CatchExceptions([&]() -> absl::StatusOr<std::vector<int32_t>> {
      EDGETUNE_RETURN_IF_ERROR(CheckGenerateOptions(options));
      EDGETUNE_RETURN_IF_ERROR(Check(prompt));
      at::set_num_threads(threads_);
      return Continue(prompt, options, on_token);
    });
  }

 private:
  const LoraFactors* Lora() const { return lora_ ? &*lora_ : nullptr; }

  absl::Status Check(std::span<const int32_t> ids) const {
    const ModelConfig& c = file_->config();
    if (ids.empty() || ids.size() > static_cast<size_t>(c.context)) {
      return Annotate(absl::InvalidArgumentError(fmt::format(
                          "a sequence of {} tokens: the model takes 1 to {}",
                          ids.size(), c.context)),
                      ErrorKind::kUsage);
    }
    for (const int32_t id : ids) {
      if (id >= 0 && id < c.vocab) continue;
      return Annotate(
          absl::InvalidArgumentError(fmt::format(
              "token {} is outside the vocabulary of {}", id, c.vocab)),
          ErrorKind::kUsage);
    }
    return absl::OkStatus();
  }

  // The logits [V] after a text, of which only what the cache does not hold yet
  // is fed; the cache then takes `capacity` positions.
  std::vector<float> LogitsAfterPrompt(std::span<const int32_t> ids,
                                       size_t capacity) {
    const size_t reused = kept_.Reuse(ids);
    cache_.length = static_cast<int64_t>(reused);
    llama_->Reserve(static_cast<int64_t>(capacity), cache_);
    std::vector<float> logits = LogitsAfter(ids.subspan(reused));
    kept_.Keep(ids);
    return logits;
  }

  // Feeds `ids` and returns the logits [V] after the last.
  std::vector<float> LogitsAfter(std::span<const int32_t> ids) {
    at::Tensor hidden;  // [n,D]
    for (size_t begin = 0; begin < ids.size(); begin += kPromptChunk) {
      const size_t n = std::min(kPromptChunk, ids.size() - begin);
      hidden = llama_->HiddenNext(ids.subspan(begin, n), Lora(), cache_);
    }
    const at::Tensor logits =
        llama_->Logits(hidden.narrow(0, hidden.size(0) - 1, 1));  // [1,V]
    const float* data = logits.data_ptr<float>();
    return {data, data + logits.numel()};
  }

  std::vector<int32_t> Continue(std::span<const int32_t> prompt,
                                const GenerateOptions& options,
                                const std::function<bool(int32_t)>& on_token) {
    const int64_t room =
        file_->config().context - static_cast<int64_t>(prompt.size());
    const auto limit = static_cast<size_t>(std::min(options.max_tokens, room));
    std::vector<int32_t> out;
    if (limit == 0) return out;
    Random random(options.seed);
    std::vector<float> logits =
        LogitsAfterPrompt(prompt, prompt.size() + limit);
    std::vector<int32_t> seen(prompt.begin(), prompt.end());
    while (true) {
      PenaliseRepeats(seen, options.repeat_penalty, logits);
      const int32_t token = SampleToken(logits, options, random);
      const auto& stops = options.stop_tokens;
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) break;
      out.push_back(token);
      seen.push_back(token);
      if (on_token && !on_token(token)) break;
      if (out.size() == limit) break;
      logits = LogitsAfter({&out.back(), 1});
    }
    return out;
  }

  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<const Llama> llama_;
  const int threads_;
  std::optional<LoraFactors> lora_;
  KeyValueCache cache_;  // of the last prompt, and what was generated after it
  KeptPrefix kept_;      // positions of cache_ that hold for the next
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

int ThreadCount(int asked) {
  if (asked > 0) return asked;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
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
        return std::make_unique<TorchLanguageModel>(std::move(model),
                                                    std::move(llama), threads);
      });
}

}  // namespace edgetune
