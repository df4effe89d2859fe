#include "models/io/gguf/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "tests/testing/bytes_of.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void ExpectRefused(const std::string& file, const std::string& message) {
  const auto parsed = GgufFile::Parse(BytesOf(file));
  ASSERT_FALSE(parsed.ok()) << "wanted: " << message;
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
}

// The file's head by hand: the reader is not tested against the writer alone.
class Bytes {
 public:
  template <typename T>
  Bytes& Add(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& Text(std::string_view text) {
    Add<uint64_t>(text.size());
    text_.append(text);
    return *this;
  }
  Bytes& Head(uint64_t tensors, uint64_t values, uint32_t version = 3) {
    text_ = "GGUF";
    return Add(version).Add(tensors).Add(values);
  }
  Bytes& Tensor(std::string_view name, std::vector<uint64_t> dims,
                uint32_t type, uint64_t offset) {
    Text(name).Add<uint32_t>(dims.size());
    for (uint64_t dim : dims) Add(dim);
    return Add(type).Add(offset);
  }
  Bytes& Data(size_t size) {
    text_.append((32 - text_.size() % 32) % 32, '\0').append(size, '\1');
    return *this;
  }
  const std::string& Done() const { return text_; }

 private:
  std::string text_;
};

TEST(GgufTest, ReadsAHandMadeFile) {
  const std::string file = Bytes()
                               .Head(1, 2)
                               .Text("k")
                               .Add<uint32_t>(4)
                               .Add<uint32_t>(7)
                               .Text("s")
                               .Add<uint32_t>(9)
                               .Add<uint32_t>(8)
                               .Add<uint64_t>(2)
                               .Text("x")
                               .Text("")
                               .Tensor("t", {3, 2}, 0, 0)
                               .Data(24)
                               .Done();
  const auto parsed = GgufFile::Parse(BytesOf(file));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*(*parsed)->Count("k"), 7u);
  EXPECT_THAT(*(*parsed)->Strings("s"), ElementsAre("x", ""));
  const GgufTensor* tensor = (*parsed)->FindTensor("t");
  ASSERT_NE(tensor, nullptr);
  EXPECT_THAT(tensor->shape, ElementsAre(2, 3));  // dims reversed
  EXPECT_EQ(tensor->data.size(), 24u);
  EXPECT_EQ(tensor->data[0], 1);
}

TEST(GgufTest, WriterKeepsEveryType) {
  GgufWriter writer;
  writer.Set("a", uint8_t{200});
  writer.Set("b", int64_t{-3});
  writer.Set("c", 0.1);
  writer.Set("d", true);
  writer.Set("e", "text");
  writer.Set("e", "newer");
  writer.SetArray("f", std::vector<int32_t>{-1, 2});
  writer.SetArray("g", std::vector<bool>{true, false});
  const std::string file = *writer.Serialise();
  const auto parsed = *GgufFile::Parse(BytesOf(file));
  EXPECT_EQ(*parsed->Count("a"), 200u);
  EXPECT_THAT(std::string(parsed->Count("b").status().message()),
              HasSubstr("-3"));
  EXPECT_EQ(*parsed->Number("c"), 0.1);
  EXPECT_TRUE(*parsed->Bool("d"));
  EXPECT_EQ(*parsed->String("e"), "newer");
  EXPECT_THAT(*parsed->Int32s("f"), ElementsAre(-1, 2));
  EXPECT_THAT(std::string(parsed->Int32s("g").status().message()),
              HasSubstr("array of bool"));
  EXPECT_THAT(std::string(parsed->String("nope").status().message()),
              HasSubstr("nope is missing"));
}

TEST(GgufTest, WriterRefusesWhatNoReaderTakes) {
  const std::vector<float> values(4);
  for (const auto& [name, shape] :
       std::vector<std::pair<std::string, std::vector<int64_t>>>{
           {"t", {5}}, {"t", {}}, {"t", {0, 4}}, {std::string(64, 'n'), {4}}}) {
    GgufWriter writer;
    writer.AddTensor(name, shape, values);
    EXPECT_FALSE(writer.Serialise().ok()) << name << shape.size();
  }
  GgufWriter twice;
  twice.AddTensor("t", {4}, values);
  twice.AddTensor("t", {4}, values);
  EXPECT_FALSE(twice.Serialise().ok());
}

TEST(GgufTest, RefusesOtherFilesAndVersions) {
  ExpectRefused("", "not a GGUF");
  ExpectRefused("PK\3\4...........", "not a GGUF");
  ExpectRefused(Bytes().Head(0, 0, 2).Done(), "version 2");
  ExpectRefused(Bytes().Head(0, 0, 0x03000000).Done(), "big-endian");
}

