#include "base/terminal_text.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/utf8.h"

namespace edgetune {
namespace {

bool IsObeyed(int32_t code) {
  const bool control = code < 0x20 || (code >= 0x7f && code <= 0x9f);
  const bool order =
      (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return control || order;
}

// With the characters of `kept` as they are.
std::string Escape(std::string_view text, std::string_view kept) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    const std::string_view bytes = text.substr(0, c.length);
    text.remove_prefix(c.length);
    if (c.code < 0) {
      for (const char byte : bytes) {
        out += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
      }
    } else if (!IsObeyed(c.code) || kept.find(bytes) != kept.npos) {
      out += bytes;
    } else {
      out += c.code < 0x80 ? fmt::format("\\x{:02x}", c.code)
                           : fmt::format("\\u{:04x}", c.code);
    }
  }
  return out;
}

}  // namespace

std::string TerminalText(std::string_view text) { return Escape(text, "\n\t"); }

std::string TerminalLine(std::string_view text) { return Escape(text, ""); }

}  // namespace edgetune
