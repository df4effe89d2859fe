#include "models/shrink/compensated_rounding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "models/io/quantise/quantise.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr BlockType kTypes[] = {BlockType::kQ4_0, BlockType::kQ4_1,
                                BlockType::kQ5_0, BlockType::kQ5_1,
                                BlockType::kQ8_0};

std::vector<float> Decoded(BlockType type, const std::vector<uint8_t>& bytes) {
  const BlockShape shape = BlockShapeOf(type);
  std::vector<float> out(bytes.size() / shape.bytes * shape.elements);
  Dequantise(type, bytes, out);
  return out;
}

std::vector<float> Plain(BlockType type, const std::vector<float>& row) {
  const BlockShape shape = BlockShapeOf(type);
  std::vector<uint8_t> bytes(row.size() / shape.elements * shape.bytes);
  Quantise(type, row, bytes);
  return Decoded(type, bytes);
}

std::vector<float> Compensated(const CompensatedRounding& rounding,
                               BlockType type, std::vector<float> row) {
  std::vector<uint8_t> bytes;
  const absl::Status status = rounding.Encode(type, row, &bytes);
  EXPECT_TRUE(status.ok()) << status;
  return Decoded(type, bytes);
}

// Inputs of `rank` random directions with some noise, as texts have them.
class Inputs {
 public:
  Inputs(size_t width, size_t rank, uint64_t seed) : width_(width) {
    Random random(seed);
    std::vector<float> directions(rank * width);
    for (float& value : directions) value = static_cast<float>(random.Normal());
    gram_.resize(width * width);
    for (int sample = 0; sample < 400; ++sample) {
      std::vector<double> x(width);
      for (double& value : x) value = 0.3 * random.Normal();
      for (size_t i = 0; i < rank; ++i) {
        const double weight = random.Normal();
        for (size_t j = 0; j < width; ++j) {
          x[j] += weight * directions[i * width + j];
        }
      }
      for (size_t i = 0; i < width; ++i) {
        for (size_t j = 0; j < width; ++j) {
          gram_[i * width + j] += static_cast<float>(x[i] * x[j]);
        }
      }
    }
  }

  const std::vector<float>& gram() const { return gram_; }
  // How far the outputs of two rows of weights are apart, squared.
  double Distance(const std::vector<float>& a,
                  const std::vector<float>& b) const {
    double sum = 0;
    for (size_t i = 0; i < width_; ++i) {
      for (size_t j = 0; j < width_; ++j) {
        sum += double{a[i] - b[i]} * gram_[i * width_ + j] * (a[j] - b[j]);
      }
    }
    return sum;
  }

 private:
  const size_t width_;
  std::vector<float> gram_;
};

std::vector<float> RandomRow(size_t width, uint64_t seed) {
  Random random(seed);
  std::vector<float> out(width);
  for (float& value : out) value = static_cast<float>(0.05 * random.Normal());
  return out;
}

// The same by its definition (Frantar, Alistarh 2022, Optimal Brain Surgeon):
// what an input is wrong by goes to the others through the inverse, from which
// that input is then eliminated. In double.
std::vector<float> BySurgeon(BlockType type, const std::vector<float>& gram,
                             const std::vector<float>& row) {
  const size_t n = row.size();
  double mean = 0;
  for (size_t i = 0; i < n; ++i)
    mean += gram[i * n + i] / static_cast<double>(n);
  // Gauss and Jordan: [h | 1] to [1 | h^-1].
  std::vector<double> h(n * n), inverse(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) h[i * n + j] = gram[i * n + j];
    h[i * n + i] += 0.01 * mean;
    inverse[i * n + i] = 1;
  }
  for (size_t i = 0; i < n; ++i) {
    const double pivot = h[i * n + i];
    for (size_t j = 0; j < n; ++j) {
      h[i * n + j] /= pivot;
      inverse[i * n + j] /= pivot;
    }
    for (size_t k = 0; k < n; ++k) {
      const double factor = h[k * n + i];
      if (k == i || factor == 0) continue;
      for (size_t j = 0; j < n; ++j) {
        h[k * n + j] -= factor * h[i * n + j];
        inverse[k * n + j] -= factor * inverse[i * n + j];
      }
    }
  }
  std::vector<double> w(row.begin(), row.end());
  std::vector<float> out(n);
  LevelGrid grid;
  for (size_t i = 0; i < n; ++i) {
    if (i % 32 == 0) {
      const std::vector<float> block(w.begin() + static_cast<int64_t>(i),
                                     w.begin() + static_cast<int64_t>(i) + 32);
      grid = GridFor(type, block);
    }
    out[i] = grid.ValueOf(grid.Nearest(static_cast<float>(w[i])));
    const double wrong = (w[i] - out[i]) / inverse[i * n + i];
    for (size_t j = i; j < n; ++j) w[j] -= wrong * inverse[i * n + j];
    const std::vector<double> gone(
        inverse.begin() + static_cast<int64_t>(i * n),
        inverse.begin() + static_cast<int64_t>((i + 1) * n));
    for (size_t j = 0; j < n; ++j) {
      for (size_t k = 0; k < n; ++k) {
        inverse[j * n + k] -= gone[j] * gone[k] / gone[i];
      }
    }
  }
  return out;
}

