#include "client/model_cache.h"

#include <utility>

#include "base/status.h"
#include "client/train_plan.h"

namespace edgetune {

absl::Status ModelCache::EnsureEngine() {
  if (engine_ != nullptr) return absl::OkStatus();
  auto engine = open_engine_();
  if (!engine.ok()) {
    return Annotate(engine.status(), ErrorKind::kConfig,
                    "the training engine belongs to the installation");
  }
  engine_ = *engine;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ModelCache::FetchBase(const v1::TaskPlan& plan,
                                               Transfer& transfer) {
  uint64_t moved = 0;
  for (const v1::FilePart& part : plan.model().parts()) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                              DigestFromBytes(part.sha256()));
    EDGETUNE_ASSIGN_OR_RETURN(const uint64_t bytes,
                              transfer.Fetch(digest, part.size()));
    moved += bytes;
  }
  return moved;
}

absl::Status ModelCache::Load(const v1::TaskPlan& plan) {
  const std::string key = plan.model().digest() + plan.model().precision();
  if (trainer_ != nullptr && key == key_) {
    return CheckLayout(plan, model_->config());
  }
  EDGETUNE_RETURN_IF_ERROR(EnsureEngine());
  // The old one goes first: two bases rarely fit a device's memory.
  trainer_.reset();
  model_.reset();
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(plan.model().parts(0).sha256()));
  EDGETUNE_ASSIGN_OR_RETURN(model_, ModelFile::Open(store_->PathOf(digest)));
  EDGETUNE_RETURN_IF_ERROR(CheckLayout(plan, model_->config()));
  EDGETUNE_ASSIGN_OR_RETURN(
      trainer_, engine_->MakeTrainer(model_, EngineOptionsOf(plan, threads_)));
  key_ = key;
  return absl::OkStatus();
}

}  // namespace edgetune
