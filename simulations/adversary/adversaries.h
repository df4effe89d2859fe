#ifndef EDGETUNE_SIMULATIONS_ADVERSARY_ADVERSARIES_H_
#define EDGETUNE_SIMULATIONS_ADVERSARY_ADVERSARIES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/local_data.h"
#include "config/run_file.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "simulations/adversary/adversary_trainer.h"
#include "simulations/adversary/backdoor.h"

namespace edgetune {

// What some clients of a simulated fleet do in place of their task; the
// formulas: docs/reference/simulation.md. A plain value.
struct AdversarySpec {
  enum class Kind {
    kNone,
    kLabelFlip,  // trains on answers that belong to other questions
    kSignFlip,   // sends its update times -1
    kScale,      // sends its update times `scale`
    kBackdoor,   // trains half of its examples to answer a trigger
    kFreeRider,  // sends noise and does not train
  };
  Kind kind = Kind::kNone;
  double share = 0;  // of the clients, rounded down
  double scale = 10;
  std::string trigger = {}, target = {};  // of kBackdoor
  uint64_t seed = 1;                      // the run's
};
// Of the keys simulation.adversary... and train.seed.
AdversarySpec AdversarySpecOf(const RunFile& run);

// floor(share * clients): the share is meant as written (0.29 of 100 is 29).
size_t AdversaryCount(double share, size_t clients);

// The adversaries of one fleet and what differs in them: the examples that they
// train on, or the trainer's update. Everything else of such a client, its
// held-out examples included, is as without. Who they are and what they do
// follows from the run's seed and names of clients alone. Immutable once made,
// thread-safe. Borrows nothing.
class Adversaries {
 public:
  struct Options {
    AdversarySpec spec;
    std::vector<std::string> clients;  // of the whole fleet, in its order
    std::string data;                  // simulation.data
    v1::TaskPlan plan;
    std::shared_ptr<const ModelFile> model;
  };
  // Which clients: the first AdversaryCount of a permutation of all by the
  // seed; a larger share has those of a smaller among its own. InvalidArgument
  // (kConfig): a share that is above 0 and less than one client, a backdoor
  // without trigger or target. Errors of Backdoor::Read.
  static absl::StatusOr<std::unique_ptr<Adversaries>> Make(Options options);

  size_t count() const { return chosen_.size(); }
  bool Has(size_t client) const { return chosen_.contains(client); }

  // What this client trains on in place of `honest`. InvalidArgument (kData):
  // kLabelFlip of texts, which have no answers to exchange.
  absl::StatusOr<LocalData> Poison(size_t client, LocalData honest) const;
  // What this client has in place of its trainer; null: that trainer.
  std::unique_ptr<Trainer> Replace(size_t client, TrainerOf trainer) const;
  // Of kBackdoor; else null.
  const Backdoor* backdoor() const {
    return backdoor_.has_value() ? &*backdoor_ : nullptr;
  }

 private:
  explicit Adversaries(Options options) : options_(std::move(options)) {}

  const Options options_;
  std::set<size_t> chosen_;
  std::optional<Backdoor> backdoor_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_ADVERSARY_ADVERSARIES_H_
