#ifndef EDGETUNE_TESTS_TESTING_BYTES_OF_H_
#define EDGETUNE_TESTS_TESTING_BYTES_OF_H_

#include <cstdint>
#include <span>
#include <string>

namespace edgetune::testing {

// The text as readers of files take it; it must outlive the view.
inline std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_BYTES_OF_H_
