// A tokenizer on the command line, for the oracles.
//   tokenize_dump ids MODEL      reads lines of text in hex, prints their ids,
//                                BOS as the tokenizer asks for, and their text
//                                again in hex: "1 2 3<tab>616263"
//   tokenize_dump files MODEL DIRECTORY   writes HfTokenizerFiles there
// MODEL is a .gguf file or a directory with a tokenizer.json.

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "models/io/model_file.h"
#include "models/io/tokenizer/hf_tokenizer.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& path) {
  TokenizerData data;
  if (path.ends_with(".gguf")) {
    EDGETUNE_ASSIGN_OR_RETURN(auto model, ModelFile::Open(path));
    data = model->tokenizer().data();
  } else {
    EDGETUNE_ASSIGN_OR_RETURN(data, ReadHfTokenizer(path));
  }
  return Tokenizer::Make(std::move(data));
}

absl::Status PrintIds(const Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = FromHex(line);
    if (!text.has_value()) return absl::InvalidArgumentError("not hex");
    std::vector<int32_t> ids = tokenizer.Encode(*text, true);
    std::string out;
    if (tokenizer.add_bos()) out += std::to_string(tokenizer.bos()) + " ";
    for (const int32_t id : ids) out += std::to_string(id) + " ";
    std::cout << out << "\t" << ToHex(tokenizer.Decode(ids, true)) << "\n";
  }
  return absl::OkStatus();
}

absl::Status WriteFiles(const Tokenizer& tokenizer,
                        const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto files,
                            HfTokenizerFiles(tokenizer.data(), ""));
  for (const auto& [name, bytes] : files) {
    EDGETUNE_RETURN_IF_ERROR(
        WriteFileAtomically(directory + "/" + name, bytes));
  }
  return absl::OkStatus();
}

absl::Status Main(const std::vector<std::string>& args) {
  const bool ids = args.size() == 2 && args[0] == "ids";
  if (!ids && (args.size() != 3 || args[0] != "files")) {
    return absl::InvalidArgumentError("see the head of tokenize_dump.cc");
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto tokenizer, Open(args[1]));
  return ids ? PrintIds(*tokenizer) : WriteFiles(*tokenizer, args[2]);
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const absl::Status status = edgetune::Main({argv + 1, argv + argc});
  if (status.ok()) return 0;
  std::fprintf(stderr, "tokenize_dump: %s\n", status.ToString().c_str());
  return 1;
}
