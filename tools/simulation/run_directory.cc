#include "tools/simulation/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "simulations/report/event_log.h"
#include "storage/blob_store.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/output.h"
#include "training/example_files.h"
#include "training/image_data_set.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr int kSchema = 1;
constexpr char kElsewhere[] = "name something new with --out";
// Where these files lie is no fact, what is in them is.
constexpr std::string_view kPlaces[] = {"model.base", "simulation.data",
                                        "simulation.devices",
                                        "simulation.teacher"};

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool IsEmptyDirectory(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && fs::is_empty(path, ignored);
}

std::string NameOf(const std::string& path) {
  return fs::path(path).filename().string();
}

absl::Status AddFile(const std::string& name, const std::string& path,
                     RunFacts& facts) {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, HashFile(path));
  facts[name] = "SHA-256 " + ToHex(digest);
  return absl::OkStatus();
}

// Of files in folders, which are many, one digest: of the names below `folder`
// and the contents.
absl::Status AddFolder(const std::string& folder,
                       const std::vector<std::string>& files, RunFacts& facts) {
  Sha256Stream all;
  for (const std::string& file : files) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, HashFile(file));
    const std::string name = fs::path(file).lexically_relative(folder).string();
    all.Update(Sha256(name));
    all.Update(digest);
  }
  facts[fmt::format("data, {} images", files.size())] =
      "SHA-256 " + ToHex(all.Finish());
  return absl::OkStatus();
}

int64_t CommittedRounds(const std::string& log) {
  int64_t rounds = 0;
  const auto reader = EventReader::Open(log);
  if (!reader.ok()) return 0;  // killed before its first line
  while (true) {
    const auto event = (*reader)->Next();
    if (!event.ok() || !event->has_value()) return rounds;
    if ((*event)->kind == EventKind::kRoundCommitted) ++rounds;
  }
}

absl::StatusOr<RunFacts> ReadFacts(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  RunFacts facts;
  if (json.is_object() && json.contains("facts") && json["facts"].is_object() &&
      json.value("schema", nlohmann::json()) == kSchema) {
    for (const auto& [name, value] : json["facts"].items()) {
      if (value.is_string()) facts[name] = value.get<std::string>();
    }
    return facts;
  }
  return Annotate(absl::DataLossError(path + " is not what a simulation wrote"),
                  ErrorKind::kUsage, kElsewhere);
}

// "train.lr was 1e-3, is 1e-2".
std::string Difference(const RunFacts& was, const RunFacts& is) {
  std::vector<std::string> found;
  const auto of = [](const RunFacts& facts, const std::string& name) {
    const auto it = facts.find(name);
    return it == facts.end() ? std::string("not there") : it->second;
  };
  RunFacts all = was;
  all.insert(is.begin(), is.end());
  for (const auto& [name, ignored] : all) {
    const std::string before = of(was, name), now = of(is, name);
    if (before == now) continue;
    found.push_back(fmt::format("{} was {}, is {}", name, before, now));
  }
  constexpr size_t kMost = 5;
  const size_t more = found.size() > kMost ? found.size() - kMost : 0;
  found.resize(found.size() - more);
  return fmt::format("{}{}", fmt::join(found, "; "),
                     more > 0 ? fmt::format("; and {} more", more) : "");
}

}  // namespace

