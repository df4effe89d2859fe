// tokenizer_bench MODEL.gguf TEXT [RUNS]: megabytes of a text file encoded per
// second of processor time, on one thread, line by line. Prints one JSON
// object.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/model_file.h"

namespace edgetune {
namespace {

std::vector<std::string_view> LinesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

absl::Status Run(const std::vector<std::string>& args) {
  if (args.size() < 2) return absl::InvalidArgumentError("MODEL TEXT [RUNS]");
  const int runs = args.size() > 2 ? std::atoi(args[2].c_str()) : 10;
  EDGETUNE_ASSIGN_OR_RETURN(const auto model, ModelFile::Open(args[0]));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(args[1]));
  const auto lines = LinesOf(text);
  std::vector<double> rates;
  size_t tokens = 0;
  for (int run = 0; run <= runs; ++run) {  // the first warms up
    tokens = 0;
    const std::clock_t start = std::clock();
    for (const std::string_view line : lines) {
      tokens += model->tokenizer().Encode(line, true).size();
    }
    const double spent =
        static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    if (run > 0) {
      rates.push_back(static_cast<double>(text.size()) / 1e6 / spent);
    }
  }
  std::cout << nlohmann::json{{"mb_per_s", rates}, {"tokens", tokens}} << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  const absl::Status status = edgetune::Run({argv + 1, argv + argc});
  if (status.ok()) return 0;
  std::fprintf(stderr, "tokenizer_bench: %s\n", status.ToString().c_str());
  return 1;
}
