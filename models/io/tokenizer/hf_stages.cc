#include "models/io/tokenizer/hf_stages.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

using nlohmann::json;

// The expressions, as formats design section 4 spells them.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr struct {
  std::string_view pre;
  std::string_view regex;
} kSplits[] = {{"gpt-2", kGpt2}, {"llama-bpe", kLlama}, {"qwen2", kQwen2}};

std::string TypeOf(const json& stage) {
  const json& type = Member(stage, "type");
  return type.is_string() ? type.get<std::string>() : "?";
}

// The stages behind one another; a Sequence is its parts, null is none.
std::vector<const json*> Flatten(const json& stage, const char* parts) {
  std::vector<const json*> out;
  if (stage.is_null()) return out;
  if (TypeOf(stage) != "Sequence" || !Member(stage, parts).is_array()) {
    return {&stage};
  }
  for (const json& part : Member(stage, parts)) {
    for (const json* each : Flatten(part, parts)) out.push_back(each);
  }
  return out;
}

absl::Status Refuse(std::string_view what, const json& value) {
  return absl::InvalidArgumentError(
      fmt::format("{} {} is not supported", what, Shown(value)));
}

// Line breaks spelt out: they may stand in the JSON string as themselves.
std::string NormalisedRegex(std::string_view regex) {
  std::string out;
  for (char c : regex) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out;
}

// All matches as pieces, in one of the two ways to say so; the expressions
// leave nothing between their matches.
absl::StatusOr<std::string> PreOfSplit(const json& split) {
  const json& regex_text = Member(Member(split, "pattern"), "Regex");
  const json& behavior = Member(split, "behavior");
  const bool invert = Flag(split, "invert", false);
  if ((behavior != "Isolated" || invert) &&
      (behavior != "Removed" || !invert)) {
    return Refuse("pre_tokenizer Split with behavior", behavior);
  }
  if (regex_text.is_string()) {
    const std::string regex = NormalisedRegex(regex_text.get<std::string>());
    for (const auto& known : kSplits) {
      if (known.regex == regex) return std::string(known.pre);
    }
  }
  return Refuse("pre_tokenizer Split with pattern", Member(split, "pattern"));
}

absl::Status CheckByteLevel(const json& stage, bool use_regex) {
  if (TypeOf(stage) != "ByteLevel") {
    return Refuse("pre_tokenizer", stage);
  }
  if (Flag(stage, "add_prefix_space", true)) {
    return absl::InvalidArgumentError(
        "pre_tokenizer ByteLevel with add_prefix_space is not supported");
  }
  if (Flag(stage, "use_regex", true) == use_regex) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("pre_tokenizer ByteLevel with use_regex {} in this place is "
                  "not supported",
                  !use_regex));
}

// TemplateProcessing: A, or one token and A; what it does to pairs of texts
// does not matter here.
absl::StatusOr<std::optional<int32_t>> LeadingIdOf(const json& stage) {
  const json& single = Member(stage, "single");
  const bool text = single.is_array() && !single.empty() &&
                    single.size() <= 2 &&
                    Member(Member(single.back(), "Sequence"), "id") == "A";
  if (!text) return Refuse("post_processor TemplateProcessing of", single);
  if (single.size() == 1) return std::nullopt;
  const json& name = Member(Member(single.front(), "SpecialToken"), "id");
  if (!name.is_string()) {
    return Refuse("post_processor TemplateProcessing of", single);
  }
  const json& ids = Member(
      Member(Member(stage, "special_tokens"), name.get<std::string>()), "ids");
  const bool one = ids.is_array() && ids.size() == 1 &&
                   ids[0].is_number_unsigned() &&
                   ids[0].get<uint64_t>() < (uint64_t{1} << 31);
  if (!one) return Refuse("post_processor TemplateProcessing with ids", ids);
  return ids[0].get<int32_t>();
}

}  // namespace

const json& Member(const json& object, std::string_view key) {
  static const json* const kNull = new json();
  if (!object.is_object()) return *kNull;
  const auto member = object.find(key);
  return member == object.end() ? *kNull : *member;
}

bool Flag(const json& object, std::string_view key, bool absent) {
  const json& member = Member(object, key);
  if (member.is_null()) return absent;
  return member.is_boolean() ? member.get<bool>() : !absent;
}

std::string Shown(const json& value) {
  std::string text =
      value.is_string()
          ? value.get<std::string>()
          : value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 400) text = text.substr(0, 400) + "...";
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return "'" + text + "'";
}

absl::StatusOr<std::string> PreOfStages(const json& pre_tokenizer) {
  const auto stages = Flatten(pre_tokenizer, "pretokenizers");
  if (stages.empty() || stages.size() > 2) {
    return Refuse("pre_tokenizer", pre_tokenizer);
  }
  const std::string first = stages.size() == 2 ? TypeOf(*stages[0]) : "";
  if (first == "Split") {
    EDGETUNE_ASSIGN_OR_RETURN(std::string pre, PreOfSplit(*stages[0]));
    EDGETUNE_RETURN_IF_ERROR(CheckByteLevel(*stages[1], false));
    return pre;
  }
  if (first == "Digits" && !Flag(*stages[0], "individual_digits", false)) {
    return absl::InvalidArgumentError(
        "pre_tokenizer Digits without individual_digits is not supported");
  }
  if (first != "" && first != "Digits") {
    return Refuse("pre_tokenizer", pre_tokenizer);
  }
  EDGETUNE_RETURN_IF_ERROR(CheckByteLevel(*stages.back(), true));
  return std::string(first == "Digits" ? "smollm" : "gpt-2");
}

json StagesOf(PreTokenizer kind) {
  const bool split =
      kind == PreTokenizer::kLlamaBpe || kind == PreTokenizer::kQwen2;
  const json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", !split}};
  if (kind == PreTokenizer::kGpt2) return bytes;
  json first = {{"type", "Digits"}, {"individual_digits", true}};
  if (split) {
    first = {{"type", "Split"},
             {"pattern",
              {{"Regex", kind == PreTokenizer::kQwen2 ? kQwen2 : kLlama}}},
             {"behavior", "Isolated"},
             {"invert", false}};
  }
  return {{"type", "Sequence"}, {"pretokenizers", json::array({first, bytes})}};
}

absl::StatusOr<bool> IsNfc(const json& normalizer) {
  bool nfc = false;
  for (const json* stage : Flatten(normalizer, "normalizers")) {
    if (TypeOf(*stage) != "NFC") return Refuse("normalizer", *stage);
    nfc = true;
  }
  return nfc;
}

absl::StatusOr<std::optional<int32_t>> LeadingId(const json& post_processor) {
  std::optional<int32_t> id;
  for (const json* stage : Flatten(post_processor, "processors")) {
    // Changes offsets, not ids.
    if (TypeOf(*stage) == "ByteLevel") continue;
    if (TypeOf(*stage) != "TemplateProcessing" || id.has_value()) {
      return Refuse("post_processor", *stage);
    }
    EDGETUNE_ASSIGN_OR_RETURN(id, LeadingIdOf(*stage));
  }
  return id;
}

absl::Status CheckDecoder(const json& decoder) {
  for (const json* stage : Flatten(decoder, "decoders")) {
    if (TypeOf(*stage) != "ByteLevel") return Refuse("decoder", *stage);
  }
  return absl::OkStatus();
}

}  // namespace edgetune
