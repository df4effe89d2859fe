// Around an engine that keeps count; what engines compute is tests/engines'.

#include "models/sequence_language_model.h"

#include <gtest/gtest.h>

#include <new>

#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

class CountingEngine final : public SequenceEngine {
 public:
  absl::Status SetAdapter(const Adapter*) override { return absl::OkStatus(); }
  void Reset(size_t capacity) override {
    if (fails) throw std::bad_alloc();
    room = capacity;
    length = 0;
  }
  void Keep(size_t kept) override {
    EXPECT_LE(kept, length);
    length = kept;
  }
  void Extend(std::span<const int32_t> ids) override {
    length += ids.size();
    fed += ids.size();
    EXPECT_LE(length, room);
  }
  std::vector<float> LastLogits() override { return {0, 1}; }
  std::vector<float> NextNll(std::span<const int32_t> next) override {
    return std::vector<float>(next.size());
  }

  bool fails = false;
  size_t room = 0, length = 0, fed = 0;
};

class SequenceLanguageModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::WriteTinyModel(scratch_.File("m.gguf")).ok());
    auto engine = std::make_unique<CountingEngine>();
    engine_ = engine.get();
    model_ = MakeSequenceLanguageModel(
        *ModelFile::Open(scratch_.File("m.gguf")), std::move(engine));
  }

  const testing::ScratchDirectory scratch_;
  CountingEngine* engine_ = nullptr;
  std::unique_ptr<LanguageModel> model_;
};

TEST_F(SequenceLanguageModelTest, RoomThatCouldNotBeMadeIsNotBelievedIn) {
  const std::vector<int32_t> text(100, 5);
  engine_->fails = true;
  EXPECT_TRUE(absl::IsResourceExhausted(model_->NextLogits(text).status()));
  engine_->fails = false;
  EXPECT_TRUE(model_->NextLogits(text).ok());
  EXPECT_GE(engine_->room, text.size());
}

TEST_F(SequenceLanguageModelTest, WhatATextBeginsAlikeWithIsNotFedAgain) {
  std::vector<int32_t> text(150, 5);
  ASSERT_TRUE(model_->NextLogits(text).ok());
  EXPECT_EQ(engine_->fed, 150u);
  text.push_back(7);
  ASSERT_TRUE(model_->NextLogits(text).ok());
  EXPECT_EQ(engine_->fed, 150u + 151 - 128);  // whole chunks of 64
  ASSERT_TRUE(model_->SetAdapter(nullptr).ok());
  ASSERT_TRUE(model_->NextLogits(text).ok());
  EXPECT_EQ(engine_->fed, 150u + 151 - 128 + 151);
}

}  // namespace
}  // namespace edgetune
