#ifndef EDGETUNE_MODELS_IO_TOKENIZER_PAIR_MERGER_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_PAIR_MERGER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace edgetune {

// The merges of byte-pair encoding (Sennrich et al. 2016). Immutable once all
// are added; then thread-safe.
class PairMerger {
 public:
  // Part of a piece, in a doubly linked list; bytes [begin, end) of the text.
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none
    size_t begin, end;
  };
  // Kept between pieces, so that a piece allocates nothing. One thread.
  class Workspace {
   public:
    void Clear() { symbols_.clear(); }
    void Add(int32_t id, size_t begin, size_t end);
    const std::vector<Symbol>& symbols() const { return symbols_; }

   private:
    friend class PairMerger;
    // Lowest rank first, leftmost on ties; ids tell whether it is stale.
    struct Candidate {
      int32_t rank, left, right;
      int32_t left_id, right_id, id;
      bool operator<(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
  };

  void Reserve(size_t merges) { merges_.reserve(merges); }
  // A pair that was added before keeps its first, stronger rank.
  void Add(int32_t left, int32_t right, int32_t rank, int32_t merged);

  // Merges until nothing is left to merge. symbols() then holds the result as
  // the list that begins at 0 (if it is not empty). n log n.
  void Merge(Workspace* work) const;

 private:
  struct Target {
    int32_t rank;
    int32_t id;
  };

  void Consider(int32_t left, Workspace* work) const;

  absl::flat_hash_map<uint64_t, Target> merges_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_PAIR_MERGER_H_
