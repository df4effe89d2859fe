#ifndef EDGETUNE_TRAINING_EXAMPLE_FILES_H_
#define EDGETUNE_TRAINING_EXAMPLE_FILES_H_

// Files of examples as people have them: JSON lines (.jsonl, .jsonl.gz,
// .jsonl.zst, or any other name), plain text (.txt), and directories of these.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "training/json_example.h"

namespace edgetune {

// A .txt file. Its lines are parts of one text, not examples.
bool IsPlainText(std::string_view path);

// Each path as it is, a directory as the .jsonl, .jsonl.gz and .jsonl.zst files
// in it, or where there is none its .txt files (beside examples these are
// licences and notes). Not below it, hidden ones left out; sorted by bytes.
// NotFound and InvalidArgument (kData): no such path, nothing in a directory.
absl::StatusOr<std::vector<std::string>> ExampleFilesIn(
    const std::vector<std::string>& paths);

// White space alone: no example.
bool IsBlank(std::string_view line);

// "auto" is nullopt. InvalidArgument (kConfig): unknown.
absl::StatusOr<std::optional<TextSchema>> SchemaNamed(const std::string& name);

// What is met while reading one file, in order.
struct ExampleLine {
  const JsonExample& example;
  std::string_view text;  // the line as it stands; valid in the callback only
  int64_t number;         // from 1
};
// `schema`: what every line must match; set by the first line when empty.
// `on_line` may refuse (its error gets file:line). `on_bytes` (may be empty) is
// told now and then how many bytes of the file are read. Blank lines are no
// examples. Errors as of LineReader and ParseJsonExample, kData.
absl::Status ReadExamples(
    const std::string& path, std::optional<TextSchema>& schema,
    const std::function<absl::Status(const ExampleLine&)>& on_line,
    const std::function<void(uint64_t)>& on_bytes);

// A .txt file in parts of about 1 MiB, cut only where a line begins with a
// letter, which no pre-tokenizer joins to what stands before: tokens of the
// parts are those of the whole. Line ends become LF, the last one goes.
absl::Status ReadPlainText(
    const std::string& path,
    const std::function<absl::Status(std::string_view part)>& on_part,
    const std::function<void(uint64_t)>& on_bytes);

// Bytes of these files as they lie on the disk, for progress; 0: unknown.
uint64_t TotalBytes(const std::vector<std::string>& files);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_EXAMPLE_FILES_H_
