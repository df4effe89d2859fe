// What operators ask of the coordinator.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/parameters.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"
#include "server/coordinator_loop.h"

namespace edgetune {
namespace {

constexpr size_t kShortestPrefix = 4;

absl::Status CheckBlob(const BlobStore& blobs, const std::string& what,
                       const std::string& digest_bytes, uint64_t size) {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, DigestFromBytes(digest_bytes));
  auto found = blobs.Size(digest);
  if (absl::IsNotFound(found.status())) {
    return absl::FailedPreconditionError(
        fmt::format("{} ({}) is not on this server: upload it first", what,
                    ToHex(digest_bytes)));
  }
  EDGETUNE_RETURN_IF_ERROR(found);
  if (*found == size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} has {} bytes, wanted {}", what, *found, size));
}

// A factor that stays as it is ("ffa": A, "fedsb": A and B) must not be zeros:
// what is trained beside it would have no gradient.
absl::Status CheckFrozen(const v1::TaskPlan& plan,
                         const ParameterLayout& layout,
                         const ParameterVector& adapter) {
  const auto stays = [&](const std::string& name) {
    if (name.ends_with("lora_A")) {
      return plan.lora().rule() == "ffa" || TrainsCores(plan);
    }
    return name.ends_with("lora_B") && TrainsCores(plan);
  };
  for (const auto& tensor : layout.tensors()) {
    const std::span values(adapter.data() + tensor.offset, tensor.count);
    if (!stays(tensor.name) ||
        std::any_of(values.begin(), values.end(),
                    [](float value) { return value != 0; })) {
      continue;
    }
    return absl::InvalidArgumentError(
        fmt::format("the initial adapter's {} is all zero: under lora.rule {} "
                    "it would never be anything else",
                    tensor.name, plan.lora().rule()));
  }
  return absl::OkStatus();
}

absl::Status CheckInitialAdapter(const BlobStore& blobs,
                                 const v1::TaskPlan& plan) {
  const std::string& bytes = plan.lora().initial_digest();
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, AdapterLayout(plan));
  EDGETUNE_RETURN_IF_ERROR(CheckBlob(blobs, "the initial adapter", bytes,
                                     layout.size() * sizeof(float)));
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, DigestFromBytes(bytes));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, blobs.Get(digest));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector adapter,
                            ParseParameters(blob->bytes(), layout.size()));
  for (size_t i = 0; i < adapter.size(); ++i) {
    if (!std::isfinite(adapter[i])) {
      return absl::InvalidArgumentError(fmt::format(
          "the initial adapter's coordinate {} is {}, wanted finite", i,
          adapter[i]));
    }
  }
  return CheckFrozen(plan, layout, adapter);
}

}  // namespace

absl::Status CoordinatorLoop::CheckBlobs(const v1::TaskPlan& plan) const {
  const v1::ModelSpec& model = plan.model();
  const std::string encoding =
      CanonicalBaseEncoding({model.parts().begin(), model.parts().end()});
  if (Sha256Bytes(encoding) != model.digest()) {
    return absl::InvalidArgumentError(
        "model.digest is not the digest of model.parts");
  }
  for (const v1::FilePart& part : model.parts()) {
    EDGETUNE_RETURN_IF_ERROR(CheckBlob(*deps_.blobs, "base part " + part.name(),
                                       part.sha256(), part.size()));
  }
  return CheckInitialAdapter(*deps_.blobs, plan);
}

absl::StatusOr<v1::RunStatus> CoordinatorLoop::Submit(
    const v1::Envelope& envelope) {
  EDGETUNE_RETURN_IF_ERROR(
      VerifyDocument(DocumentUse::kPlan, envelope, deps_.trusted));
  EDGETUNE_ASSIGN_OR_RETURN(v1::TaskPlan plan, ParsePlan(envelope.payload()));
  const std::string run_id = Sha256Bytes(envelope.payload());
  {
    // A run that is here already is answered even when its plan has expired.
    std::lock_guard<std::mutex> lock(mu_);
    if (Run* run = FindRun(run_id)) return run->Status();
  }
  EDGETUNE_RETURN_IF_ERROR(
      CheckHeader(plan.header(), deps_.clock->Now(), "the plan"));
  EDGETUNE_RETURN_IF_ERROR(CheckBlobs(plan));
  return Call<v1::RunStatus>(
      [this, envelope, plan,
       run_id](absl::Time now) -> absl::StatusOr<v1::RunStatus> {
        if (Run* run = FindRun(run_id)) return run->Status();
        if (plan.secagg().enabled() && roster_ == nullptr) {
          return absl::FailedPreconditionError(
              "the plan masks, but this server has no roster of its devices: "
              "set `roster` in server.toml");
        }
        auto run = Run::Admit(Stores(), envelope, plan,
                              static_cast<int64_t>(runs_.size()), now, batch_);
        if (!run.ok()) {
          batch_.failure = run.status();
          return run.status();
        }
        runs_.push_back(*std::move(run));
        return runs_.back()->Status();
      });
}