absl::StatusOr<RunFacts> RunFactsOf(const PreparedRun& run) {
  RunFacts facts;
  for (const ConfigOrigin& key : run.settings) facts[key.key] = key.value;
  for (const std::string_view place : kPlaces) facts.erase(std::string(place));
  facts["plan"] = "SHA-256 " + ToHex(run.built.run_id);
  facts["base model"] = "SHA-256 " + BaseSha256(run.built.plan.model());
  const std::string& devices = run.run.simulation.devices;
  facts["simulation.devices"] = NameOf(devices);
  if (Exists(devices)) {
    EDGETUNE_RETURN_IF_ERROR(AddFile("simulation.devices", devices, facts));
  }
  if (const std::string& teacher = run.run.simulation.teacher;
      !teacher.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(const std::string path, ResolveModel(teacher));
    EDGETUNE_ASSIGN_OR_RETURN(const auto parts, BasePartsOf(path));
    facts["teacher"] = "SHA-256 " + ToHex(BaseDigest(parts));
  }
  const std::string& data = run.run.simulation.data;
  EDGETUNE_ASSIGN_OR_RETURN(const auto files,
                            run.run.data.schema == kImageSchema
                                ? ImageFilesIn(data)
                                : ExampleFilesIn({data}));
  if (run.run.data.schema == kImageSchema && IsImageFolder(data)) {
    EDGETUNE_RETURN_IF_ERROR(AddFolder(data, files, facts));
    return facts;
  }
  for (const std::string& file : files) {
    const absl::Status added = AddFile("data " + NameOf(file), file, facts);
    if (!added.ok()) return Annotate(added, ErrorKind::kData);
  }
  return facts;
}

absl::StatusOr<std::unique_ptr<RunDirectory>> RunDirectory::Open(
    const Options& options, const RunFacts& facts) {
  std::unique_ptr<RunDirectory> run(new RunDirectory(options.path));
  const bool unfinished = Exists(run->steps());
  if (!options.resume && unfinished) {
    return Annotate(
        absl::AlreadyExistsError(options.path +
                                 " holds a simulation that is not finished"),
        ErrorKind::kUsage,
        fmt::format("go on with it: --resume; or {}", kElsewhere));
  }
  const bool begun = Exists(run->facts());
  if (!options.resume || (!unfinished && !begun)) {
    if (!options.resume || !IsEmptyDirectory(options.path)) {
      EDGETUNE_RETURN_IF_ERROR(CheckNew(options.path));
    }
  }
  if (begun) EDGETUNE_RETURN_IF_ERROR(run->CheckFacts(facts));
  if (begun && !unfinished) return run;
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(options.path));
  auto journal = StepJournal::Open(run->steps(), options.most_bytes);
  if (!journal.ok()) {
    return Annotate(journal.status(), ErrorKind::kUsage,
                    "wait for the other process, or end it");
  }
  run->journal_ = *std::move(journal);
  EDGETUNE_RETURN_IF_ERROR(run->RemoveLeft());
  if (!begun) EDGETUNE_RETURN_IF_ERROR(run->Begin(facts));
  if (begun) run->Resume();
  return run;
}

absl::Status RunDirectory::CheckFacts(const RunFacts& wanted) const {
  EDGETUNE_ASSIGN_OR_RETURN(const RunFacts was, ReadFacts(facts()));
  if (was == wanted) return absl::OkStatus();
  return Annotate(
      absl::InvalidArgumentError(fmt::format("{} holds another simulation: {}",
                                             path_, Difference(was, wanted))),
      ErrorKind::kUsage,
      fmt::format("take back what changed, or {}", kElsewhere));
}

absl::Status RunDirectory::Begin(const RunFacts& facts) {
  const nlohmann::json json = {{"schema", kSchema}, {"facts", facts}};
  return WriteFileAtomically(this->facts(), json.dump(1) + "\n");
}

void RunDirectory::Resume() {
  resumed_ = true;
  rounds_ = CommittedRounds(log());
}

// Whatever is made after the log is made again; parts of it go, and those of
// files that were being written.
absl::Status RunDirectory::RemoveLeft() const {
  constexpr std::string_view kLeft[] = {"adapter", "model", "report",
                                        "run.json.part", "spilled."};
  std::error_code error;
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    const std::string name = NameOf(entry.path());
    if (std::ranges::any_of(
            kLeft, [&](std::string_view s) { return name.starts_with(s); })) {
      left.push_back(entry.path());
    }
  }
  for (const fs::path& path : left) fs::remove_all(path, error);
  if (!error) return absl::OkStatus();
  return ErrnoStatus(error.value(), "cannot remove what is left in", path_);
}

absl::Status RunDirectory::Finish() {
  std::error_code error;
  fs::remove(steps(), error);
  if (!error) return absl::OkStatus();
  return ErrnoStatus(error.value(), "cannot remove", steps());
}

void RunDirectory::Drop() {
  if (resumed_) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace edgetune
