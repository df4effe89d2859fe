#ifndef EDGETUNE_SERVER_RUN_ROWS_H_
#define EDGETUNE_SERVER_RUN_ROWS_H_

// The coordinator's tables, and what they hold as plain structs. Save...
// functions only add statements to a batch; LoadRuns reads all back.

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/update_fold.h"
#include "privacy/identity/roster_file.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "server/batch.h"
#include "server/masked_rows.h"
#include "server/model_store.h"
#include "server/round.h"
#include "storage/database.h"

namespace edgetune {

// What became of one client in one round and attempt. Kept for the life of the
// run, so that an old report is answered as it was the first time.
struct Session {
  Round::ClientState state = Round::ClientState::kOpen;
  std::string fingerprint;            // of the report; empty: none
  std::string update_digest;          // empty: none
  UpdateTerms terms = {.weight = 0};  // of the update
  double nll_sum = 0;
  uint64_t tokens = 0;
  std::string detail;  // why refused, lost, declined or cancelled
  // Digests of the updates that were begun to be uploaded, the current last:
  // durable before their first byte, so that no crash leaves a blob behind.
  std::vector<std::string> announced;

  // For people, or cheap to learn again: not durable.
  std::string activity = "assigned";
  uint32_t step = 0;
  uint32_t steps = 0;
  double loss = 0;
  bool late = false;
  bool equivocated = false;  // told once
};
// Round, attempt, device.
using SessionId = std::tuple<uint32_t, uint32_t, std::string>;

struct RunRow {
  std::string run_id;    // 32 bytes
  int64_t sequence = 0;  // order of submission
  std::string plan;      // serialised envelope
  v1::RunStatus::State state = v1::RunStatus::QUEUED;
  std::string detail;
  uint32_t round = 0;     // next or open; rounds.count: the closing evaluation
  uint32_t attempt = 0;   // of that round
  uint32_t forgiven = 0;  // attempts before an operator let the run go on
  int64_t turn = 0;       // larger: took devices more recently
  int64_t submitted_ms = 0;
  int64_t ended_ms = 0;
  uint64_t bytes_down = 0;
  uint64_t bytes_up = 0;
  uint64_t base_bytes_down = 0;
  int64_t events = 0;    // ever recorded
  std::string manifest;  // serialised envelope of the round in training, or ""
};

// The last session of a device whose update is in an adapter; kept where the
// plan has control variates, which devices move only then.
struct CountedSession {
  uint32_t round = 0;
  uint32_t attempt = 0;
};

struct StoredRun {
  RunRow row;
  std::map<SessionId, Session> sessions;
  std::vector<ModelVersion> versions;
  ServerState server_state;
  std::vector<v1::Measure> measures;
  std::vector<v1::RunEvent> events;
  StoredMasking masking;
  std::map<std::string, CountedSession> counted;  // by device
};

constexpr int64_t kEventsKept = 200;

const std::vector<std::string>& CoordinatorMigrations();

void SaveRun(const RunRow& row, Batch& batch);
void SaveSession(const std::string& run_id, const SessionId& id,
                 const Session& session, Batch& batch);
void DropSessionsBefore(const std::string& run_id, uint32_t round,
                        Batch& batch);
void SaveVersion(const std::string& run_id, const ModelVersion& version,
                 const ServerState& state, Batch& batch);
void SaveCounted(const std::string& run_id, const std::string& device,
                 const CountedSession& session, Batch& batch);
void SaveMeasure(const std::string& run_id, const v1::Measure& measure,
                 Batch& batch);
// `number` counts from 1; those beyond the last kEventsKept go.
void SaveEvent(const std::string& run_id, int64_t number,
               const v1::RunEvent& event, Batch& batch);
// Blobs to remove survive a crash between commit and removal.
void SaveUnneeded(const Digest& digest, Batch& batch);
void ForgetUnneeded(const Digest& digest, Batch& batch);

// The newest roster that was acted upon; version 0: none. DataLoss as below.
absl::StatusOr<RosterGuard::Mark> LoadRosterMark(Transaction& transaction);
absl::Status SaveRosterMark(const RosterGuard::Mark& mark,
                            Transaction& transaction);

// DataLoss: a row that this program did not write.
absl::StatusOr<std::vector<StoredRun>> LoadRuns(Transaction& transaction);
absl::StatusOr<std::vector<Digest>> LoadUnneeded(Transaction& transaction);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RUN_ROWS_H_