std::vector<v1::RunStatus> CoordinatorLoop::List() {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<v1::RunStatus> all;
  for (const auto& run : runs_) all.push_back(run->Status());
  return all;
}

absl::StatusOr<Run*> CoordinatorLoop::FindByPrefix(
    const std::string& prefix) const {
  if (prefix.size() < kShortestPrefix || prefix.size() > 32) {
    return absl::InvalidArgumentError(
        fmt::format("a run id of {} bytes, wanted {} to 32", prefix.size(),
                    kShortestPrefix));
  }
  Run* found = nullptr;
  for (const auto& run : runs_) {
    if (run->id().compare(0, prefix.size(), prefix) != 0) continue;
    if (found != nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("run id {} is ambiguous", ToHex(prefix)));
    }
    found = run.get();
  }
  if (found != nullptr) return found;
  return absl::NotFoundError(fmt::format("no run {}", ToHex(prefix)));
}

absl::StatusOr<v1::RunStatus> CoordinatorLoop::Show(const std::string& run_id) {
  std::lock_guard<std::mutex> lock(mu_);
  EDGETUNE_ASSIGN_OR_RETURN(const Run* run, FindByPrefix(run_id));
  return run->Status();
}

absl::StatusOr<v1::RunStatus> CoordinatorLoop::StopRun(
    const std::string& run_id) {
  return Call<v1::RunStatus>(
      [this, run_id](absl::Time now) -> absl::StatusOr<v1::RunStatus> {
        EDGETUNE_ASSIGN_OR_RETURN(Run * run, FindByPrefix(run_id));
        run->Stop(now, batch_);
        return run->Status();
      });
}

absl::StatusOr<v1::RunStatus> CoordinatorLoop::Override(
    const v1::Envelope& envelope) {
  EDGETUNE_RETURN_IF_ERROR(
      VerifyDocument(DocumentUse::kOverride, envelope, deps_.trusted));
  EDGETUNE_ASSIGN_OR_RETURN(const v1::SpentOverride document,
                            ParseOverride(envelope.payload()));
  EDGETUNE_RETURN_IF_ERROR(
      CheckHeader(document.header(), deps_.clock->Now(), "the override"));
  return Call<v1::RunStatus>([this, envelope, document](absl::Time now)
                                 -> absl::StatusOr<v1::RunStatus> {
    Run* run = FindRun(document.plan_digest());
    if (run == nullptr) {
      return absl::NotFoundError(
          fmt::format("no run {}", ToHex(document.plan_digest())));
    }
    if (run->HasEnded() || document.adapter_digest() != run->CurrentAdapter()) {
      return absl::FailedPreconditionError(
          "the override is for another adapter than the run stands at now");
    }
    run->Override(envelope, now, batch_);
    return run->Status();
  });
}

absl::StatusOr<uint64_t> CoordinatorLoop::Watch(const std::string& run_id,
                                                StatusCallback on_change) {
  uint64_t id;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (dead_ || stopped_) return absl::UnavailableError("server is stopping");
    EDGETUNE_ASSIGN_OR_RETURN(Run * run, FindByPrefix(run_id));
    id = next_id_++;
    watchers_[id] = {run, std::move(on_change)};
  }
  Push({});  // the next batch sends the first status
  return id;
}

void CoordinatorLoop::Unwatch(uint64_t watch) {
  // Waits for a callback under way, unless called from within it.
  std::lock_guard<std::recursive_mutex> step(step_mu_);
  std::lock_guard<std::mutex> lock(mu_);
  watchers_.erase(watch);
}

}  // namespace edgetune
