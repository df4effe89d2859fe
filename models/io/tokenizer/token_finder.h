#ifndef EDGETUNE_MODELS_IO_TOKENIZER_TOKEN_FINDER_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_TOKEN_FINDER_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace edgetune {

// Finds tokens that stand in a text as they are: leftmost, the longest of
// several. Immutable once all are added; then thread-safe.
class TokenFinder {
 public:
  struct Match {
    size_t begin, end;  // both text.size(): nothing found
    int32_t id;
  };

  // `token`, not empty, must outlive the finder.
  void Add(std::string_view token, int32_t id) {
    ids_.emplace(token, id);
    auto& lengths = lengths_[static_cast<uint8_t>(token[0])];
    const auto at = std::lower_bound(lengths.begin(), lengths.end(),
                                     token.size(), std::greater<>());
    if (at == lengths.end() || *at != token.size()) {
      lengths.insert(at, token.size());
    }
  }

  // The first token at or behind `from`.
  Match Find(std::string_view text, size_t from) const {
    for (size_t at = ids_.empty() ? text.size() : from; at < text.size();
         ++at) {
      for (size_t length : lengths_[static_cast<uint8_t>(text[at])]) {
        const auto it = ids_.find(text.substr(at, length));
        if (it != ids_.end()) return {at, at + it->first.size(), it->second};
      }
    }
    return {text.size(), text.size(), -1};
  }

 private:
  absl::flat_hash_map<std::string_view, int32_t> ids_;
  // By first byte, the lengths that occur, descending.
  std::array<std::vector<size_t>, 256> lengths_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_TOKEN_FINDER_H_
