#ifndef EDGETUNE_TESTS_MODELS_SHRINK_WHOLE_MODEL_H_
#define EDGETUNE_TESTS_MODELS_SHRINK_WHOLE_MODEL_H_

// What the tests of this room compare cut models with: tensors in one piece.
// Stateless.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "models/io/llama_names.h"
#include "models/io/model_file.h"
#include "models/shrink/importance.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune::testing {

inline std::unique_ptr<ModelFile> OpenTinyModel(
    const ScratchDirectory& scratch, const TinyModelOptions& options = {}) {
  const std::string path = scratch.File("tiny.gguf");
  EXPECT_TRUE(WriteTinyModel(path, options).ok());
  auto model = ModelFile::Open(path);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

inline const TensorInfo* InfoOf(const TensorSource& source,
                                const std::string& name) {
  const auto found =
      std::ranges::find(source.tensors(), name, &TensorInfo::name);
  return found == source.tensors().end() ? nullptr : &*found;
}

inline std::vector<float> WholeTensor(const TensorSource& source,
                                      const std::string& name) {
  const TensorInfo* info = InfoOf(source, name);
  EXPECT_NE(info, nullptr) << name;
  if (info == nullptr) return {};
  std::vector<float> out(static_cast<size_t>(info->rows() * info->columns()));
  EXPECT_TRUE(source.ReadRows(name, 0, info->rows(), out).ok()) << name;
  return out;
}

inline void ExpectSameTensors(const TensorSource& a, const TensorSource& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const TensorInfo& info : a.tensors()) {
    EXPECT_EQ(WholeTensor(a, info.name), WholeTensor(b, info.name))
        << info.name;
  }
}

inline std::string LayerTensor(int64_t layer, const std::string& rest) {
  return "model.layers." + std::to_string(layer) + "." + rest;
}

// Input norms that differ from column to column and from linear to linear.
inline InputNorms SomeNorms(const ModelConfig& config) {
  InputNorms out;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
      std::vector<float> norms;
      for (int64_t j = 0; j < LlamaLinearShape(config, i).in; ++j) {
        norms.push_back(0.25f +
                        static_cast<float>((7 * j + 3 * i + layer) % 11));
      }
      out["layers." + std::to_string(layer) + "." + kLlamaLinears[i].module] =
          norms;
    }
  }
  return out;
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_MODELS_SHRINK_WHOLE_MODEL_H_