TEST(GgufTest, RefusesHugeCountsBeforeAllocating) {
  const uint64_t huge = uint64_t{1} << 62;
  ExpectRefused(Bytes().Head(huge, 0).Done(), "claims");
  ExpectRefused(Bytes().Head(0, huge).Done(), "claims");
  Bytes text = Bytes().Head(0, 1).Add<uint64_t>(huge).Data(64);
  ExpectRefused(text.Done(), "at most");
  auto array = [](uint32_t element, uint64_t count) {
    return Bytes()
        .Head(0, 1)
        .Text("k")
        .Add<uint32_t>(9)
        .Add(element)
        .Add(count)
        .Data(64)
        .Done();
  };
  ExpectRefused(array(4, huge), "at most");
  ExpectRefused(array(4, 1 << 30), "truncated");
  ExpectRefused(array(8, 1 << 30), "");
}

TEST(GgufTest, RefusesBadValues) {
  auto value = [](uint32_t type) {
    return Bytes()
        .Head(0, 1)
        .Text("k")
        .Add(type)
        .Add<uint64_t>(9)
        .Data(32)
        .Done();
  };
  ExpectRefused(value(13), "unknown type 13");
  ExpectRefused(value(7), "bool of 9");
  ExpectRefused(Bytes()
                    .Head(0, 1)
                    .Text("k")
                    .Add<uint32_t>(9)
                    .Add<uint32_t>(9)
                    .Add<uint64_t>(1)
                    .Data(32)
                    .Done(),
                "array of arrays");
  ExpectRefused(Bytes()
                    .Head(0, 2)
                    .Text("k")
                    .Add<uint32_t>(0)
                    .Add<uint8_t>(1)
                    .Text("k")
                    .Add<uint32_t>(0)
                    .Add<uint8_t>(1)
                    .Done(),
                "'k' appears twice");
  auto alignment = [](uint32_t n) {
    return Bytes()
        .Head(0, 1)
        .Text("general.alignment")
        .Add<uint32_t>(4)
        .Add(n)
        .Done();
  };
  ExpectRefused(alignment(24), "power of two");
  ExpectRefused(alignment(0), "power of two");
}

TEST(GgufTest, RefusesBadTensors) {
  auto one = [](std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    return Bytes()
        .Head(1, 0)
        .Tensor("t", std::move(dims), type, offset)
        .Data(64)
        .Done();
  };
  ASSERT_TRUE(GgufFile::Parse(BytesOf(one({16}, 0, 0))).ok());
  ExpectRefused(one({17}, 0, 0), "truncated");
  ExpectRefused(one({16}, 0, 32), "wanted 0");
  ExpectRefused(one({16}, 5, 0), "type 5");
  ExpectRefused(one({16}, 10, 0), "Q2_K");
  ExpectRefused(one({16}, 3, 0), "blocks of 32");
  ExpectRefused(one({}, 0, 0), "0 dimensions");
  ExpectRefused(one({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  ExpectRefused(one({0}, 0, 0), "dimension 0");
  ExpectRefused(one({uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0),
                "unusable dimension");
  ExpectRefused(Bytes()
                    .Head(1, 0)
                    .Tensor(std::string(64, 'n'), {1}, 0, 0)
                    .Data(32)
                    .Done(),
                "64 bytes");
  ExpectRefused(Bytes()
                    .Head(2, 0)
                    .Tensor("t", {8}, 0, 0)
                    .Tensor("t", {8}, 0, 32)
                    .Data(64)
                    .Done(),
                "appears twice");
  ExpectRefused(Bytes()
                    .Head(2, 0)
                    .Tensor("a", {8}, 0, 0)
                    .Tensor("b", {8}, 0, 64)
                    .Data(96)
                    .Done(),
                "wanted 32");
}

TEST(GgufTest, EveryTruncationIsAnErrorAndNeverACrash) {
  const std::string file = *testing::MakeTinyModel().Serialise();
  const auto whole = *GgufFile::Parse(BytesOf(file));
  const size_t data = whole->tensors()[0].data.data() - BytesOf(file).data();
  // The last tensor needs no padding behind it.
  const size_t end = whole->tensors().back().data.data() +
                     whole->tensors().back().data.size() - BytesOf(file).data();
  for (size_t size = 0; size < end; size += size < data ? 7 : 1009) {
    // Its own allocation, so that a sanitizer sees any read behind the end.
    const std::vector<uint8_t> part(file.begin(), file.begin() + size);
    EXPECT_FALSE(GgufFile::Parse(part).ok()) << size;
  }
}

TEST(GgufTest, FlippedBitsInTheHeaderNeverCrash) {
  testing::TinyModelOptions options;
  options.layers = 1;
  std::string file = *testing::MakeTinyModel(options).Serialise();
  const auto whole = *GgufFile::Parse(BytesOf(file));
  const size_t data = whole->tensors()[0].data.data() - BytesOf(file).data();
  Random random(5);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    const size_t at = random.Below(data);
    const char bit = static_cast<char>(1 << random.Below(8));
    file[at] ^= bit;
    refused += GgufFile::Parse(BytesOf(file)).ok() ? 0 : 1;
    file[at] ^= bit;
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace edgetune
