#include "training/distillation/teacher_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <vector>

#include "base/atomic_file.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr size_t kHeadBytes = 136;
constexpr float kNoRest = -std::numeric_limits<float>::infinity();

// Two of five tokens a position; float16 has none of their logarithms exactly.
std::vector<TopTokens> SomeRows() {
  const auto log = [](double p) { return static_cast<float>(std::log(p)); };
  return {{{0, 3}, {log(0.5), log(0.3)}, log(0.2)},
          {{1, 4}, {log(0.01), log(0.98)}, log(0.01)},
          {{2, 3}, {log(0.6), log(0.4)}, kNoRest}};
}

TeacherCacheFacts SomeFacts(int64_t vocabulary = 5) {
  TeacherCacheFacts facts = {
      .temperature = 2, .k = 2, .vocabulary = vocabulary, .positions = 3};
  facts.teacher.fill(1);
  facts.tokenizer.fill(2);
  facts.examples.fill(3);
  return facts;
}

class TeacherCacheTest : public ::testing::Test {
 protected:
  absl::Status Write(const std::vector<TopTokens>& rows,
                     const TeacherCacheFacts& facts) {
    auto writer = TeacherCacheWriter::Create(path_, facts);
    if (!writer.ok()) return writer.status();
    for (const TopTokens& row : rows) {
      if (auto status = (*writer)->Append(row); !status.ok()) return status;
    }
    return (*writer)->Commit();
  }
  std::string Bytes() { return *ReadFile(path_); }
  // With the digest of what then is there, unless `honest` is false.
  void Put(std::string bytes, bool honest = true) {
    if (honest && bytes.size() > 32) {
      bytes.resize(bytes.size() - 32);
      bytes += Sha256Bytes(bytes);
    }
    ASSERT_TRUE(WriteFileAtomically(path_, bytes).ok());
  }
  void ExpectRefused(absl::StatusCode code, const std::string& words,
                     const TeacherCacheFacts& wanted = SomeFacts()) {
    const auto opened = TeacherCache::Open(path_, wanted);
    EXPECT_EQ(opened.status().code(), code) << opened.status();
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(words));
  }

  const testing::ScratchDirectory folder_;
  const std::string path_ = folder_.File("teacher.logits");
};

TEST_F(TeacherCacheTest, ComesBackAsItWasWrittenButForFloat16) {
  for (const int64_t vocabulary : {5, 65536, 65537, 200000}) {
    const TeacherCacheFacts facts = SomeFacts(vocabulary);
    std::vector<TopTokens> rows = SomeRows();
    rows[1].ids[1] = static_cast<int32_t>(vocabulary - 1);
    ASSERT_TRUE(Write(rows, facts).ok());
    const size_t id_bytes = vocabulary <= 65536 ? 2 : 4;
    EXPECT_EQ(Bytes().size(), kHeadBytes + 3 * (2 * (id_bytes + 2) + 2) + 32);
    const auto cache = TeacherCache::Open(path_, facts);
    ASSERT_TRUE(cache.ok()) << cache.status();
    EXPECT_EQ((*cache)->k(), 2);
    EXPECT_EQ((*cache)->positions(), 3);
    EXPECT_EQ((*cache)->temperature(), 2);
    TopTokens row;
    for (const int64_t i : {2, 0, 1}) {
      const TopTokens& wanted = rows[static_cast<size_t>(i)];
      (*cache)->Read(i, row);
      EXPECT_EQ(row.ids, wanted.ids);
      ASSERT_EQ(row.log_probabilities.size(), 2);
      for (size_t j = 0; j < 2; ++j) {
        EXPECT_NEAR(row.log_probabilities[j], wanted.log_probabilities[j],
                    5e-4 * std::abs(wanted.log_probabilities[j]));
      }
      if (wanted.log_rest == kNoRest) {
        EXPECT_EQ(row.log_rest, kNoRest);
      } else {
        EXPECT_NEAR(row.log_rest, wanted.log_rest, 3e-3);
      }
    }
  }
}

TEST_F(TeacherCacheTest, WhatFloat16CannotHoldIsNothing) {
  std::vector<TopTokens> rows = SomeRows();
  rows[2] = {{0, 1}, {0, -1e6f}, -1e6f};
  ASSERT_TRUE(Write(rows, SomeFacts()).ok());
  const auto cache = TeacherCache::Open(path_, SomeFacts());
  ASSERT_TRUE(cache.ok()) << cache.status();
  TopTokens row;
  (*cache)->Read(2, row);
  EXPECT_EQ(row.log_probabilities[1], -65504);
  EXPECT_EQ(row.log_rest, kNoRest);
}

TEST_F(TeacherCacheTest, AnotherTeacherOrAnythingElseOfItIsRefusedByName) {
  ASSERT_TRUE(Write(SomeRows(), SomeFacts()).ok());
  const auto refused = [&](const char* words, auto change) {
    TeacherCacheFacts wanted = SomeFacts();
    change(wanted);
    ExpectRefused(absl::StatusCode::kFailedPrecondition, words, wanted);
  };
  refused("of another teacher", [](auto& f) { f.teacher[31] ^= 1; });
  refused("of another tokenizer", [](auto& f) { f.tokenizer[0] ^= 1; });
  refused("of other examples", [](auto& f) { f.examples[7] ^= 1; });
  refused("temperature 2, wanted 3", [](auto& f) { f.temperature = 3; });
  refused("the 2 likeliest tokens, wanted 4", [](auto& f) { f.k = 4; });
  refused("vocabulary of 5 tokens, wanted 6",
          [](auto& f) { f.vocabulary = 6; });
}

