#include "models/sequence_language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "models/exception_guard.h"
#include "models/kept_prefix.h"
#include "models/sampling.h"

namespace edgetune {
namespace {

// Tokens a forward pass where all are scored: bounds the memory of long texts.
constexpr size_t kScoredChunk = 256;
// Tokens of a prompt at once, whole chunks: likewise.
constexpr size_t kPromptAtOnce = 8 * kPromptChunk;
// Room is made for so many tokens more than asked for, so that a chat's next
// turn fits too.
constexpr size_t kSpare = 1024;

class SequenceLanguageModel final : public LanguageModel {
 public:
  SequenceLanguageModel(std::shared_ptr<const ModelFile> file,
                        std::unique_ptr<SequenceEngine> engine)
      : file_(std::move(file)), engine_(std::move(engine)) {}

  absl::Status SetAdapter(const Adapter* adapter) override {
    return CatchExceptions([&] {
      kept_.Drop();
      return engine_->SetAdapter(adapter);
    });
  }

  absl::StatusOr<std::vector<float>> ScoreTokens(
      std::span<const int32_t> ids) override {
    EDGETUNE_RETURN_IF_ERROR(Check(ids));
    return CatchExceptions(
        [&]() -> absl::StatusOr<std::vector<float>> { return Score(ids); });
  }

  absl::StatusOr<std::vector<float>> NextLogits(
      std::span<const int32_t> ids) override {
    EDGETUNE_RETURN_IF_ERROR(Check(ids));
    return CatchExceptions([&]() -> absl::StatusOr<std::vector<float>> {
      return LogitsAfter(ids, ids.size());
    });
  }

  absl::StatusOr<std::vector<int32_t>> Generate(
      std::span<const int32_t> prompt, const GenerateOptions& options,
      const std::function<bool(int32_t)>& on_token) override {
    EDGETUNE_RETURN_IF_ERROR(CheckGenerateOptions(options));
    EDGETUNE_RETURN_IF_ERROR(Check(prompt));
    return CatchExceptions([&]() -> absl::StatusOr<std::vector<int32_t>> {
      return Continue(prompt, options, on_token);
    });
  }

 private:
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

  std::vector<float> Score(std::span<const int32_t> ids) {
    kept_.Drop();
    MakeRoom(0, ids.size());
    std::vector<float> scores;
    for (size_t begin = 0; begin + 1 < ids.size(); begin += kScoredChunk) {
      const size_t n = std::min(kScoredChunk, ids.size() - 1 - begin);
      engine_->Extend(ids.subspan(begin, n));
      for (const float nll : engine_->NextNll(ids.subspan(begin + 1, n))) {
        scores.push_back(-nll);
      }
    }
    return scores;
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
    std::vector<float> logits = LogitsAfter(prompt, prompt.size() + limit);
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
      engine_->Extend({&token, 1});
      logits = engine_->LastLogits();
    }
    return out;
  }

  // Keeps the first `length` tokens in the engine's cache, and makes room for
  // `capacity`; returns how many are kept: none where there was no such room.
  size_t MakeRoom(size_t length, size_t capacity) {
    if (capacity <= capacity_) {
      engine_->Keep(length);
      return length;
    }
    const auto context = static_cast<size_t>(file_->config().context);
    const size_t room =
        std::max(capacity, std::min(capacity + kSpare, context));
    capacity_ = 0;  // should there be no memory
    engine_->Reset(room);
    capacity_ = room;
    return 0;
  }

  // Logits after a text, of which only what the cache does not hold is fed.
  std::vector<float> LogitsAfter(std::span<const int32_t> ids,
                                 size_t capacity) {
    size_t begin = MakeRoom(kept_.Reuse(ids), capacity);
    if (begin == 0) kept_.Drop();
    const size_t rest = (ids.size() - begin) % kPromptChunk;
    const size_t whole = ids.size() - rest;
    while (begin < whole) {
      const size_t n = std::min(kPromptAtOnce, whole - begin);
      engine_->ExtendByChunks(ids.subspan(begin, n));
      begin += n;
    }
    if (rest > 0) engine_->Extend(ids.subspan(whole));
    kept_.Keep(ids);
    return engine_->LastLogits();
  }

  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<SequenceEngine> engine_;
  size_t capacity_ = 0;
  KeptPrefix kept_;  // what of the engine's cache the next text may use
};

}  // namespace

void SequenceEngine::ExtendByChunks(std::span<const int32_t> ids) {
  for (; !ids.empty(); ids = ids.subspan(kPromptChunk)) {
    Extend(ids.first(kPromptChunk));
  }
}

std::unique_ptr<LanguageModel> MakeSequenceLanguageModel(
    std::shared_ptr<const ModelFile> file,
    std::unique_ptr<SequenceEngine> engine) {
  return std::make_unique<SequenceLanguageModel>(std::move(file),
                                                 std::move(engine));
}

}  // namespace edgetune
