#ifndef EDGETUNE_CLIENT_MODEL_CACHE_H_
#define EDGETUNE_CLIENT_MODEL_CACHE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/transfer.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "storage/blob_store.h"
#include "training/engine_loader.h"
#include "training/memory_prediction.h"

namespace edgetune {

// The base models of a device: files by digest in the blob store (so a second
// run on the same base moves no byte), and the one in use, opened once with
// its trainer and kept as long as plans name the same base, precision and
// engine. One
// thread. Borrows the store.
class ModelCache {
 public:
  using OpenEngine = std::function<absl::StatusOr<Engine*>(std::string_view)>;

  // `threads` 0: all cores.
  ModelCache(BlobStore* store, OpenEngine open_engine, int64_t threads)
      : store_(store),
        open_engine_(std::move(open_engine)),
        threads_(threads) {}

  // Trains with this engine from now on; before Load. kConfig: the device
  // cannot open it.
  absl::Status UseEngine(const std::string& name);

  // Fetches the parts that are missing; bytes moved.
  absl::StatusOr<uint64_t> FetchBase(const v1::TaskPlan& plan,
                                     Transfer& transfer);

  // Makes model() that of the plan. A trainer of another base goes. kModel.
  absl::Status Open(const v1::TaskPlan& plan);
  // Frees the trainer: memory is to be divided anew.
  void DropTrainer() { trainer_.reset(); }
  // After an Open of the same plan: makes trainer() the plan's, with weights
  // and activations as `choice` has them. What the engine says.
  absl::Status Load(const v1::TaskPlan& plan, const MemoryChoice& choice);

  // After an Open, a Load that was OK.
  const ModelFile& model() const { return *model_; }
  Trainer& trainer() { return *trainer_; }
  // Of UseEngine, and of the device.
  const Engine& engine() const { return *engine_; }
  int64_t threads() const { return threads_; }

 private:
  std::string KeyOf(const v1::TaskPlan& plan) const;
  // A base that rotted on disk is fetched again: training on it would send the
  // update of another model.
  absl::Status DropIfDamaged(const Digest& digest);
  // What ModelFile::Open takes: the blob of a lone GGUF, or a directory of
  // links to the blobs of its files.
  absl::StatusOr<std::string> PathOf(const v1::ModelSpec& model) const;

  BlobStore* const store_;
  const OpenEngine open_engine_;
  const int64_t threads_;
  Engine* engine_ = nullptr;
  std::string engine_name_;
  std::string key_;      // base digest, precision and engine of what is open
  MemoryChoice choice_;  // of the trainer
  std::shared_ptr<const ModelFile> model_;
  std::unique_ptr<Trainer> trainer_;  // destroyed before model_
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_MODEL_CACHE_H_
