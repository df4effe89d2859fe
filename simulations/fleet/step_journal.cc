#include "simulations/fleet/step_journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

struct Head {
  std::array<char, kStepJournalMagic.size()> magic;
  uint64_t size;
  Digest key, payload;
};
static_assert(sizeof(Head) == 80 && std::is_trivially_copyable_v<Head>,
              "a head has no padding");

std::span<const uint8_t> BytesOf(const Head& head) {
  return {reinterpret_cast<const uint8_t*>(&head), sizeof(head)};
}

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Whether all of it could be read.
bool ReadAt(int fd, uint64_t offset, std::span<char> into) {
  while (!into.empty()) {
    const ssize_t n =
        pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    into = into.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepJournal>> StepJournal::Open(
    const std::string& path, uint64_t most_bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(
      FileDescriptor file,
      OpenLocked(path, O_RDWR | O_CREAT, 0644, /*wait=*/false));
  std::unique_ptr<StepJournal> journal(
      new StepJournal(path, std::move(file), most_bytes));
  EDGETUNE_RETURN_IF_ERROR(journal->ReadIndex());
  return journal;
}

StepJournal::~StepJournal() = default;

absl::Status StepJournal::ReadIndex() {
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(file_, path_));
  std::lock_guard<std::mutex> lock(mu_);
  Head head;
  while (size - end_ >= sizeof(head) &&
         ReadAt(file_.get(), end_,
                {reinterpret_cast<char*>(&head), sizeof(head)}) &&
         std::string_view(head.magic.data(), head.magic.size()) ==
             kStepJournalMagic &&
         head.size <= size - end_ - sizeof(head)) {
    // Of a damaged record and the one that replaced it: the later.
    places_[head.key] = {end_ + sizeof(head), head.size};
    end_ += sizeof(head) + head.size;
  }
  if (end_ == size) return absl::OkStatus();
  if (ftruncate(file_.get(), static_cast<off_t>(end_)) == 0) {
    return absl::OkStatus();
  }
  return ErrnoStatus(errno, "cannot cut", path_);
}

std::optional<std::string> StepJournal::Find(const Digest& key) const {
  Place place;
  {
    std::lock_guard<std::mutex> lock(mu_);
    const auto found = places_.find(key);
    if (found == places_.end()) return std::nullopt;
    place = found->second;
  }
  Head head;
  std::string payload(place.size, '\0');
  if (!ReadAt(file_.get(), place.offset - sizeof(head),
              {reinterpret_cast<char*>(&head), sizeof(head)}) ||
      !ReadAt(file_.get(), place.offset, std::span(payload)) ||
      Sha256(payload) != head.payload) {
    return std::nullopt;
  }
  return payload;
}

void StepJournal::Add(const Digest& key, std::string_view payload) {
  Head head = {.magic = {},
               .size = payload.size(),
               .key = key,
               .payload = Sha256(payload)};
  std::memcpy(head.magic.data(), kStepJournalMagic.data(),
              kStepJournalMagic.size());
  std::lock_guard<std::mutex> lock(mu_);
  if (full_) return;
  if (end_ + sizeof(head) + payload.size() > most_bytes_) {
    return StopKeeping(fmt::format("{} are full", FormatBytes(most_bytes_)));
  }
  const uint64_t at = end_ + sizeof(head);
  absl::Status wrote = WriteAt(file_, end_, BytesOf(head), path_);
  if (wrote.ok()) wrote = WriteAt(file_, at, BytesOf(payload), path_);
  if (!wrote.ok()) {
    // What was written of it goes; Open would cut it off too.
    (void)!ftruncate(file_.get(), static_cast<off_t>(end_));
    return StopKeeping(std::string(wrote.message()));
  }
  places_[key] = {at, payload.size()};
  end_ = at + payload.size();
}

void StepJournal::StopKeeping(std::string_view why) {
  full_ = true;
  LogWarning(fmt::format(
      "what devices compute from here on is not kept for --resume, which will "
      "compute it again: {}",
      why));
}

size_t StepJournal::steps() const {
  std::lock_guard<std::mutex> lock(mu_);
  return places_.size();
}

uint64_t StepJournal::bytes() const {
  std::lock_guard<std::mutex> lock(mu_);
  return end_;
}

}  // namespace edgetune
