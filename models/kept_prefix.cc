#include "models/kept_prefix.h"

#include <algorithm>

namespace edgetune {
namespace {

size_t WholeChunks(size_t tokens) {
  return tokens / kPromptChunk * kPromptChunk;
}

}  // namespace

size_t KeptPrefix::Reuse(std::span<const int32_t> ids) {
  // The last token is always fed: its logits are wanted.
  const size_t most = std::min(ids_.size(), ids.size() - 1);
  const auto differ =
      std::mismatch(ids.begin(), ids.begin() + most, ids_.begin());
  ids_.resize(WholeChunks(differ.first - ids.begin()));
  return ids_.size();
}

void KeptPrefix::Keep(std::span<const int32_t> ids) {
  ids_.assign(ids.begin(), ids.begin() + WholeChunks(ids.size()));
}

}  // namespace edgetune
