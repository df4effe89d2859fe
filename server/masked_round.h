#ifndef EDGETUNE_SERVER_MASKED_ROUND_H_
#define EDGETUNE_SERVER_MASKED_ROUND_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/secagg/server.h"
#include "server/batch.h"
#include "server/masked_rows.h"
#include "storage/blob_store.h"

namespace edgetune {

// The masked part of one attempt, after the keys of its clients were accepted:
// cuts them into groups, runs one SecAggServer a group, keeps their records,
// folds uploads and adds the groups' integer sums. Rows and messages go to the
// batch. Life: Begin or Restore, then events until IsOver; then the result,
// once. Nothing is waited for: time comes in with Timer. Threads only inside
// unmasking, which uses every core. One thread. Blobs and key are borrowed.
// After batch.failure is set it must be dropped.
class MaskedRound {
 public:
  struct Options {
    AttemptId id;
    Digest manifest = {};  // M
    MaskedShape shape;
    secagg::SecAggServer::Deadlines deadlines;
    uint32_t group = 300;  // most members of one session
    absl::Duration reconnect_grace;
    const SigningKey* round_key = nullptr;
    const BlobStore* blobs = nullptr;
  };
  // What people should read; `warning` for what went wrong.
  struct Note {
    std::string text;
    bool warning = false;
  };

  // `keys` of at least n_min devices. Groups are as equal as can be and their
  // members follow from M, so nobody's choice repeats between attempts.
  static absl::StatusOr<MaskedRound> Begin(
      Options options, const std::map<std::string, v1::CohortEntry>& keys,
      absl::Time now, Batch& batch);
  // After a restart: devices have reconnect_grace to come back. A session
  // whose rows or uploads are damaged loses the client before the freeze and
  // fails after it.
  static absl::StatusOr<MaskedRound> Restore(
      Options options, const std::map<std::string, v1::CohortEntry>& keys,
      std::vector<StoredGroup> groups, absl::Time now, Batch& batch);

  void Handle(const std::string& device, const v1::SecAggClientMessage& message,
              absl::Time now, Batch& batch);
  void Lost(const std::string& device, absl::Time now, Batch& batch);
  void StreamUp(const std::string& device, Batch& batch);
  void StreamDown(const std::string& device, absl::Time now);
  void Timer(absl::Time now, Batch& batch);
  absl::Time NextTimer() const;
  // Ends every session that is not over.
  void Stop(const std::string& why, absl::Time now, Batch& batch);

  // In a session that is not over.
  bool Involves(const std::string& device) const;
  // The open phase waits for its answer.
  bool Awaits(const std::string& device) const;
  // Its masked vector is expected.
  bool ExpectsInput(const std::string& device) const;
  // The phase of the first session that is not over, for people:
  // "masking: input".
  std::string PhaseText() const;
  std::vector<Note> TakeNotes() { return std::exchange(notes_, {}); }
  // Pairs that complained of each other and sit out the next attempt.
  const std::set<std::string>& benched() const { return benched_; }
  // Devices told to send masked input: their update may have left them.
  std::set<std::string> spent() const;
  // One point each time a device was named in a dispute.
  std::map<std::string, uint32_t> TakeBlame() {
    return std::exchange(blame_, {});
  }

  bool IsOver() const;
  // Devices whose vectors are in the sum.
  std::set<std::string> survivors() const;
  // Sums of all groups that succeeded, lanes then coordinates.
  const std::vector<int64_t>& sums() const { return sums_; }
  std::vector<v1::GroupReceipt> receipts() const;
  // Why groups failed, for people; empty when none did.
  std::string failure() const;

 private:
  using Server = secagg::SecAggServer;
  struct Group {
    std::optional<Server> server;
    std::optional<secagg::MaskedSum> sum;  // until it is unmasked
    std::vector<std::string> devices;      // by index
    uint32_t records = 0;
    bool opened = false;  // input was asked for
    std::string failure;
  };
  struct Place {
    size_t group;
    uint32_t index;
    absl::Time lost_at = absl::InfiniteFuture();  // finite: stream is gone
  };

  explicit MaskedRound(Options options) : options_(std::move(options)) {}

  absl::Status Open(std::vector<v1::CohortEntry> cohort, absl::Time now,
                    Batch& batch);
  absl::Status Reopen(StoredGroup stored, absl::Time now, Batch& batch);
  Group& AddGroup(const std::vector<v1::CohortEntry>& cohort,
                  const std::map<std::string, v1::CohortEntry>& keys);
  secagg::SecAggServer::Options ServerOptions() const;
  void Perform(size_t at, Server::Actions actions, absl::Time now,
               Batch& batch);
  void TellPhase(size_t at, const Server::Record& record);
  absl::Status CheckForm(const v1::MaskedInput& input) const;
  void NoteUnreadable(const std::string& device, const absl::Status& why);
  void Fold(size_t at, const Server::Action& action, absl::Time now,
            Batch& batch);
  void Unmask(size_t at, const Server::Action& action, absl::Time now,
              Batch& batch);
  void SendTo(const std::string& device, const v1::SecAggServerMessage& message,
              Batch& batch) const;
  const Place* Find(const std::string& device) const;
  bool IsGroupOver(const Group& group) const;

  Options options_;
  std::map<std::string, v1::CohortEntry> keys_;
  std::vector<Group> groups_;
  std::map<std::string, Place> places_;
  std::vector<int64_t> sums_;
  std::vector<Note> notes_;
  std::set<std::string> benched_;
  std::map<std::string, uint32_t> blame_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_MASKED_ROUND_H_
