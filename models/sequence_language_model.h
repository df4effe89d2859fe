#ifndef EDGETUNE_MODELS_SEQUENCE_LANGUAGE_MODEL_H_
#define EDGETUNE_MODELS_SEQUENCE_LANGUAGE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "models/io/model_file.h"
#include "models/language_model.h"

namespace edgetune {

// What an engine computes of one sequence that grows, with a key/value cache:
// all that scoring and generation need of it. One thread at a time. May
// throw; after that, Reset or Keep comes first.
class SequenceEngine {
 public:
  virtual ~SequenceEngine() = default;

  // Uses this adapter from now on, as LanguageModel::SetAdapter. What is in
  // the cache is of no use then: Reset comes next.
  virtual absl::Status SetAdapter(const Adapter* adapter) = 0;
  // Forgets the sequence and makes room for one of `capacity` tokens.
  virtual void Reset(size_t capacity) = 0;
  // Forgets all but the first `length` tokens.
  virtual void Keep(size_t length) = 0;
  // Appends ids, which must fit.
  virtual void Extend(std::span<const int32_t> ids) = 0;
  // Appends ids, a multiple of kPromptChunk: the same, bit for bit, as Extend
  // for one chunk after the other, but the engine may read its weights once for
  // all.
  virtual void ExtendByChunks(std::span<const int32_t> ids);
  // Of the ids that Extend was given last: logits [V] after the last of them,
  // and -log p of next[i] after the i-th, for as many as `next` has.
  virtual std::vector<float> LastLogits() = 0;
  virtual std::vector<float> NextNll(std::span<const int32_t> next) = 0;
};

// The LanguageModel over an engine: checks, scoring in parts, sampling, and
// what the next prompt uses again of the last one's cache (KeptPrefix).
std::unique_ptr<LanguageModel> MakeSequenceLanguageModel(
    std::shared_ptr<const ModelFile> file,
    std::unique_ptr<SequenceEngine> engine);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SEQUENCE_LANGUAGE_MODEL_H_
