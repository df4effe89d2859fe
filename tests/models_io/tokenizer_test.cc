#include "models/io/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"
#include "base/utf8.h"
#include "models/io/model_file.h"
#include "models/io/tokenizer/byte_alphabet.h"
#include "models/io/tokenizer/pre_tokenizer.h"
#include "tests/models_io/vector_file.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Bytes 'a'..'e' but no other letter; two merges.
TokenizerData SmallData() {
  TokenizerData data;
  data.pre = "gpt-2";
  data.tokens = {"<s>", "a", "b", "c", "d", "ab", "abc", "<tool>", "Ġ"};
  data.types = {3, 1, 1, 1, 1, 1, 1, 4, 1};
  data.merges = {"a b", "ab c"};
  return data;
}

std::unique_ptr<Tokenizer> Small() {
  return std::move(Tokenizer::Make(SmallData())).value();
}

std::unique_ptr<ModelFile> Tiny() {
  const testing::ScratchDirectory directory;
  const std::string path = directory.File("tiny.gguf");
  EXPECT_TRUE(testing::WriteTinyModel(path).ok());
  return std::move(ModelFile::Open(path)).value();
}

std::vector<size_t> Cut(PreTokenizer kind, std::string_view text) {
  std::vector<size_t> ends;
  PieceCutter cutter(kind, text);
  while (ends.empty() || ends.back() < text.size()) {
    ends.push_back(cutter.Next());
  }
  return ends;
}

TEST(PreTokenizerTest, CutsAsTheTokenizersLibraryDoes) {
  // pieces.tsv: made with PyPI tokenizers (make_tokenizer_vectors.py).
  const auto rows = testing::ReadVectors("pieces.tsv");
  ASSERT_EQ(rows.size(), 450u);
  for (const auto& row : rows) {
    const auto kind = PreTokenizerOf(row[0]);
    ASSERT_TRUE(kind.has_value()) << row[0];
    EXPECT_EQ(Cut(*kind, *FromHex(row[1])), testing::Numbers<size_t>(row[2]))
        << row[0] << " " << *FromHex(row[1]);
  }
}

TEST(PreTokenizerTest, SmollmKeepsEachNumberAlone) {
  EXPECT_THAT(Cut(PreTokenizer::kSmollm, "a  1"), ElementsAre(1, 3, 4));
  EXPECT_THAT(Cut(PreTokenizer::kGpt2, "a  1"), ElementsAre(1, 2, 4));
}

TEST(TokenizerTest, MergesLowestRankFirst) {
  EXPECT_THAT(Small()->Encode("abcab", false), ElementsAre(6, 5));
  EXPECT_THAT(Small()->Encode("bcd", false), ElementsAre(2, 3, 4));
}

TEST(TokenizerTest, DropsBytesWithoutTokenAndKeepsOffsets) {
  const auto pieces = Small()->EncodeWithOffsets("a\x04z d", false);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].id, 1);
  EXPECT_EQ(pieces[1].id, 8);
  EXPECT_EQ(pieces[1].begin, 3u);
  EXPECT_EQ(pieces[2].id, 4);
  EXPECT_EQ(pieces[2].end, 5u);
}

TEST(TokenizerTest, ControlTokensAreTextUnlessAskedFor) {
  EXPECT_THAT(Small()->Encode("a<s>b", true), ElementsAre(1, 0, 2));
  EXPECT_THAT(Small()->Encode("a<s>b", false), ElementsAre(1, 2));
  EXPECT_THAT(Small()->Encode("a<tool>b", false), ElementsAre(1, 7, 2));
}

TEST(TokenizerTest, DecodeLeavesOutControlAndForeignIds) {
  const std::vector<int32_t> ids = {0, 6, 99, -5, 7, 8};
  EXPECT_EQ(Small()->Decode(ids), "abc<tool> ");
  EXPECT_EQ(Small()->Decode(ids, true), "<s>abc<tool> ");
}

TEST(TokenizerTest, DecodeUndoesEncodeForAnyBytes) {
  const auto model = Tiny();
  std::string text = "the and of\n\n  12 \xC3\xA9 ";
  for (int i = 0; i < 600; ++i) text.push_back(static_cast<char>(i * 73));
  const Tokenizer& tokenizer = model->tokenizer();
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, false)), text);
  size_t at = 0;
  for (const auto& piece : tokenizer.EncodeWithOffsets(text, false)) {
    EXPECT_EQ(piece.begin, at);
    at = piece.end;
  }
  EXPECT_EQ(at, text.size());
}

// A token for each of these characters' bytes and nothing else.
TokenizerData Letters(std::string_view letters) {
  TokenizerData data;
  data.pre = "qwen2";
  for (const char byte : letters) {
    const auto token = kByteAlphabet.Utf8Of(static_cast<uint8_t>(byte));
    data.tokens.push_back(token);
    data.types.push_back(1);
  }
  return data;
}

TEST(TokenizerTest, NfcComposesAndKeepsTheOffsetsOfTheRawText) {
  TokenizerData data = Letters("xe\xC3\xA9\xCC\x81");
  const std::string raw = "xe\xCC\x81x";
  EXPECT_THAT((*Tokenizer::Make(data))->Encode(raw, false),
              ElementsAre(0, 1, 4, 5, 0));
  data.nfc = true;
  const auto tokenizer = std::move(Tokenizer::Make(data)).value();
  const auto pieces = tokenizer->EncodeWithOffsets(raw, false);
  ASSERT_EQ(pieces.size(), 4u);
  EXPECT_THAT(tokenizer->Encode(raw, false), ElementsAre(0, 2, 3, 0));
  EXPECT_EQ(pieces[1].begin, 1u);
  EXPECT_EQ(pieces[2].end, 4u);
  EXPECT_EQ(pieces[3].begin, 4u);
}

