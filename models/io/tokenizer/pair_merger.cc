#include "models/io/tokenizer/pair_merger.h"

#include <algorithm>

namespace edgetune {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 |
         static_cast<uint32_t>(right);
}

}  // namespace

void PairMerger::Workspace::Add(int32_t id, size_t begin, size_t end) {
  const auto at = static_cast<int32_t>(symbols_.size());
  if (at > 0) symbols_.back().next = at;
  symbols_.push_back({id, at - 1, -1, begin, end});
}

void PairMerger::Add(int32_t left, int32_t right, int32_t rank,
                     int32_t merged) {
  merges_.emplace(PairKey(left, right), Target{rank, merged});
}

void PairMerger::Consider(int32_t left, Workspace* work) const {
  if (left < 0 || work->symbols_[left].next < 0) return;
  const int32_t right = work->symbols_[left].next;
  const int32_t a = work->symbols_[left].id, b = work->symbols_[right].id;
  const auto it = merges_.find(PairKey(a, b));
  if (it == merges_.end()) return;
  work->heap_.push_back({it->second.rank, left, right, a, b, it->second.id});
  std::push_heap(work->heap_.begin(), work->heap_.end());
}

void PairMerger::Merge(Workspace* work) const {
  std::vector<Symbol>& symbols = work->symbols_;
  auto& heap = work->heap_;
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) Consider(i, work);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Workspace::Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    if (left.id != best.left_id || right.id != best.right_id ||
        left.next != best.right) {
      continue;  // a neighbour was merged since
    }
    left.id = best.id;
    left.end = right.end;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    Consider(left.previous, work);
    Consider(best.left, work);
  }
}

}  // namespace edgetune
