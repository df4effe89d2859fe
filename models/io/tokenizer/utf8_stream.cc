#include "base/utf8.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

}  // namespace

std::string Utf8Stream::Push(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Char c = DecodeUtf8(rest);
    if (c.incomplete) break;
    if (c.code < 0) {
      out += kReplacement;
    } else {
      out.append(rest.substr(0, c.length));
    }
    rest.remove_prefix(c.length);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Stream::Finish() {
  std::string out = pending_.empty() ? "" : kReplacement;
  pending_.clear();
  return out;
}

}  // namespace edgetune
