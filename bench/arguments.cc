#include "bench/arguments.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace edgetune::bench {

int64_t Arguments::Number(const std::string& name) const {
  return std::strtoll(Text(name).c_str(), nullptr, 10);
}

EngineOptions Arguments::EngineChoice() const {
  const std::string& precision = Text("precision");
  EngineOptions options;
  options.threads = static_cast<int>(Number("threads"));
  if (precision == "fp32") options.precision = Precision::kFp32;
  if (precision == "bf16") options.precision = Precision::kBf16;
  if (precision == "int8") options.precision = Precision::kInt8;
  if (Text("weights") == "copied") options.weights = WeightMemory::kCopied;
  const auto recompute = this->options.find("recompute");
  options.recompute =
      recompute != this->options.end() && recompute->second == "yes";
  return options;
}

absl::StatusOr<Arguments> ParseArguments(
    int argc, char** argv, size_t words,
    std::map<std::string, std::string> defaults) {
  Arguments out;
  out.options = std::move(defaults);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      out.words.push_back(word);
      continue;
    }
    const auto option = out.options.find(word.substr(2));
    if (option == out.options.end() || i + 1 == argc) {
      std::string known;
      for (const auto& [name, value] : out.options) {
        known += " --" + name + " (" + value + ")";
      }
      return absl::InvalidArgumentError(word + " is not one of" + known);
    }
    option->second = argv[++i];
  }
  const auto precision = out.options.find("precision");
  if (precision != out.options.end() && precision->second != "auto" &&
      precision->second != "fp32" && precision->second != "bf16" &&
      precision->second != "int8") {
    return absl::InvalidArgumentError("--precision is auto, fp32, bf16, int8");
  }
  if (out.words.size() != words) {
    return absl::InvalidArgumentError("wanted words: " + std::to_string(words) +
                                      ", see the head of the source");
  }
  return out;
}

int ExitCodeOf(const char* program, const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", program, status.ToString().c_str());
  return 1;
}

}  // namespace edgetune::bench
