# libFuzzer (preset fuzz): our own code reports coverage, and the build says of
# itself that it must never run anywhere else. Signatures are stubbed by
# tests/fuzz.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "EDGETUNE_FUZZ needs Clang with libFuzzer: cmake --preset fuzz")
endif()
add_compile_options(-fsanitize=fuzzer-no-link
  -fsanitize-coverage-ignorelist=${CMAKE_SOURCE_DIR}/tests/fuzz/not_ours.txt)
# An index beyond a standard container ends the program, also where the preset
# has no AddressSanitizer (fuzz-fast).
add_compile_definitions(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION=1 _GLIBCXX_ASSERTIONS)
