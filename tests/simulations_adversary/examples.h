#ifndef EDGETUNE_TESTS_SIMULATIONS_ADVERSARY_EXAMPLES_H_
#define EDGETUNE_TESTS_SIMULATIONS_ADVERSARY_EXAMPLES_H_

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"
#include "training/text_data_set.h"

namespace edgetune::testing {

// Data sets over the tiny model, from lines of JSON.
class Examples {
 public:
  Examples() {
    const std::string path = scratch_.File("tiny.gguf");
    EXPECT_TRUE(WriteTinyModel(path).ok());
    model_ = *ModelFile::Open(path);
  }

  std::string Write(const std::vector<std::string>& lines) {
    const std::string path = scratch_.File(std::to_string(++files_) + ".jsonl");
    std::ofstream out(path);
    for (const std::string& line : lines) out << line << "\n";
    return path;
  }
  std::unique_ptr<ExampleSet> Read(const std::vector<std::string>& lines,
                                   int64_t max_length = 256) {
    auto read =
        ReadTextDataSet(Write(lines), *model_, {.max_length = max_length});
    EXPECT_TRUE(read.ok()) << read.status();
    return *std::move(read);
  }
  const std::shared_ptr<const ModelFile>& model() const { return model_; }

 private:
  const ScratchDirectory scratch_;
  int files_ = 0;
  std::shared_ptr<const ModelFile> model_;
};

inline std::string Completion(const std::string& prompt,
                              const std::string& completion) {
  return R"({"prompt":")" + prompt + R"(","completion":")" + completion +
         R"("})";
}

inline std::string Chat(
    const std::vector<std::pair<std::string, std::string>>& messages) {
  std::string line;
  for (const auto& [role, content] : messages) {
    line += (line.empty() ? "" : ",") + (R"({"role":")" + role) +
            R"(","content":")" + content + R"("})";
  }
  return R"({"messages":[)" + line + "]}";
}

// Of what is labelled, or of what is not.
inline std::vector<int32_t> TokensWith(const LabelledTokens& example,
                                       bool labelled) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    if ((example.labelled[i] == 1) == labelled) {
      tokens.push_back(example.tokens[i]);
    }
  }
  return tokens;
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_ADVERSARY_EXAMPLES_H_
