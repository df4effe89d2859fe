#include "training/example_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/status.h"
#include "training/line_reader.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPartBytes = 1 << 20;
constexpr std::string_view kSuffixes[] = {".jsonl", ".jsonl.gz", ".jsonl.zst"};

absl::Status AddFilesOf(const std::string& directory,
                        std::vector<std::string>& files) {
  std::vector<std::string> found, texts;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code ignored;
    if (name[0] == '.' || !at->is_regular_file(ignored)) continue;
    const bool lines = std::ranges::any_of(
        kSuffixes, [&](std::string_view s) { return name.ends_with(s); });
    if (lines) found.push_back(at->path().string());
    if (IsPlainText(name)) texts.push_back(at->path().string());
  }
  if (error) {
    return Annotate(ErrnoStatus(error.value(), "cannot read", directory),
                    ErrorKind::kData);
  }
  if (found.empty()) found = std::move(texts);
  if (found.empty()) {
    return Annotate(
        absl::InvalidArgumentError(directory + " holds no file of examples"),
        ErrorKind::kData,
        "wanted .jsonl, .jsonl.gz, .jsonl.zst or .txt files in it");
  }
  std::ranges::sort(found);
  std::ranges::move(found, std::back_inserter(files));
  return absl::OkStatus();
}

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

bool IsPlainText(std::string_view path) { return path.ends_with(".txt"); }

absl::StatusOr<std::vector<std::string>> ExampleFilesIn(
    const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      EDGETUNE_RETURN_IF_ERROR(AddFilesOf(path, files));
    } else {
      files.push_back(path);
    }
  }
  return files;
}

absl::StatusOr<std::optional<TextSchema>> SchemaNamed(const std::string& name) {
  if (name == "auto") return std::nullopt;
  std::string known = "\"auto\"";
  for (const TextSchema schema : kTextSchemas) {
    if (NameOf(schema) == name) return schema;
    known += fmt::format(", \"{}\"", NameOf(schema));
  }
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "unknown data schema \"{}\"; known: {}", name, known)),
                  ErrorKind::kConfig);
}

absl::Status ReadExamples(
    const std::string& path, std::optional<TextSchema>& schema,
    const std::function<absl::Status(const ExampleLine&)>& on_line,
    const std::function<void(uint64_t)>& on_bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(auto reader, LineReader::Open(path));
  const auto fault = [&](const absl::Status& status) {
    return Annotate(Prefix(status, reader->Where()), ErrorKind::kData);
  };
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto line, reader->Next());
    if (on_bytes) on_bytes(reader->bytes_read());
    if (!line) return absl::OkStatus();
    if (IsBlank(*line)) continue;
    const absl::StatusOr<JsonExample> parsed = ParseJsonExample(*line, schema);
    if (!parsed.ok()) return fault(parsed.status());
    schema = parsed->schema;
    const absl::Status taken = on_line({*parsed, *line, reader->line()});
    if (!taken.ok()) return fault(taken);
  }
}

absl::Status ReadPlainText(
    const std::string& path,
    const std::function<absl::Status(std::string_view part)>& on_part,
    const std::function<void(uint64_t)>& on_bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(auto reader, LineReader::Open(path));
  std::string part;
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto line, reader->Next());
    if (on_bytes) on_bytes(reader->bytes_read());
    if (!line) break;
    if (reader->line() > 1) part += '\n';
    if (part.size() >= kPartBytes && !line->empty() && IsLetter((*line)[0])) {
      EDGETUNE_RETURN_IF_ERROR(on_part(part));
      part.clear();
    }
    part += *line;
  }
  return part.empty() ? absl::OkStatus() : on_part(part);
}

uint64_t TotalBytes(const std::vector<std::string>& files) {
  uint64_t total = 0;
  for (const std::string& file : files) {
    std::error_code error;
    const uint64_t size = fs::file_size(file, error);
    if (!error) total += size;
  }
  return total;
}

}  // namespace edgetune
