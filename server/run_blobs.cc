// Which blobs a Run gives out, refers to and takes, and when they go.

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/status.h"
#include "base/units.h"
#include "server/run.h"

namespace edgetune {
namespace {

// Updates that one session may begin: enough for a client that trained again
// after a crash, too few to fill a disk.
constexpr size_t kMostAnnounced = 9;

constexpr std::string_view kUpdatePrefix = "u-";

}  // namespace

bool Run::Serves(const Digest& digest) const {
  if (models_.current().adapter == digest || models_.control() == digest) {
    return true;
  }
  const std::string bytes = DigestBytes(digest);
  return std::any_of(plan_.model().parts().begin(), plan_.model().parts().end(),
                     [&](const auto& part) { return part.sha256() == bytes; });
}

bool Run::Refers(const Digest& digest) const {
  if (Serves(digest)) return true;
  if (std::find(masking_.receipts.begin(), masking_.receipts.end(), digest) !=
      masking_.receipts.end()) {
    return true;
  }
  for (const ModelVersion& version : models_.versions()) {
    if (version.adapter == digest) return true;
  }
  if (row_.manifest.empty()) return false;
  const std::string bytes = DigestBytes(digest);
  for (const auto& [key, session] : CurrentSessions()) {
    if (session.update_digest == bytes || CurrentUpload(session) == bytes) {
      return true;
    }
  }
  return false;
}

std::string Run::PartialName(const std::string& device) const {
  return fmt::format("{}{}-{}-{}-{}", kUpdatePrefix, ToHex(id().substr(0, 8)),
                     row_.round, row_.attempt, device);
}

bool Run::IsUpdatePartial(std::string_view name) {
  return name.starts_with(kUpdatePrefix);
}

bool Run::AwaitsPartial(const std::string& name) const {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& s) {
    const std::string& device = std::get<2>(s.first);
    return HasOpen(device) && PartialName(device) == name;
  });
}

std::string_view Run::CurrentUpload(const Session& session) {
  return session.announced.empty() ? std::string_view()
                                   : session.announced.back();
}

// Also one that has been taken: the client asks how far it came when the
// request for it was repeated, as after a restart.
bool Run::ExpectsMasked(const std::string& device,
                        const v1::UploadKey& key) const {
  if (masked_ == nullptr || !masked_->Involves(device)) return false;
  const auto session = sessions_.find(IdOf(device));
  return masked_->ExpectsInput(device) ||
         (session != sessions_.end() &&
          session->second.update_digest == key.sha256());
}

absl::Status Run::CheckUpload(const std::string& device,
                              const v1::UploadKey& key) const {
  const bool expected =
      Masks() ? ExpectsMasked(device, key) : HasOpen(device) && !IsEvaluation();
  if (!IsCurrent(key.session()) || !expected) {
    return absl::FailedPreconditionError(
        "late: no upload is expected for this session");
  }
  if (key.sha256().size() != 32) {
    return absl::InvalidArgumentError(fmt::format(
        "upload: sha256 has {} bytes, wanted 32", key.sha256().size()));
  }
  if (key.size() != UpdateBytes()) {
    return absl::InvalidArgumentError(fmt::format(
        "upload: announced {} bytes, an update of this round has {}",
        key.size(), UpdateBytes()));
  }
  return absl::OkStatus();
}

bool Run::IsAnnounced(const std::string& device,
                      const v1::UploadKey& key) const {
  return CurrentUpload(sessions_.at(IdOf(device))) == key.sha256();
}

absl::StatusOr<std::string> Run::Announce(const std::string& device,
                                          const v1::UploadKey& key,
                                          Batch& batch) {
  EDGETUNE_RETURN_IF_ERROR(CheckUpload(device, key));
  const std::string name = PartialName(device);
  if (IsAnnounced(device, key)) return name;
  Session& session = sessions_[IdOf(device)];
  if (session.announced.size() >= kMostAnnounced) {
    return absl::ResourceExhaustedError(fmt::format(
        "upload: this session announced {} different updates already",
        kMostAnnounced));
  }
  // A client that trained again after a crash has other bytes to send.
  EDGETUNE_RETURN_IF_ERROR(blobs_->DropPartial(name));
  session.announced.push_back(key.sha256());
  SaveSession(id(), IdOf(device), session, batch);
  return name;
}

void Run::CountDownload(const Digest& digest, uint64_t bytes) {
  row_.bytes_down += bytes;
  const std::string key = DigestBytes(digest);
  for (const v1::FilePart& part : plan_.model().parts()) {
    if (part.sha256() == key) row_.base_bytes_down += bytes;
  }
  changed_ = dirty_ = true;
}

void Run::CountUpload(uint64_t bytes) {
  row_.bytes_up += bytes;
  changed_ = dirty_ = true;
}

void Run::CleanUp(Batch& batch) {
  row_.manifest.clear();
  dirty_ = true;
  const size_t update_bytes = UpdateBytes();
  for (const auto& [key, session] : CurrentSessions()) {
    batch.partials.push_back(PartialName(std::get<2>(key)));
    std::set<std::string> sent(session.announced.begin(),
                               session.announced.end());
    sent.insert(session.update_digest);
    for (const std::string& bytes : sent) {
      const auto digest = DigestFromBytes(bytes);
      if (!digest.ok()) continue;
      // Peers choose these: nothing of another size than an update's may go.
      // What is not there may be there in an instant, when an upload ends just
      // now.
      const auto size = blobs_->Size(*digest);
      if (size.ok() && *size != update_bytes) continue;
      batch.unneeded.push_back(*digest);
      SaveUnneeded(*digest, batch);
    }
  }
}

}  // namespace edgetune
