#include "privacy/crypto/signature_memo.h"

#include <atomic>
#include <mutex>
#include <set>

namespace edgetune {
namespace {

constexpr size_t kMost = size_t{1} << 16;

struct Memo {
  std::atomic<int> owners{0};
  std::mutex mutex;
  std::set<Digest> valid;
};

Memo& TheMemo() {
  static auto* memo = new Memo;  // outlives every thread that verifies
  return *memo;
}

}  // namespace

SignatureMemo::SignatureMemo() { ++TheMemo().owners; }

SignatureMemo::~SignatureMemo() {
  Memo& memo = TheMemo();
  const std::lock_guard lock(memo.mutex);
  if (--memo.owners == 0) memo.valid.clear();
}

bool SignatureMemo::Lives() { return TheMemo().owners > 0; }

bool SignatureMemo::Knows(const Digest& triple) {
  const std::lock_guard lock(TheMemo().mutex);
  return TheMemo().valid.contains(triple);
}

void SignatureMemo::Remember(const Digest& triple) {
  Memo& memo = TheMemo();
  const std::lock_guard lock(memo.mutex);
  if (memo.owners == 0) return;  // the last went meanwhile
  if (memo.valid.size() >= kMost) memo.valid.clear();
  memo.valid.insert(triple);
}

}  // namespace edgetune