TEST(CompensatedRoundingTest, IsTheSurgeonsColumnByColumn) {
  constexpr size_t kWidth = 96;
  const Inputs inputs(kWidth, 12, 1);
  const auto rounding = CompensatedRounding::Make(inputs.gram(), kWidth);
  ASSERT_TRUE(rounding.ok()) << rounding.status();
  for (const BlockType type : kTypes) {
    size_t same = 0;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const auto row = RandomRow(kWidth, seed);
      const auto got = Compensated(*rounding, type, row);
      const auto wanted = BySurgeon(type, inputs.gram(), row);
      for (size_t i = 0; i < kWidth; ++i) same += got[i] == wanted[i] ? 1 : 0;
    }
    // A tie that rounding settles otherwise changes what follows it.
    EXPECT_GE(same, 20 * kWidth * 98 / 100) << static_cast<int>(type);
  }
}

TEST(CompensatedRoundingTest, OutputsChangeLessThanByPlainRounding) {
  constexpr size_t kWidth = 128;
  const Inputs inputs(kWidth, 10, 2);
  const auto rounding = CompensatedRounding::Make(inputs.gram(), kWidth);
  ASSERT_TRUE(rounding.ok());
  for (const BlockType type : kTypes) {
    double plain = 0, compensated = 0;
    for (uint64_t seed = 1; seed <= 30; ++seed) {
      const auto row = RandomRow(kWidth, seed);
      plain += inputs.Distance(row, Plain(type, row));
      compensated += inputs.Distance(row, Compensated(*rounding, type, row));
    }
    EXPECT_LT(compensated, 0.5 * plain) << static_cast<int>(type);
  }
}

TEST(CompensatedRoundingTest, InputsWithoutCorrelationChangeNothing) {
  constexpr size_t kWidth = 64;
  std::vector<float> gram(kWidth * kWidth, 0.0f);
  for (size_t i = 0; i < kWidth; ++i) gram[i * kWidth + i] = 1 + float(i % 3);
  const auto rounding = CompensatedRounding::Make(gram, kWidth);
  ASSERT_TRUE(rounding.ok());
  for (const BlockType type : kTypes) {
    const auto row = RandomRow(kWidth, 7);
    const auto plain = Plain(type, row),
               got = Compensated(*rounding, type, row);
    for (size_t i = 0; i < kWidth; ++i) {
      EXPECT_LE(std::fabs(row[i] - got[i]),
                std::fabs(row[i] - plain[i]) + 1e-7f);
    }
  }
}

TEST(CompensatedRoundingTest, InputsThatNeverCameAreRoundedAsTheyAre) {
  const std::vector<float> gram(32 * 32, 0.0f);
  const auto rounding = CompensatedRounding::Make(gram, 32);
  ASSERT_TRUE(rounding.ok()) << rounding.status();
  const auto row = RandomRow(32, 3);
  const auto got = Compensated(*rounding, BlockType::kQ8_0, row);
  for (size_t i = 0; i < 32; ++i) EXPECT_NEAR(got[i], row[i], 1e-3);
  const auto zeros =
      Compensated(*rounding, BlockType::kQ4_1, std::vector<float>(32, 0.0f));
  EXPECT_EQ(zeros, std::vector<float>(32, 0.0f));
}

TEST(CompensatedRoundingTest, WhatCannotBeIsRefused) {
  const auto refused = [](const absl::Status& status, const char* words) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  std::vector<float> gram(32 * 32, 0.0f);
  refused(CompensatedRounding::Make(gram, 31).status(), "no square of 31");
  refused(CompensatedRounding::Make({}, 0).status(), "no square of 0");
  refused(CompensatedRounding::Make(gram, -1).status(), "no square of -1");
  gram[5] = testing::kNaN<float>;
  refused(CompensatedRounding::Make(gram, 32).status(), "positive definite");
  gram[5] = 0;
  for (size_t i = 0; i < 32; ++i) gram[i * 32 + i] = 1;
  const auto rounding = CompensatedRounding::Make(gram, 32);
  ASSERT_TRUE(rounding.ok());
  gram[1] = gram[32] = 5;  // not what any inputs add up to
  refused(CompensatedRounding::Make(gram, 32).status(), "positive definite");
  std::vector<uint8_t> out;
  for (const float bad : {testing::kNaN<float>, testing::kInf<float>, 1e9f}) {
    std::vector<float> row(32, 0.1f);
    row[9] = bad;
    refused(rounding->Encode(BlockType::kQ4_0, row, &out), "Q4_0 cannot hold");
  }
}

}  // namespace
}  // namespace edgetune
