#ifndef EDGETUNE_SIMULATIONS_MPI_RANK_ENGINE_H_
#define EDGETUNE_SIMULATIONS_MPI_RANK_ENGINE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "simulations/mpi/ranks.h"
#include "training/engine_loader.h"

namespace edgetune {

// Rank 0's engine over all ranks. A fleet makes one trainer a worker: of equal
// options the first `here` compute on this rank, the next ones each on a worker
// of another, in the order of ranks, and so on in turn. Nothing but the place
// differs, so whoever asks notices only how long it takes. Such a trainer keeps
// no checkpoints (they must be null), measures no profile and tells no
// progress. Thread-safe. Borrows engine and ranks.
class RankEngine final : public Engine {
 public:
  // After ranks->Gather. `here` 0: none computes on this rank, and trainers
  // cannot say their precision, which the first one here tells the others.
  RankEngine(Engine* own, Ranks* ranks, size_t here);

  // Of all ranks.
  size_t workers() const { return places_.size(); }

  bool UsesBf16(Precision precision) const override {
    return own_->UsesBf16(precision);
  }
  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override;
  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    return own_->MakeLanguageModel(std::move(model), options);
  }

 private:
  struct Made {
    size_t trainers = 0;
    std::string precision;  // of the first
  };

  Engine* const own_;
  Ranks* const ranks_;
  std::vector<int> places_;  // a rank for each worker
  std::mutex mu_;
  std::map<EngineKey, Made> made_;  // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_RANK_ENGINE_H_
