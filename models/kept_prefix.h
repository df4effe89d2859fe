#ifndef EDGETUNE_MODELS_KEPT_PREFIX_H_
#define EDGETUNE_MODELS_KEPT_PREFIX_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace edgetune {

// Tokens a matrix product takes of a prompt, from its beginning.
inline constexpr size_t kPromptChunk = 64;

// Which positions of a key/value cache the next prompt may use again: those of
// the whole chunks that it begins with as the last one did. What was fed in
// parts of another size (the rest of a prompt, an answer token by token) is
// not: matrix products of another size round differently, and an answer must
// not depend on what was asked before. Life: (Reuse, Keep)...; a prompt whose
// feeding fails is not kept, what it used again is. One thread.
class KeptPrefix {
 public:
  // How many positions of `ids`, which is not empty, need not be fed again: a
  // multiple of kPromptChunk, fewer than all. Those after them are given up.
  size_t Reuse(std::span<const int32_t> ids);
  // All of `ids` were fed, in chunks.
  void Keep(std::span<const int32_t> ids);
  void Drop() { ids_.clear(); }

 private:
  std::vector<int32_t> ids_;  // of whole chunks
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_KEPT_PREFIX_H_
