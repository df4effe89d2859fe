# Two precompiled headers, one for rooms and one for test programs, which
# edgetune_room and edgetune_test let their targets reuse. The compiler takes one
# only where the options that its headers depend on are the same. The false alarms
# on std::string that all presets silence as -Wrestrict come by two other names
# here.
add_compile_options(-pthread -Winvalid-pch
  "$<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess;-Wno-stringop-overflow;-Wno-array-bounds>")
add_compile_definitions(FMT_SHARED)
set(COMMON_HEADERS <algorithm> <filesystem> <fstream> <functional> <map> <memory>
  <mutex> <optional> <set> <span> <sstream> <string> <thread> <variant> <vector>
  <absl/status/statusor.h> <absl/time/clock.h> <fmt/format.h>)
if(EDGETUNE_FEDERATION)
  list(APPEND COMMON_HEADERS <google/protobuf/generated_message_reflection.h>
    <google/protobuf/map_field.h> <google/protobuf/message.h>)
endif()

file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cc "")
add_library(edgetune_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
target_precompile_headers(edgetune_precompiled PRIVATE ${COMMON_HEADERS})
# Programs are compiled as position-independent executables, libraries as code
# for shared ones.
add_library(edgetune_precompiled_test OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
target_precompile_headers(edgetune_precompiled_test PRIVATE ${COMMON_HEADERS}
  <gmock/gmock.h> <gtest/gtest.h>)
target_link_libraries(edgetune_precompiled_test PRIVATE GTest::gmock)
set_target_properties(edgetune_precompiled_test PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(edgetune_precompiled_test PRIVATE -fPIE -O0)
