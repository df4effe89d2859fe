#ifndef EDGETUNE_CLIENT_MODEL_CACHE_H_
#define EDGETUNE_CLIENT_MODEL_CACHE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/base_models.h"
#include "storage/blob_store.h"

namespace edgetune {

// The base models of a device: files by digest in the blob store (so a second
// run on the same base moves no byte), and the one in use, opened once with
// its trainer and kept as long as plans name the same base, precision and
// engine. One
// thread. Borrows the store.
class ModelCache final : public BaseModels {
 public:
  using OpenEngine = std::function<absl::StatusOr<Engine*>(std::string_view)>;

  // `threads` 0: all cores.
  ModelCache(BlobStore* store, OpenEngine open_engine, int64_t threads)
      : store_(store),
        open_engine_(std::move(open_engine)),
        threads_(threads) {}

  absl::Status UseEngine(const std::string& name) override;
  absl::StatusOr<uint64_t> FetchBase(const v1::TaskPlan& plan,
                                     Transfer& transfer) override;
  absl::Status Open(const v1::TaskPlan& plan) override;
  void DropTrainer() override { trainer_.reset(); }
  absl::Status Load(const v1::TaskPlan& plan,
                    const MemoryChoice& choice) override;

  const ModelFile& model() const override { return *model_; }
  Trainer& trainer() override { return *trainer_; }
  Engine& engine() override { return *engine_; }
  int64_t threads() const override { return threads_; }

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
