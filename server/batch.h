#ifndef EDGETUNE_SERVER_BATCH_H_
#define EDGETUNE_SERVER_BATCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "privacy/crypto/hash.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "storage/database.h"

namespace edgetune {

// What handling one batch of the coordinator's queue leads to: rows, written
// in one transaction, and what may happen only once they are durable. Blobs
// that the rows name are put before the transaction. Plain data, one thread.
struct Batch {
  struct Write {
    const char* sql;  // a literal
    Row arguments;
  };
  struct Message {
    std::string device;
    v1::ServerMessage message;
  };

  std::vector<Write> writes;
  std::vector<Message> messages;
  // Update blobs of rounds that ended; removed unless something else (an
  // adapter, a base, an open round) has the same bytes.
  std::vector<Digest> unneeded;
  std::vector<std::string> partials;  // uploads that nobody will finish
  // Storage failed while handling: the batch must not be committed.
  absl::Status failure;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_BATCH_H_
