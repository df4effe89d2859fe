#include "tools/data/data_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tools/child_process.h"
#include "tools/data/data_survey.h"
#include "tools/output.h"
#include "training/example_files.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

struct Line {
  std::string text, digest;
};

struct Lines {
  std::vector<Line> lines;
  std::vector<size_t> values;      // of each line: a place in `names`
  std::vector<std::string> names;  // field values in order of appearance
  std::optional<TextSchema> schema;
};

absl::StatusOr<std::string> FieldOf(std::string_view line,
                                    const std::string& field) {
  EDGETUNE_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(line));
  const auto found = object.find(field);
  if (found == object.end()) {
    return absl::InvalidArgumentError(fmt::format("has no \"{}\"", field));
  }
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number() || found->is_boolean()) return found->dump();
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" must be a word or a number to split by, got {}",
                  field, found->type_name()));
}

absl::StatusOr<Lines> ReadLines(const SplitOptions& options,
                                const std::function<void(uint64_t)>& on_bytes) {
  Lines out;
  std::map<std::string, size_t> known;
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn(options.files));
  const auto add = [&](const ExampleLine& line) -> absl::Status {
    if (Interrupted()) return InterruptedError("nothing was written");
    std::string name;
    if (!options.field.empty()) {
      EDGETUNE_ASSIGN_OR_RETURN(name, FieldOf(line.text, options.field));
    }
    const auto [at, is_new] = known.emplace(name, out.names.size());
    if (is_new) out.names.push_back(name);
    out.values.push_back(at->second);
    out.lines.push_back({std::string(line.text), ContentDigest(line.example)});
    return absl::OkStatus();
  };
  uint64_t before = 0;
  for (const std::string& file : files) {
    if (IsPlainText(file)) {
      return Annotate(
          absl::InvalidArgumentError(file + ": a text has no examples to deal"),
          ErrorKind::kUsage, "put the texts for each client in a directory");
    }
    EDGETUNE_RETURN_IF_ERROR(
        ReadExamples(file, out.schema, add,
                     [&](uint64_t bytes) { on_bytes(before + bytes); }));
    before += TotalBytes({file});
  }
  return out;
}

absl::Status WriteLines(const std::string& path,
                        std::span<const Line* const> lines) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path));
  for (const Line* line : lines) {
    if (Interrupted()) return InterruptedError("nothing was written");
    EDGETUNE_RETURN_IF_ERROR(file->Append(line->text + "\n"));
  }
  return file->Commit();
}

// Everything into a directory beside `out`, which then takes its name.
class Writer {
 public:
  Writer(const SplitOptions& options, const Lines& lines)
      : options_(options), lines_(lines) {}

  absl::StatusOr<SplitResult> Write(const std::vector<size_t>& clients) {
    const fs::path parent = fs::absolute(options_.out).parent_path();
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto folder,
        TemporaryDirectory::Make(parent.string(), ".edgetune-split-"));
    std::vector<std::vector<size_t>> members(options_.partition.clients);
    for (size_t i = 0; i < clients.size(); ++i) {
      members[clients[i]].push_back(i);
    }
    for (size_t client = 0; client < members.size(); ++client) {
      EDGETUNE_RETURN_IF_ERROR(
          WritePart(folder->path(), client, std::move(members[client])));
    }
    EDGETUNE_RETURN_IF_ERROR(FsyncDirectory(folder->path()));
    fs::permissions(folder->path(), fs::perms(0755));
    if (std::rename(folder->path().c_str(), options_.out.c_str()) != 0) {
      return ErrnoStatus(errno, "cannot make", options_.out);
    }
    folder->Keep();
    EDGETUNE_RETURN_IF_ERROR(FsyncDirectory(parent.string()));
    for (const std::string* digest : held_out_) {
      result_.leaked += trained_.count(*digest) > 0 ? 1 : 0;
    }
    if (lines_.schema) result_.schema = NameOf(*lines_.schema);
    return std::move(result_);
  }

 private:
  std::string NameOfPart(size_t client) const {
    if (options_.one_set) return "";
    const size_t digits =
        fmt::format("{}", options_.partition.clients - 1).size();
    return fmt::format("client-{:0{}}.", client, digits);
  }

  // At least one to train on, and unless nothing is to be held out one of that.
  int64_t HeldOutOf(int64_t all) const {
    if (options_.holdout <= 0) return 0;
    return std::clamp<int64_t>(
        std::llround(options_.holdout * static_cast<double>(all)), 1, all - 1);
  }

  absl::Status WritePart(const std::string& folder, size_t client,
                         std::vector<size_t> members) {
    Random random =
        Random(options_.partition.seed).Split("split/order", client);
    random.Shuffle(members);
    const int64_t held = HeldOutOf(static_cast<int64_t>(members.size()));
    std::vector<const Line*> lines;
    std::set<size_t> values;
    for (const size_t i : members) {
      lines.push_back(&lines_.lines[i]);
      values.insert(lines_.values[i]);
    }
    SplitPart part;
    part.train_examples = static_cast<int64_t>(members.size()) - held;
    part.heldout_examples = held;
    part.values = static_cast<int64_t>(values.size());
    if (values.size() == 1) part.value = lines_.names[*values.begin()];
    const std::span<const Line* const> span(lines);
    const auto train = span.first(lines.size() - static_cast<size_t>(held));
    const auto heldout = span.last(static_cast<size_t>(held));
    const std::string name = NameOfPart(client);
    EDGETUNE_RETURN_IF_ERROR(
        WriteLines(fmt::format("{}/{}train.jsonl", folder, name), train));
    part.train = fmt::format("{}/{}train.jsonl", options_.out, name);
    if (held > 0) {
      EDGETUNE_RETURN_IF_ERROR(
          WriteLines(fmt::format("{}/{}heldout.jsonl", folder, name), heldout));
      part.heldout = fmt::format("{}/{}heldout.jsonl", options_.out, name);
    }
    for (const Line* line : train) trained_.insert(line->digest);
    for (const Line* line : heldout) held_out_.push_back(&line->digest);
    result_.parts.push_back(std::move(part));
    return absl::OkStatus();
  }

  const SplitOptions& options_;
  const Lines& lines_;
  SplitResult result_;
  std::set<std::string> trained_;
  std::vector<const std::string*> held_out_;
};

absl::Status CheckOut(const std::string& out) {
  std::error_code error;
  const bool empty = fs::is_directory(out, error) && fs::is_empty(out, error);
  return empty ? CheckWritableParent(out) : CheckNew(out);
}

}  // namespace

absl::StatusOr<SplitResult> SplitExamples(
    SplitOptions options, const std::function<void(uint64_t)>& on_bytes) {
  while (options.out.size() > 1 && options.out.ends_with('/')) {
    options.out.pop_back();
  }
  EDGETUNE_RETURN_IF_ERROR(CheckOut(options.out));
  EDGETUNE_ASSIGN_OR_RETURN(const Lines lines, ReadLines(options, on_bytes));
  PartitionOptions& partition = options.partition;
  if (partition.by == PartitionOptions::By::kField && options.one_set) {
    partition.clients = std::max<size_t>(lines.names.size(), 1);
    options.one_set = false;
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto clients,
                            ClientsOfExamples(lines.values, partition));
  return Writer(options, lines).Write(clients);
}

}  // namespace edgetune
