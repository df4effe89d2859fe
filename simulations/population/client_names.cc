#include "simulations/population/client_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace edgetune {
namespace {

constexpr size_t kLongestStem = 48;  // leaves 16 for "-2" and the like

bool IsSmall(char c) { return c >= 'a' && c <= 'z'; }
bool IsCapital(char c) { return c >= 'A' && c <= 'Z'; }
bool MayBegin(char c) { return IsSmall(c) || (c >= '0' && c <= '9'); }
bool MayStand(char c) {
  return MayBegin(c) || c == '.' || c == '_' || c == '-';
}

std::string StemOf(std::string_view value) {
  std::string stem;
  for (char c : value.substr(0, kLongestStem)) {
    if (IsCapital(c)) c = static_cast<char>(c - 'A' + 'a');
    stem += MayStand(c) ? c : '_';
  }
  if (stem.empty() || !MayBegin(stem[0])) stem.insert(0, "x");
  stem.resize(std::min(stem.size(), kLongestStem));
  return stem;
}

// Gives every name once.
class Names {
 public:
  bool Take(const std::string& name) { return taken_.insert(name).second; }

  std::string TakeLike(const std::string& stem) {
    if (Take(stem)) return stem;
    // Remembered, or many equal stems would take quadratic time.
    size_t& number = last_number_[stem];
    number = std::max<size_t>(number, 1);
    while (true) {
      std::string name = fmt::format("{}-{}", stem, ++number);
      if (Take(name)) return name;
    }
  }

 private:
  std::unordered_set<std::string> taken_;
  std::unordered_map<std::string, size_t> last_number_;
};

}  // namespace

std::vector<std::string> NumberedNames(size_t count) {
  const size_t digits = std::max<size_t>(4, fmt::format("{}", count).size());
  std::vector<std::string> names;
  for (size_t i = 1; i <= count; ++i) {
    names.push_back(fmt::format("client-{:0{}}", i, digits));
  }
  return names;
}

std::vector<std::string> NamesOf(std::span<const std::string_view> values) {
  std::vector<std::string> names(values.size());
  Names free;
  for (size_t i = 0; i < values.size(); ++i) {
    std::string stem = StemOf(values[i]);
    if (stem == values[i] && free.Take(stem)) names[i] = std::move(stem);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (names[i].empty()) names[i] = free.TakeLike(StemOf(values[i]));
  }
  return names;
}

}  // namespace edgetune
