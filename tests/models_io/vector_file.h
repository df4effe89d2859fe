#ifndef EDGETUNE_TESTS_MODELS_IO_VECTOR_FILE_H_
#define EDGETUNE_TESTS_MODELS_IO_VECTOR_FILE_H_

// Stored vectors: tab-separated rows under tests/models_io/vectors, made by
// the scripts there. Stateless.

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace edgetune::testing {

inline std::vector<std::string> SplitAt(const std::string& text, char mark) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, mark);) out.push_back(part);
  return out;
}

inline std::vector<std::vector<std::string>> ReadVectors(
    const std::string& name) {
  std::ifstream in(std::string(EDGETUNE_SOURCE_DIR) +
                   "/tests/models_io/vectors/" + name);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(in, line);) {
    rows.push_back(SplitAt(line, '\t'));
  }
  return rows;
}

template <typename T>
std::vector<T> Numbers(const std::string& text) {
  std::vector<T> out;
  for (const std::string& part : SplitAt(text, ',')) {
    out.push_back(static_cast<T>(std::stoull(part)));
  }
  return out;
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_MODELS_IO_VECTOR_FILE_H_
