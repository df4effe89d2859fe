#ifndef EDGETUNE_SERVER_MASKED_ROWS_H_
#define EDGETUNE_SERVER_MASKED_ROWS_H_

// The coordinator's tables of masked rounds. Save... functions only add
// statements to a batch. No row ever holds a share, a seed or an update.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "privacy/secagg/server.h"
#include "protos/edgetune/v1/envelope.pb.h"
#include "protos/edgetune/v1/secagg.pb.h"
#include "server/batch.h"
#include "storage/database.h"

namespace edgetune {

// One attempt of one round of one run.
struct AttemptId {
  std::string run_id;  // 32 bytes
  uint32_t round = 0;
  uint32_t attempt = 0;
};

struct StoredGroup {
  std::vector<v1::CohortEntry> cohort;
  std::vector<secagg::SecAggServer::Record> records;
  uint32_t next_number = 0;  // of a record that is added
  // A row whose digest does not fit was left out.
  bool damaged = false;
  // It was the last one, so it may be a transition that was acted upon.
  bool damaged_end = false;
};

struct StoredMasking {
  std::map<std::string, v1::CohortEntry> keys;  // device -> accepted R0
  std::vector<StoredGroup> groups;              // none: masking has not begun
  std::map<std::string, uint32_t> spent;        // device -> times, this round
  std::vector<v1::Envelope> overrides;
  std::vector<Digest> receipts;
  std::map<std::string, uint32_t> scores;  // device -> points of blame
};

extern const char kMaskedTables[];  // a migration

void SaveKeys(const AttemptId& id, const std::string& device,
              const v1::CohortEntry& entry, Batch& batch);
void SaveGroup(const AttemptId& id, uint32_t group,
               const std::vector<v1::CohortEntry>& cohort, Batch& batch);
void SaveRecord(const AttemptId& id, uint32_t group, uint32_t number,
                const secagg::SecAggServer::Record& record, Batch& batch);
// The attempt has ended: its keys, groups and records go.
void ForgetAttempt(const AttemptId& id, Batch& batch);
// `times` devices' vectors left from the round's adapter.
void SaveSpent(const std::string& run_id, const std::string& device,
               uint32_t times, Batch& batch);
// The round has committed: what was spent on its adapter does not matter.
void ForgetSpent(const std::string& run_id, Batch& batch);
void SaveOverride(const std::string& run_id, const v1::Envelope& envelope,
                  Batch& batch);
void SaveReceipt(const std::string& run_id, uint32_t round,
                 const Digest& digest, Batch& batch);
// A Contradiction that `device` signed; kept for good.
void SaveEvidence(const std::string& run_id, const std::string& device,
                  const std::string& document, Batch& batch);
void SaveScore(const std::string& run_id, const std::string& device,
               uint32_t points, Batch& batch);

// DataLoss: a row that this program did not write, but for records, whose
// damage is reported in StoredGroup.
absl::StatusOr<StoredMasking> LoadMasking(Transaction& transaction,
                                          const std::string& run_id);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_MASKED_ROWS_H_