TEST(TokenizerTest, ManyMarksTakeNoQuadraticTime) {
  TokenizerData data = Letters("e\xCC\x81\x96");
  data.nfc = true;
  std::string raw = "e";
  for (int i = 0; i < 1 << 18; ++i) raw += "\xCC\x81\xCC\x96";
  const auto ids = (*Tokenizer::Make(data))->Encode(raw, false);
  // One of them joins the letter, which has no token then.
  ASSERT_EQ(ids.size(), (1u << 20) - 2);
  EXPECT_EQ(ids[1], 3);  // marks below the letter come first
  EXPECT_EQ(ids.back(), 2);
}

TEST(TokenizerTest, NfcLeavesBytesThatAreNoText) {
  TokenizerData data = Letters("\xFF\xC3\xA9\xCC");
  data.nfc = true;
  const std::string raw = "\xFF\xC3\xA9\xCC\xFF";
  EXPECT_THAT((*Tokenizer::Make(data))->Encode(raw, false),
              ElementsAre(0, 1, 2, 3, 0));
}

TEST(TokenizerTest, AddedTokensAreSoughtBeforeOrAfterNormalising) {
  TokenizerData data = Letters("e\xCC\x81");
  data.nfc = true;
  data.tokens.push_back("\xC3\xA9");
  data.types.push_back(4);
  EXPECT_THAT((*Tokenizer::Make(data))->Encode("e\xCC\x81", false),
              ElementsAre());  // the composed bytes have no tokens
  data.after_normalizing = {3};
  EXPECT_THAT((*Tokenizer::Make(data))->Encode("e\xCC\x81", false),
              ElementsAre(3));
}

TEST(TokenizerTest, TheLongestOfSeveralAddedTokensWins) {
  TokenizerData data = SmallData();
  data.tokens.push_back("<tool>s");
  data.types.push_back(4);
  EXPECT_THAT((*Tokenizer::Make(data))->Encode("<tool>sa<tool>", false),
              ElementsAre(9, 1, 7));
}

TEST(TokenizerTest, LongPieceTakesNoQuadraticTime) {
  const auto model = Tiny();
  std::string text;
  while (text.size() < 1 << 20) text += "in";
  EXPECT_EQ(model->tokenizer().Encode(text, false).size(), text.size() / 2);
}

TEST(TokenizerTest, IgnoringMergesTakesAWholePieceThatIsAToken) {
  TokenizerData data = SmallData();
  data.tokens.push_back("dcb");  // no merge leads here
  data.types.push_back(1);
  EXPECT_THAT((*Tokenizer::Make(data))->Encode("dcb", false),
              ElementsAre(4, 3, 2));
  data.ignore_merges = true;
  EXPECT_THAT((*Tokenizer::Make(data))->Encode("dcb", false), ElementsAre(9));
}

void ExpectRefused(const TokenizerData& data, const std::string& message) {
  const auto status = Tokenizer::Make(data).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(TokenizerTest, RefusesWhatItCannotMean) {
  TokenizerData data = SmallData();
  data.pre = "deepseek-v3";
  ExpectRefused(data, "deepseek-v3");
  data = SmallData();
  data.tokens[3] = "a";
  ExpectRefused(data, "tokens 1 and 3");
  data = SmallData();
  data.merges.push_back("a d");
  ExpectRefused(data, "merge 2");
  data.merges.back() = "nogap";
  ExpectRefused(data, "merge 2");
  data = SmallData();
  data.eos = 9;
  ExpectRefused(data, "id 9");
  data = SmallData();
  data.types.pop_back();
  ExpectRefused(data, "8 token types");
  data.tokens.clear();
  ExpectRefused(data, "no usable tokens");
}

TEST(Utf8StreamTest, HoldsBackAnIncompleteCharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Push("a\xE4\xB8"), "a");
  EXPECT_EQ(stream.Push("\xAD!"), "\xE4\xB8\xAD!");
  EXPECT_EQ(stream.Push("\xF0\x9F"), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(Utf8StreamTest, GivesAnEmojiInAnyTwoPartsOnce) {
  const std::string emoji = "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB";
  for (size_t cut = 0; cut <= emoji.size(); ++cut) {
    Utf8Stream stream;
    std::string out = stream.Push(emoji.substr(0, cut));
    out += stream.Push(emoji.substr(cut));
    EXPECT_EQ(out + stream.Finish(), emoji) << cut;
  }
}

TEST(Utf8StreamTest, AnyBytesInAnyPartsGiveTheSameValidText) {
  std::string bytes;
  for (int i = 0; i < 4000; ++i) {
    bytes.push_back(static_cast<char>(i * 167 ^ i >> 3));
  }
  Utf8Stream whole, parts;
  std::string wanted = whole.Push(bytes);
  wanted += whole.Finish();
  std::string got;
  for (const char byte : bytes) got += parts.Push({&byte, 1});
  got += parts.Finish();
  EXPECT_EQ(got, wanted);
  for (std::string_view rest = got; !rest.empty();) {
    const Utf8Char c = DecodeUtf8(rest);
    ASSERT_GE(c.code, 0);
    rest.remove_prefix(c.length);
  }
}

TEST(Utf8StreamTest, ReplacesInvalidBytesAtOnce) {
  // Unicode 15, table 3-11: six replacements and the letters between.
  Utf8Stream stream;
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(stream.Push("a\xF1\x80\x80\xE1\x80\xC2"
                        "b\x80"
                        "c\x80\xBF"
                        "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(stream.Push("\xED\xA0\x80"), r + r + r);  // a surrogate
}

}  // namespace
}  // namespace edgetune
