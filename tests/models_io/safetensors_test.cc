#include "models/io/hf/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "tests/testing/bytes_of.h"

namespace edgetune {
namespace {

using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string FileOf(std::string_view header, size_t buffer) {
  const uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
  return out.append(header).append(buffer, '\x3f');
}

void ExpectRefused(std::string_view header, size_t buffer,
                   const std::string& message) {
  const std::string file = FileOf(header, buffer);
  const auto parsed = SafetensorsFile::Parse(BytesOf(file));
  ASSERT_FALSE(parsed.ok()) << header;
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
}

TEST(SafetensorsTest, ReadsAHandMadeFileInTheOrderOfItsData) {
  const std::string file =
      FileOf(R"({"__metadata__":{"format":"pt"},)"
             R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[2,10]},)"
             R"("a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}   )",
             10);
  const auto parsed = SafetensorsFile::Parse(BytesOf(file));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto& tensors = (*parsed)->tensors();
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_THAT(tensors[1].shape, ElementsAre(1, 2));
  EXPECT_EQ((*parsed)->metadata().at("format"), "pt");
  // 0x3f3f as bfloat16 is 0x3f3f0000 as float32, by bits.
  EXPECT_THAT(*ReadFloats(tensors[0]), ElementsAre(0.74609375f));
}

TEST(SafetensorsTest, WritesWhatItReads) {
  const std::vector<float> values = {1.5f, -0.0f, 3e-40f, 7};
  const std::span bytes(reinterpret_cast<const uint8_t*>(values.data()), 16);
  const std::vector<SafeTensor> tensors = {{"z", "F32", {2, 2}, bytes},
                                           {"a", "F32", {4}, bytes}};
  const std::string file = *SerialiseSafetensors(tensors);
  uint64_t header;
  std::memcpy(&header, file.data(), sizeof(header));
  EXPECT_EQ(header % 8, 0u);
  const auto parsed = *SafetensorsFile::Parse(BytesOf(file));
  EXPECT_EQ(parsed->tensors()[0].name, "z");
  const auto back = *ReadFloats(parsed->tensors()[0]);
  EXPECT_EQ(std::memcmp(back.data(), values.data(), 16), 0);
}

TEST(SafetensorsTest, WriterRefusesWhatDoesNotFit) {
  const std::vector<uint8_t> bytes(8);
  const SafeTensor good = {"a", "F32", {2}, bytes};
  const SafeTensor shape = {"b", "F32", {3}, bytes};
  const SafeTensor dtype = {"b", "Q4", {2}, bytes};
  EXPECT_FALSE(SerialiseSafetensors(std::vector{good, good}).ok());
  EXPECT_FALSE(SerialiseSafetensors(std::vector{good, shape}).ok());
  EXPECT_FALSE(SerialiseSafetensors(std::vector{good, dtype}).ok());
}

TEST(SafetensorsTest, RefusesBadHeaders) {
  ExpectRefused(R"({"a":{},"a":{}})", 0, "'a' appears twice");
  ExpectRefused(R"([1])", 0, "begin with {");
  ExpectRefused(R"({"a":)", 0, "not JSON");
  ExpectRefused(R"({"a":{"b":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}})", 0,
                "deeper");
  ExpectRefused(R"({"__metadata__":{"x":1}})", 0, "not a string");
  std::string huge = FileOf("{}", 0);
  huge[7] = '\x7f';
  EXPECT_FALSE(SafetensorsFile::Parse(BytesOf(huge)).ok());
  EXPECT_FALSE(SafetensorsFile::Parse({}).ok());
}

std::string Entry(const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":)" + offsets + "}}";
}

TEST(SafetensorsTest, RefusesBadEntries) {
  const std::string good = FileOf(Entry("F32", "[2]", "[0,8]"), 8);
  ASSERT_TRUE(SafetensorsFile::Parse(BytesOf(good)).ok());
  ExpectRefused(Entry("F32", "[2]", "[0,8]"), 7, "within 7");
  ExpectRefused(Entry("F32", "[2]", "[0,8]"), 9, "its tensors 8");
  ExpectRefused(Entry("F32", "[2]", "[4,12]"), 12, "wanted from 0");
  ExpectRefused(Entry("F32", "[2]", "[8,0]"), 8, "wanted 8 bytes");
  ExpectRefused(Entry("F32", "[3]", "[0,8]"), 8, "wanted 12 bytes");
  ExpectRefused(Entry("Q9", "[2]", "[0,8]"), 8, "'Q9'");
  ExpectRefused(Entry("F32", "[-2]", "[0,8]"), 8, "wrong type");
  ExpectRefused(Entry("F32", "[1e3]", "[0,8]"), 8, "wrong type");
  ExpectRefused(Entry("F32", "[2]", "[0,8,9]"), 8, "wrong type");
  ExpectRefused(Entry("F32", "[1073741824,1073741824,1073741824]", "[0,8]"), 8,
                "unusable dimension");
  ExpectRefused(R"({"a":{"dtype":"F32"}})", 0, "wanted dtype");
}

TEST(SafetensorsTest, FlippedBitsNeverCrash) {
  const std::vector<uint8_t> bytes(64);
  const std::vector<SafeTensor> tensors = {
      {"layers.0", "F32", {2, 4}, std::span(bytes).first(32)},
      {"layers.1", "F16", {16}, std::span(bytes).first(32)}};
  std::string file = *SerialiseSafetensors(tensors);
  Random random(3);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    const size_t at = random.Below(file.size() - 64);
    const char bit = static_cast<char>(1 << random.Below(8));
    file[at] ^= bit;
    refused += SafetensorsFile::Parse(BytesOf(file)).ok() ? 0 : 1;
    file[at] ^= bit;
  }
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace edgetune
