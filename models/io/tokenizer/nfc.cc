#include "models/io/tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace edgetune {
namespace {

// The lead byte of U+0300, below which nothing changes.
constexpr uint8_t kFirstCandidate = 0xCC;

constexpr auto kForm =
    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
constexpr utf8proc_ssize_t kMaxDecomposition = 32;  // far above Unicode's 4

// The end of the run that begins at `at`: ASCII characters and ill-formed bytes
// neither join what is before them nor move.
size_t RunEnd(std::string_view raw, size_t at) {
  bool well_formed = true;
  for (bool first = true; at < raw.size(); first = false) {
    const Utf8Char c = DecodeUtf8(raw.substr(at));
    if (!first && (c.code < 0x80 || !well_formed)) break;
    well_formed = c.code >= 0;
    at += c.length;
  }
  return at;
}

bool MayChange(std::string_view run) {
  return std::any_of(run.begin(), run.end(), [](char c) {
    return static_cast<uint8_t>(c) >= kFirstCandidate;
  });
}

int CombiningClass(int32_t code) {
  return utf8proc_get_property(code)->combining_class;
}

// The canonical decomposition, in canonical order. Sorted here: the library's
// own order takes quadratic time in the length of a run of marks. Empty where
// `run` is not UTF-8.
std::vector<int32_t> Decomposed(std::string_view run) {
  std::vector<int32_t> codes;
  while (!run.empty()) {
    const Utf8Char c = DecodeUtf8(run);
    if (c.code < 0) return {};
    std::array<utf8proc_int32_t, kMaxDecomposition> parts;
    const auto count = utf8proc_decompose_char(c.code, parts.data(),
                                               parts.size(), kForm, nullptr);
    if (count < 0 || count > kMaxDecomposition) return {};
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
    run.remove_prefix(c.length);
  }
  const auto is_mark = [](int32_t code) { return CombiningClass(code) > 0; };
  for (auto at = codes.begin(); at != codes.end();) {
    const auto begin = std::find_if(at, codes.end(), is_mark);
    at = std::find_if_not(begin, codes.end(), is_mark);
    std::stable_sort(begin, at, [](int32_t a, int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
  }
  return codes;
}

// `run` itself where it is not UTF-8.
std::string Normalised(std::string_view run) {
  std::vector<int32_t> codes = Decomposed(run);
  const auto count = utf8proc_normalize_utf32(
      codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), kForm);
  if (count <= 0) return std::string(run);
  std::string out;
  for (auto i = 0; i < count; ++i) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto size = utf8proc_encode_char(codes[i], bytes.data());
    out.append(bytes.begin(), bytes.begin() + size);
  }
  return out;
}

}  // namespace

NfcText::NfcText(std::string_view raw) : text_(raw) {
  if (!MayChange(raw)) return;
  size_t copied = 0;  // raw bytes that are in buffer_
  for (size_t at = 0, end = 0; at < raw.size(); at = end) {
    end = RunEnd(raw, at);
    const std::string_view run = raw.substr(at, end - at);
    if (!MayChange(run)) continue;
    const std::string normalised = Normalised(run);
    if (normalised == run) continue;
    buffer_.append(raw.substr(copied, at - copied));
    const size_t begin = buffer_.size();
    buffer_.append(normalised);
    changes_.push_back({begin, buffer_.size(), at, end});
    copied = end;
  }
  if (changes_.empty()) return;
  buffer_.append(raw.substr(copied));
  text_ = buffer_;
}

// The last change that begins at or before `at`, or null.
const NfcText::Change* NfcText::Before(size_t at) const {
  const auto after =
      std::upper_bound(changes_.begin(), changes_.end(), at,
                       [](size_t a, const Change& b) { return a < b.begin; });
  return after == changes_.begin() ? nullptr : &*(after - 1);
}

size_t NfcText::RawBegin(size_t begin) const {
  const Change* change = Before(begin);
  if (change == nullptr) return begin;
  if (begin < change->end) return change->raw_begin;
  return begin - change->end + change->raw_end;
}

size_t NfcText::RawEnd(size_t end) const {
  const Change* change = end == 0 ? nullptr : Before(end - 1);
  if (change == nullptr) return end;
  if (end <= change->end) return change->raw_end;
  return end - change->end + change->raw_end;
}

}  // namespace edgetune
