// Is this program one that a sanitizer watches? Then its memory is not the
// product's: what was freed is kept for a while, and shadows come on top.
#ifndef EDGETUNE_TESTS_TESTING_SANITIZED_H_
#define EDGETUNE_TESTS_TESTING_SANITIZED_H_

namespace edgetune::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_SANITIZED_H_
