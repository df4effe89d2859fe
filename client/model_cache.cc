#include "client/model_cache.h"

#include <filesystem>
#include <utility>

#include "base/atomic_directory.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "client/train_plan.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

}  // namespace

std::string ModelCache::KeyOf(const v1::TaskPlan& plan) const {
  return plan.model().digest() + plan.model().precision() + "/" + engine_name_;
}

absl::Status ModelCache::DropIfDamaged(const Digest& digest) {
  if (!store_->Has(digest)) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path, store_->PathOf(digest));
  EDGETUNE_ASSIGN_OR_RETURN(const Digest got, HashFile(path));
  if (got == digest) return absl::OkStatus();
  LogWarning("the cached base model is damaged; fetching it again");
  return store_->Remove(digest);
}

absl::Status ModelCache::UseEngine(const std::string& name) {
  if (engine_ != nullptr && name == engine_name_) return absl::OkStatus();
  auto engine = open_engine_(name);
  if (!engine.ok()) {
    // Always the device's own trouble, whatever kind the loader gave it.
    return Annotate(absl::FailedPreconditionError(engine.status().message()),
                    ErrorKind::kConfig, HintOf(engine.status()));
  }
  engine_ = *engine;
  engine_name_ = name;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ModelCache::FetchBase(const v1::TaskPlan& plan,
                                               Transfer& transfer) {
  uint64_t moved = 0;
  for (const v1::FilePart& part : plan.model().parts()) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                              DigestFromBytes(part.sha256()));
    if (trainer_ == nullptr || key_ != KeyOf(plan)) {
      EDGETUNE_RETURN_IF_ERROR(DropIfDamaged(digest));
    }
    EDGETUNE_ASSIGN_OR_RETURN(const uint64_t bytes,
                              transfer.Fetch(digest, part.size()));
    moved += bytes;
  }
  return moved;
}

absl::StatusOr<std::string> ModelCache::PathOf(
    const v1::ModelSpec& model) const {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest first,
                            DigestFromBytes(model.parts(0).sha256()));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string first_path,
                            store_->PathOf(first));
  if (model.parts_size() == 1) return first_path;
  // Beside the blobs' folder, and named by what it holds.
  const fs::path store = fs::path(first_path).parent_path();
  const fs::path folder = store.parent_path() / "models";
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(folder.string()));
  const std::string path = (folder / ToHex(model.digest())).string();
  std::error_code error;
  if (fs::exists(path, error)) return path;
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(path));
  for (const v1::FilePart& part : model.parts()) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                              DigestFromBytes(part.sha256()));
    EDGETUNE_ASSIGN_OR_RETURN(const std::string blob, store_->PathOf(digest));
    fs::create_symlink(fs::absolute(blob), out->PathOf(part.name()), error);
    if (error) return ErrnoStatus(error.value(), "cannot create", path);
  }
  EDGETUNE_RETURN_IF_ERROR(out->Commit());
  return path;
}

absl::Status ModelCache::Open(const v1::TaskPlan& plan) {
  const std::string key = KeyOf(plan);
  if (model_ == nullptr || key != key_) {
    // The old one goes first: two bases rarely fit a device's memory.
    trainer_.reset();
    model_.reset();
    EDGETUNE_ASSIGN_OR_RETURN(const std::string path, PathOf(plan.model()));
    EDGETUNE_ASSIGN_OR_RETURN(model_, ModelFile::Open(path));
    key_ = key;
  }
  return CheckLayout(plan, model_->config());
}

absl::Status ModelCache::Load(const v1::TaskPlan& plan,
                              const MemoryChoice& choice) {
  const bool same = choice.weights == choice_.weights &&
                    choice.recompute == choice_.recompute;
  if (trainer_ != nullptr && same) return absl::OkStatus();
  trainer_.reset();
  EDGETUNE_ASSIGN_OR_RETURN(
      trainer_,
      engine_->MakeTrainer(model_, EngineOptionsOf(plan, threads_, choice)));
  choice_ = choice;
  return absl::OkStatus();
}

}  // namespace edgetune
