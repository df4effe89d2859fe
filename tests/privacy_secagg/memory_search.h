#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_MEMORY_SEARCH_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_MEMORY_SEARCH_H_

// Whether a secret lies somewhere in this process's memory. The one who asks
// keeps it hidden, so as not to be found.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "privacy/crypto/secret.h"

namespace edgetune::secagg {

inline constexpr uint8_t kHidden = 0x5A;  // XORed to every byte

// Writable memory, region by region.
inline std::vector<std::span<const char>> WritableMemory() {
  std::vector<std::span<const char>> regions;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, mode) != 3) {
      continue;
    }
    if (std::string_view(mode) != "rw-p") continue;
    regions.emplace_back(reinterpret_cast<const char*>(begin), end - begin);
  }
  return regions;
}

// `kept`: 32 bytes, hidden.
inline bool IsInMemory(const std::string& kept) {
  // Put together a byte at a time and wiped, so that it finds itself once at
  // most: in this array, which does not count.
  char secret[32];
  for (size_t i = 0; i < sizeof(secret); ++i) {
    secret[i] = static_cast<char>(kept[i] ^ kHidden);
  }
  bool found = false;
  for (const auto& region : WritableMemory()) {
    for (const char* at = region.data(); !found;) {
      at = static_cast<const char*>(memmem(
          at, region.data() + region.size() - at, secret, sizeof(secret)));
      if (at == nullptr) break;
      if (at != secret) found = true;
      ++at;
    }
  }
  WipeBytes({reinterpret_cast<uint8_t*>(secret), sizeof(secret)});
  return found;
}

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_MEMORY_SEARCH_H_
