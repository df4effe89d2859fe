#ifndef EDGETUNE_SERVER_RPC_UPLOAD_SLOTS_H_
#define EDGETUNE_SERVER_RPC_UPLOAD_SLOTS_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"

namespace edgetune {

// Which uploads are in flight: at most two for an identity, and one for a
// partial file. A sender that reconnects takes its upload over from the stream
// it lost, which the server may still believe in. Thread-safe; slots keep
// their own lock, so a slow disk holds up that upload only. Must outlive its
// slots.
class UploadSlots {
 public:
  // One upload's place. Freed by the destructor.
  class Slot {
   public:
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    // Held while the partial file is written or finished.
    std::mutex mu;
    // Guarded by mu: a newer stream writes this file now.
    bool superseded = false;

   private:
    friend class UploadSlots;
    Slot(UploadSlots* owner, std::string identity, std::string name)
        : owner_(owner),
          identity_(std::move(identity)),
          name_(std::move(name)) {}

    UploadSlots* const owner_;
    const std::string identity_;
    const std::string name_;
  };

  // ResourceExhausted: two others of this identity are in flight.
  absl::StatusOr<std::shared_ptr<Slot>> Take(const std::string& identity,
                                             const std::string& name);

 private:
  void Free(const Slot& slot);

  std::mutex mu_;
  std::map<std::string, int> in_flight_;                // by identity
  std::map<std::string, std::weak_ptr<Slot>> by_name_;  // newest stream
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_UPLOAD_SLOTS_H_
