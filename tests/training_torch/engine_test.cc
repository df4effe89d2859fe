// The shared object as programs meet it: nothing here links LibTorch.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <string>

#include "models/io/model_file.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/data_folder.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

using testing::kData;
using testing::ReadVectorCase;

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = LoadEngine("reference");
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *engine;
    auto file = ModelFile::Open(kData + "tiny_tied.gguf");
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = std::move(*file);
    options_.precision = Precision::kFp32;
    options_.threads = 1;
  }

  Engine* engine_ = nullptr;
  std::shared_ptr<const ModelFile> file_;
  EngineOptions options_;
};

TEST_F(EngineTest, IsLoadedOnce) {
  EXPECT_EQ(*LoadEngine("reference"), engine_);
}

TEST_F(EngineTest, TrainsThroughTheInterface) {
  const auto given = ReadVectorCase(kData + "tiny_tied", file_->config());
  ASSERT_TRUE(given.ok()) << given.status();
  auto trainer = engine_->MakeTrainer(file_, options_);
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  EXPECT_EQ((*trainer)->precision(), "fp32");
  const StopToken stop{false};
  const auto result = (*trainer)->Train(given->adapter, given->examples,
                                        given->train, nullptr, stop, {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->last_loss, given->losses.back(), 1e-4);
}

TEST_F(EngineTest, TurnsErrorsInsideIntoStatuses) {
  auto model = engine_->MakeLanguageModel(file_, options_);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto scores = (*model)->ScoreTokens(std::vector<int32_t>{-1});
  EXPECT_EQ(scores.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(EngineTest, RefusesAProgramOfAnotherBuild) {
  const std::string path =
      std::string(EDGETUNE_BINARY_DIR) + "/lib/libedgetune_torch.so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  auto* make =
      reinterpret_cast<EdgetuneEngineFn*>(dlsym(library, "edgetune_engine"));
  ASSERT_NE(make, nullptr);
  EXPECT_EQ(make("0.0.0-another"), nullptr);
}

}  // namespace
}  // namespace edgetune
