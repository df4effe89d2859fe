// fold_bench [--coordinates 921600] [--updates 1000] [--different 100]
//            [--runs 3] [--way fold|intake] [--store memory|files]
//            [--folder F]: updates into a mean by the coordinator's own code.
//
// fold: FoldUpdate of blobs that lie in memory. intake: each update arrives in
// pieces, is hashed and put away, folded and removed. Of the updates so many
// are different, and come again in turn: together more than any cache holds.
// Prints one JSON object, with what the same processor reads and hashes alone.

#include <omp.h>

#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/parameter_views.h"
#include "base/process_memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/units.h"
#include "bench/arguments.h"
#include "bench/timing.h"
#include "server/update_intake.h"
#include "storage/memory_blobs.h"

namespace edgetune {
namespace {

constexpr size_t kPiece = size_t{256} << 10;  // as gRPC brings them

struct Work {
  int64_t updates = 0;
  bool intake = false;
  v1::TaskPlan plan;
  std::vector<ParameterVector> vectors;
  std::vector<Digest> digests;  // of the vectors
};

// One tensor a projection and side of SmolLM2-135M's adapter, or one alone.
v1::TaskPlan PlanOf(int64_t coordinates, int64_t updates) {
  constexpr int64_t kTensors = 240;
  const int64_t tensors = coordinates % kTensors == 0 ? kTensors : 1;
  v1::TaskPlan plan;
  plan.mutable_lora()->set_rule("fedit");
  for (int64_t i = 0; i < tensors; ++i) {
    v1::LayoutTensor& tensor = *plan.mutable_lora()->add_layout();
    tensor.set_name("tensor." + std::to_string(i));
    tensor.add_shape(coordinates / tensors);
  }
  v1::RoundsSpec& rounds = *plan.mutable_rounds();
  rounds.set_count(1);
  rounds.set_cohort(static_cast<uint32_t>(updates));
  rounds.set_over_select(1);
  rounds.set_aggregator("mean");
  rounds.set_weights("examples");
  rounds.set_weight_cap(16384);
  rounds.set_clear_bound(64);
  return plan;
}

Work MakeWork(const bench::Arguments& arguments) {
  const int64_t coordinates = arguments.Number("coordinates");
  Work work;
  work.updates = arguments.Number("updates");
  work.intake = arguments.Text("way") == "intake";
  work.plan = PlanOf(coordinates, work.updates);
  const int64_t different =
      std::min(work.updates, arguments.Number("different"));
  for (int64_t k = 0; k < different; ++k) {
    Random random(static_cast<uint64_t>(k + 1));
    ParameterVector& vector = work.vectors.emplace_back(coordinates);
    for (float& value : vector) {
      value = static_cast<float>(random.Uniform() - 0.5) / 512;
    }
    work.digests.push_back(Sha256(ParameterBytes(vector)));
  }
  return work;
}

UpdateTerms TermsOf(int64_t update) {
  return {.weight = static_cast<double>(1 + update % 7)};
}

absl::Status Arrive(std::span<const uint8_t> bytes, const Digest& digest,
                    BlobStore& store) {
  const std::string name = "u-" + ToHex(std::span(digest));
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    EDGETUNE_RETURN_IF_ERROR(store.AppendPartial(
        name, at, bytes.subspan(at, std::min(kPiece, bytes.size() - at)),
        bytes.size()));
  }
  return store.FinishPartial(name, digest, bytes.size());
}

absl::StatusOr<Aggregator::Result> FoldAll(const Work& work, BlobStore& store) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto fold, MakeRoundFold(work.plan, 0));
  for (int64_t k = 0; k < work.updates; ++k) {
    const size_t which = static_cast<size_t>(k) % work.digests.size();
    const Digest& digest = work.digests[which];
    if (work.intake) {
      EDGETUNE_RETURN_IF_ERROR(
          Arrive(ParameterBytes(work.vectors[which]), digest, store));
    }
    EDGETUNE_RETURN_IF_ERROR(
        FoldUpdate(work.plan, {DigestBytes(digest), TermsOf(k)}, store, *fold));
    if (work.intake) EDGETUNE_RETURN_IF_ERROR(store.Remove(digest));
  }
  return fold->Finish();
}

// Some coordinates beside sums in double precision.
absl::Status CheckMean(const Work& work, const Aggregator::Result& result) {
  for (size_t i = 0; i < result.mean.size(); i += 1 + result.mean.size() / 97) {
    double sum = 0, weights = 0;
    for (int64_t k = 0; k < work.updates; ++k) {
      const double weight = TermsOf(k).weight;
      sum += weight *
             work.vectors[static_cast<size_t>(k) % work.vectors.size()][i];
      weights += weight;
    }
    if (std::fabs(result.mean[i] - sum / weights) > 1e-9) {
      return absl::InternalError("the mean is wrong at coordinate " +
                                 std::to_string(i));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::json> Measure(Work work, BlobStore& store, int runs) {
  const double bytes = static_cast<double>(work.updates) *
                       static_cast<double>(work.vectors[0].size() * 4);
  if (!work.intake) {
    for (const ParameterVector& vector : work.vectors) {
      EDGETUNE_RETURN_IF_ERROR(store.Put(ParameterBytes(vector)).status());
    }
  }
  const uint64_t before = ResidentBytes();
  nlohmann::json rates = nlohmann::json::array();
  for (int run = 0; run < runs; ++run) {
    const double start = bench::Now();
    EDGETUNE_ASSIGN_OR_RETURN(const auto result, FoldAll(work, store));
    rates.push_back(bytes / (bench::Now() - start) / 1e9);
    EDGETUNE_RETURN_IF_ERROR(CheckMean(work, result));
  }
  return nlohmann::json{
      {"gb_per_s", rates},
      {"peak_beyond_updates_mb",
       bench::Megabytes(PeakResidentBytes() -
                        std::min(before, PeakResidentBytes()))}};
}

double HashRate() {
  const std::vector<uint8_t> bytes(size_t{64} << 20, 1);
  const double seconds = bench::Quickest(5, 2, [&] { Sha256(bytes); });
  return static_cast<double>(bytes.size()) / seconds / 1e9;
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(const bench::Arguments arguments,
                            bench::ParseArguments(argc, argv, 0,
                                                  {{"coordinates", "921600"},
                                                   {"updates", "1000"},
                                                   {"different", "100"},
                                                   {"runs", "3"},
                                                   {"way", "fold"},
                                                   {"store", "memory"},
                                                   {"folder", ""}}));
  MemoryBlobs memory;
  std::unique_ptr<BlobStore> store = std::make_unique<MemoryBlobStore>(&memory);
  if (arguments.Text("store") == "files") {
    EDGETUNE_ASSIGN_OR_RETURN(store, BlobStore::Open(arguments.Text("folder")));
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      nlohmann::json out, Measure(MakeWork(arguments), *store,
                                  static_cast<int>(arguments.Number("runs"))));
  out["sha256_gb_per_s"] = HashRate();
  out["read_gb_per_s_all"] = bench::ReadRate(size_t{1} << 29);
  omp_set_num_threads(1);
  out["read_gb_per_s"] = bench::ReadRate(size_t{1} << 29);
  std::cout << out << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  return edgetune::bench::ExitCodeOf("fold_bench", edgetune::Run(argc, argv));
}
