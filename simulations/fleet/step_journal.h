#ifndef EDGETUNE_SIMULATIONS_FLEET_STEP_JOURNAL_H_
#define EDGETUNE_SIMULATIONS_FLEET_STEP_JOURNAL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "storage/file_descriptor.h"

namespace edgetune {

inline constexpr std::string_view kStepJournalMagic = "EDGETSJ1";

// What the long steps of a simulation gave, in one file, each by a digest of
// everything that decides it: a simulation that was killed is repeated from its
// beginning and takes what it finds here instead of computing it
// (docs/decisions/0020). A cache and nothing more: what is missing is computed.
//
// The file is records, one after the other, of this machine's byte order: 80
// bytes of head ("EDGETSJ1", the payload's size, key, SHA-256 of the payload),
// then the payload. A record is with the system when Add returns, so it
// outlives this process; the digest finds out what a power failure left of it.
//
// Life: Open, then Find and Add, on any thread. Errors of Open: those of the
// file. A step that cannot be kept (the disk or `most_bytes` is full) is not,
// which is told once.
class StepJournal {
 public:
  // Cuts off a last record that is not whole. The file grows up to
  // `most_bytes`.
  static absl::StatusOr<std::unique_ptr<StepJournal>> Open(
      const std::string& path, uint64_t most_bytes);
  ~StepJournal();

  // nullopt: it is not here, or damaged.
  std::optional<std::string> Find(const Digest& key) const;
  void Add(const Digest& key, std::string_view payload);

  size_t steps() const;  // held
  uint64_t bytes() const;

 private:
  struct Place {
    uint64_t offset, size;  // of the payload
  };
  StepJournal(std::string path, FileDescriptor file, uint64_t most_bytes)
      : path_(std::move(path)),
        file_(std::move(file)),
        most_bytes_(most_bytes) {}
  absl::Status ReadIndex();
  void StopKeeping(std::string_view why);

  const std::string path_;
  const FileDescriptor file_;
  const uint64_t most_bytes_;
  mutable std::mutex mu_;
  std::map<Digest, Place> places_;  // guarded by mu_
  uint64_t end_ = 0;                // guarded by mu_
  bool full_ = false;               // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_STEP_JOURNAL_H_
