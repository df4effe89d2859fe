// Data files: one line as an example or a question, and bytes as a file, plain
// or packed. Input: a byte that says what, then the choices of that.

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/target.h"
#include "tests/training/packed.h"
#include "training/choice_question.h"
#include "training/json_example.h"
#include "training/line_reader.h"

namespace edgetune::fuzz {
namespace {

constexpr size_t kMaxLine = 512;
constexpr Compression kKinds[] = {Compression::kNone, Compression::kGzip,
                                  Compression::kZstd};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::string bytes, size_t step)
      : bytes_(std::move(bytes)), step_(step) {}
  absl::StatusOr<size_t> Read(std::span<uint8_t> out) override {
    const size_t n = std::min({step_, out.size(), bytes_.size() - at_});
    std::copy_n(bytes_.begin() + static_cast<long>(at_), n, out.begin());
    at_ += n;
    return n;
  }

 private:
  const std::string bytes_;
  const size_t step_;
  size_t at_ = 0;
};

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    if (c.code < 0) return false;
    text.remove_prefix(c.length);
  }
  return true;
}

struct ReadBack {
  absl::Status status;
  std::string text;  // lines, LF behind each
};

ReadBack ReadLines(const std::string& bytes, Compression kind, size_t step) {
  LineReader reader(std::make_unique<MemorySource>(bytes, step), kind, "file",
                    kMaxLine);
  ReadBack back;
  while (true) {
    const auto line = reader.Next();
    back.status = line.status();
    if (!line.ok() || !*line) break;
    Require((*line)->size() <= kMaxLine, "no line above the limit");
    Require(IsUtf8(**line), "every line is UTF-8");
    Require((*line)->find('\n') == std::string_view::npos, "one line a time");
    back.text.append(**line) += '\n';
  }
  Require(back.status.ok() || absl::IsInvalidArgument(back.status) ||
              absl::IsDataLoss(back.status),
          "a code that says whose fault it is");
  Require(back.status.ok() || back.status.message().substr(0, 5) == "file:",
          "an error says where");
  return back;
}

void CheckFile(Input& input) {
  const Compression kind = kKinds[input.Below(3)];
  const size_t step = 1 + input.Byte();
  const std::string bytes(input.rest().begin(), input.rest().end());
  const ReadBack whole = ReadLines(bytes, kind, bytes.size() + 1);
  const ReadBack steps = ReadLines(bytes, kind, step);
  Require(whole.status.ok() == steps.status.ok() &&
              (whole.text == steps.text || !whole.status.ok()),
          "the same however the bytes arrive");
}

// Honest archives, of which one byte is changed or the end cut off.
void CheckPacked(Input& input) {
  const bool gzip = input.Below(2) == 0;
  const Compression kind = gzip ? Compression::kGzip : Compression::kZstd;
  const size_t step = 1 + input.Byte();
  const uint64_t where = input.Word(2);
  const uint8_t flip = input.Byte();
  const size_t half = input.Word(1);
  const std::string text(input.rest().begin(), input.rest().end());
  const auto pack = [&](const std::string& part) {
    return gzip ? testing::Gzip(part) : testing::Zstd(part);
  };
  const size_t cut = std::min(half, text.size());
  std::string packed = pack(text.substr(0, cut)) + pack(text.substr(cut));
  const ReadBack plain = ReadLines(text, Compression::kNone, step);
  const ReadBack honest = ReadLines(packed, kind, step);
  Require(honest.text == plain.text || !plain.status.ok(),
          "an archive holds the lines of the text");
  const size_t at = where % packed.size();
  const ReadBack shorter = ReadLines(packed.substr(0, at), kind, step);
  const size_t first = pack(text.substr(0, cut)).size();
  Require(!shorter.status.ok() || at == first, "a cut is noticed");
  packed[at] = static_cast<char>(packed[at] ^ flip);
  ReadLines(packed, kind, step);
}

bool Same(const JsonExample& a, const JsonExample& b) {
  const auto same = [](const ChatMessage& x, const ChatMessage& y) {
    return x.role == y.role && x.content == y.content;
  };
  return a.schema == b.schema && a.prompt == b.prompt &&
         a.completion == b.completion &&
         std::ranges::equal(a.messages, b.messages, same);
}

void CheckLine(Input& input) {
  const std::string line(input.rest().begin(), input.rest().end());
  const auto example = ParseJsonExample(line, std::nullopt);
  Require(example.ok() || absl::IsInvalidArgument(example.status()),
          "a bad line is InvalidArgument");
  int accepted = 0;
  for (const TextSchema schema : kTextSchemas) {
    const auto named = ParseJsonExample(line, schema);
    if (!named.ok()) continue;
    ++accepted;
    Require(named->schema == schema, "the schema that was asked for");
    Require(named->prompt_messages <= named->messages.size(), "a prefix");
    for (const ChatMessage& message : named->messages) {
      Require(message.role == "system" || message.role == "user" ||
                  message.role == "assistant",
              "three roles");
      Require(IsUtf8(message.content), "strings are UTF-8");
    }
    if (example.ok() && example->schema == schema) {
      Require(Same(*example, *named), "a named schema reads the same");
    }
  }
  Require(!example.ok() || accepted > 0, "what is detected can be named");
  const auto question = ParseChoiceQuestion(line);
  if (!question.ok()) return;
  Require(question->answer < question->choices.size(), "an answer is a choice");
  Require(!question->context.messages.empty() ||
              question->context.schema == TextSchema::kText,
          "a question has a context");
}

constexpr std::array kChecks = {CheckLine, CheckFile, CheckPacked};

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  kChecks[input.Below(kChecks.size())](input);
  return 0;
}
