#ifndef EDGETUNE_CLIENT_BASE_MODELS_H_
#define EDGETUNE_CLIENT_BASE_MODELS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/process_memory.h"
#include "client/transfer.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "training/engine_loader.h"
#include "training/memory_prediction.h"

namespace edgetune {

// The base model that a client's plans name, and its trainer: of a device its
// own (ModelCache), of a simulated fleet one for all. One client's work at a
// time; order of calls: UseEngine, FetchBase, Open, Load, then the rest.
class BaseModels {
 public:
  virtual ~BaseModels() = default;

  // Trains with this engine from now on. kConfig: the device cannot open it.
  virtual absl::Status UseEngine(const std::string& name) = 0;
  // Fetches the parts that are missing; bytes moved.
  virtual absl::StatusOr<uint64_t> FetchBase(const v1::TaskPlan& plan,
                                             Transfer& transfer) = 0;
  // Makes model() that of the plan. A trainer of another base goes. kModel.
  virtual absl::Status Open(const v1::TaskPlan& plan) = 0;
  // Frees the trainer: memory is to be divided anew.
  virtual void DropTrainer() = 0;
  // Makes trainer() the plan's, with weights and activations as `choice` has
  // them. What the engine says.
  virtual absl::Status Load(const v1::TaskPlan& plan,
                            const MemoryChoice& choice) = 0;

  virtual const ModelFile& model() const = 0;
  virtual Trainer& trainer() = 0;
  virtual Engine& engine() = 0;
  // Of the engine; 0: all cores.
  virtual int64_t threads() const = 0;
  // What the client's process has in memory before it trains, in bytes.
  virtual uint64_t resident() const { return ResidentBytes(); }
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_BASE_MODELS_H_
