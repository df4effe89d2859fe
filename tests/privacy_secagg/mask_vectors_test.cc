// Masks, packing, rounding and sums against vectors/mask.json, which a second
// implementation made from the specification alone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "privacy/crypto/mask_stream.h"
#include "privacy/secagg/masked_vector.h"
#include "tests/privacy_secagg/vectors.h"

namespace edgetune::secagg {
namespace {

using nlohmann::json;
using testing::Bytes;
using testing::LoadCases;
using testing::Secret;
using testing::ShapeOf;

// Of `lanes` lanes, two of them canaries, the others coordinates.
MaskedShape Plain(uint32_t bits, size_t lanes) {
  MaskedShape shape;
  shape.bits = bits;
  shape.n_max = 10;
  shape.bound = 0.25;
  shape.coordinates = lanes - 2;
  return shape;
}

TEST(MaskVectorsTest, StreamsHaveTheseWordsFromAnyOffset) {
  for (const json& c : LoadCases("mask", "words")) {
    const RingVector words = c["words"];
    MaskStream stream = MaskStream::Make(Secret(c["key"])).value();
    RingVector sum(words.size(), 0);
    ASSERT_TRUE(stream.Add(c["first_word"], sum).ok());
    EXPECT_EQ(sum, words) << c["first_word"];
    ASSERT_TRUE(stream.Subtract(c["first_word"], sum).ok());
    EXPECT_EQ(sum, RingVector(words.size(), 0)) << c["first_word"];
  }
}

TEST(MaskVectorsTest, LanesArePackedLittleEndian) {
  for (const json& c : LoadCases("mask", "packing")) {
    const RingVector lanes = c["lanes"];
    EXPECT_EQ(ToHex(PackLanes(Plain(c["bits"], lanes.size()), lanes)),
              c["packed"])
        << c["bits"];
  }
}

TEST(MaskVectorsTest, MasksAreAddedInTheRing) {
  for (const json& c : LoadCases("mask", "ring")) {
    std::vector<MaskTerm> terms;
    for (const json& term : c["terms"]) {
      terms.push_back({Secret(term["key"]), term["subtract"]});
    }
    for (const int threads : {1, 3}) {
      RingVector lanes = c["lanes"];
      ASSERT_TRUE(ApplyMasks(terms, threads, lanes).ok());
      EXPECT_EQ(ToHex(PackLanes(Plain(c["bits"], lanes.size()), lanes)),
                c["packed"])
          << c["bits"];
    }
  }
}

TEST(MaskVectorsTest, SumsPassOrFailTheirChecks) {
  const json vectors = LoadCases("mask", "sums");
  ASSERT_EQ(vectors.size(), 28);
  for (const json& c : vectors) {
    MaskedSum sum(ShapeOf(c["shape"]));
    for (const json& input : c["inputs"]) {
      ASSERT_TRUE(sum.Add(ByteSpan(Bytes(input))).ok()) << c["name"];
    }
    EXPECT_EQ(sum.count(), c["inputs"].size());
    const auto sums = sum.Unmask({}, c["canary"], 1);
    if (c["sums"].is_null()) {
      EXPECT_EQ(sums.status().code(), absl::StatusCode::kDataLoss) << c["name"];
      continue;
    }
    ASSERT_TRUE(sums.ok()) << c["name"] << sums.status();
    EXPECT_EQ(*sums, std::vector<int64_t>(c["sums"])) << c["name"];
  }
}

TEST(MaskVectorsTest, OtherLengthsAndPaddingBitsAreRefused) {
  for (const json& c : LoadCases("mask", "bad_packed")) {
    MaskedSum sum(Plain(c[0], c[1]));
    EXPECT_EQ(sum.Add(ByteSpan(Bytes(c[2]))).code(),
              absl::StatusCode::kInvalidArgument)
        << c;
    EXPECT_EQ(sum.count(), 0);
  }
}

PlainInput InputOf(const json& c, const std::vector<float>& coordinates) {
  PlainInput input;
  input.weight = c["weight"];
  input.coordinates = coordinates;
  for (const json& lane : c["lanes"]) {
    input.lanes[LaneUse{lane[0].get<uint8_t>()}] = lane[1];
  }
  return input;
}

TEST(MaskVectorsTest, RoundingGivesOneOfTwoNeighbours) {
  SystemRandom random;
  for (const json& c : LoadCases("mask", "quantized")) {
    const MaskedShape shape = ShapeOf(c["shape"]);
    const std::vector<float> values = c["values"];
    EXPECT_DOUBLE_EQ(shape.ScaleOf(shape.bound), c["scale"]);
    EXPECT_EQ(CountClamped(shape, values), c["clamped"]);
    const auto out = Quantize(shape, InputOf(c, values), c["canary"], random);
    ASSERT_TRUE(out.ok()) << out.status();
    ASSERT_EQ(out->size(), c["low"].size());
    const uint64_t ring = uint64_t{1} << shape.bits;
    for (size_t i = 0; i < out->size(); ++i) {
      EXPECT_THAT((*out)[i] % ring,
                  ::testing::AnyOf(c["low"][i].get<uint64_t>(),
                                   c["high"][i].get<uint64_t>()))
          << shape.bits << " bits, lane " << i;
    }
  }
}

}  // namespace
}  // namespace edgetune::secagg