TEST_F(TeacherCacheTest, EveryFlippedBitIsFound) {
  ASSERT_TRUE(Write(SomeRows(), SomeFacts()).ok());
  const std::string whole = Bytes();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bent = whole;
    bent[i] = static_cast<char>(bent[i] ^ (1 << (i % 8)));
    Put(bent, /*honest=*/false);
    ExpectRefused(absl::StatusCode::kDataLoss, "damaged");
  }
}

TEST_F(TeacherCacheTest, EveryShorterOrLongerFileIsRefused) {
  ASSERT_TRUE(Write(SomeRows(), SomeFacts()).ok());
  const std::string whole = Bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    Put(whole.substr(0, size));
    ExpectRefused(absl::StatusCode::kDataLoss, "damaged");
  }
  Put(whole + std::string(1, '\0'));
  ExpectRefused(absl::StatusCode::kDataLoss, "damaged");
}

// Files whose digest is right, made by someone who wants to harm.
TEST_F(TeacherCacheTest, NumbersThatCannotBeAreRefused) {
  ASSERT_TRUE(Write(SomeRows(), SomeFacts()).ok());
  const std::string whole = Bytes();
  const auto with = [&](size_t at, auto value) {
    std::string bent = whole;
    std::memcpy(bent.data() + at, &value, sizeof(value));
    Put(bent);
  };
  const auto max = std::numeric_limits<int64_t>::max();
  for (const size_t at : {112, 120, 128}) {  // k, vocabulary, positions
    for (const int64_t number :
         {int64_t{-1}, int64_t{0}, int64_t{1} << 33, max, max / 6}) {
      with(at, number);
      ExpectRefused(absl::StatusCode::kDataLoss, "damaged");
    }
  }
  // Row 0: ids at 136 and 138, logarithms at 140 and 142, the rest at 144.
  with(138, uint16_t{5});
  ExpectRefused(absl::StatusCode::kDataLoss, "position 0 has tokens");
  with(138, uint16_t{0});
  ExpectRefused(absl::StatusCode::kDataLoss, "position 0 has tokens");
  for (const uint16_t half : {uint16_t{0x7e00}, uint16_t{0x7c00},
                              uint16_t{0xfc00}, uint16_t{0x3c00}}) {
    with(142, half);  // NaN, infinities, 1
    ExpectRefused(absl::StatusCode::kDataLoss, "a probability that is none");
  }
  with(144, uint16_t{0x7e00});
  ExpectRefused(absl::StatusCode::kDataLoss, "with a sum of nan");
  with(144, uint16_t{0});
  ExpectRefused(absl::StatusCode::kDataLoss, "with a sum of");
}

TEST_F(TeacherCacheTest, ARestBesideAllTokensIsRefused) {
  TeacherCacheFacts facts = SomeFacts(2);
  const float half = std::log(0.5f), small = std::log(1e-3f);
  std::vector<TopTokens> rows(3, {{0, 1}, {half, half}, kNoRest});
  ASSERT_TRUE(Write(rows, facts).ok());
  EXPECT_TRUE(TeacherCache::Open(path_, facts).ok());
  rows[1].log_rest = small;
  ASSERT_TRUE(Write(rows, facts).ok());
  ExpectRefused(absl::StatusCode::kDataLoss, "a rest beside all tokens", facts);
}

TEST_F(TeacherCacheTest, OneThatIsNotFinishedLeavesNothing) {
  std::vector<TopTokens> rows = SomeRows();
  rows.pop_back();
  EXPECT_TRUE(absl::IsFailedPrecondition(Write(rows, SomeFacts())));
  EXPECT_TRUE(
      std::filesystem::is_empty(std::filesystem::path(path_).parent_path()));
  EXPECT_TRUE(
      absl::IsNotFound(TeacherCache::Open(path_, SomeFacts()).status()));
}

class FewExamples final : public ExampleSource {
 public:
  explicit FewExamples(std::vector<LabelledTokens> examples)
      : examples_(std::move(examples)) {}
  int64_t size() const override {
    return static_cast<int64_t>(examples_.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return examples_[static_cast<size_t>(index)];
  }

 private:
  const std::vector<LabelledTokens> examples_;
};

TEST(ExamplesDigestTest, TellsTokensLabelsAndBordersApart) {
  const std::vector<std::vector<LabelledTokens>> sets = {
      {{{1, 2, 3}, {0, 1, 1}}},
      {{{1, 2, 4}, {0, 1, 1}}},
      {{{1, 2, 3}, {0, 0, 1}}},
      {{{1, 2}, {0, 1}}, {{3, 4}, {0, 1}}},
      {{{3, 4}, {0, 1}}, {{1, 2}, {0, 1}}}};
  std::vector<Digest> digests;
  for (const auto& set : sets) {
    digests.push_back(ExamplesDigest(FewExamples(set)));
    EXPECT_EQ(digests.back(), ExamplesDigest(FewExamples(set)));
  }
  for (size_t i = 0; i < digests.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(digests[i], digests[j]);
  }
  EXPECT_EQ(PositionsOf(FewExamples(sets[0])), 2);
  EXPECT_EQ(PositionsOf(FewExamples(sets[3])), 2);
}

}  // namespace
}  // namespace edgetune
