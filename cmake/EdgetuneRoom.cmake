# EDGETUNE_PRECOMPILE: the headers that most files include are read once. Such a
# build does not notice a missing #include; the preset dev, without it, does.
if(EDGETUNE_PRECOMPILE)
  include(EdgetunePrecompile)
endif()

# edgetune_unity(TARGET MOST): with EDGETUNE_UNITY up to MOST of its files are
# compiled as one, alike in number, so no two of them may define one name. Files
# must still compile alone, as they do in the preset dev.
function(edgetune_unity TARGET MOST)
  if(NOT EDGETUNE_UNITY)
    return()
  endif()
  get_target_property(files ${TARGET} SOURCES)
  list(LENGTH files count)
  if(count LESS 2)
    return()
  endif()
  math(EXPR units "(${count} + ${MOST} - 1) / ${MOST}")
  math(EXPR batch "(${count} + ${units} - 1) / ${units}")
  set_target_properties(${TARGET} PROPERTIES
    UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${batch})
endfunction()

# edgetune_library(NAME): what the next functions have in common; their ARG_*.
function(edgetune_library NAME)
  add_library(edgetune_${NAME} STATIC ${ARG_SOURCES})
  target_include_directories(edgetune_${NAME} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(edgetune_${NAME} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# edgetune_room(NAME SOURCES a.cc ... DEPS room-or-library ... [UNITY])
# One static, position-independent library a room. NAME is the room's path with
# '/' replaced by '_'; the target is edgetune_NAME, and DEPS that name a room
# are written as edgetune_<room> too.
# UNITY: up to six, as edgetune_unity says.
function(edgetune_room NAME)
  cmake_parse_arguments(ARG "UNITY" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  edgetune_library(${NAME})
  if(EDGETUNE_PRECOMPILE)
    target_precompile_headers(edgetune_${NAME} REUSE_FROM edgetune_precompiled)
  endif()
  if(ARG_UNITY)
    edgetune_unity(edgetune_${NAME} 6)
  endif()
endfunction()

# edgetune_uses_openmp(TARGET ...): compiled with OpenMP, for which no precompiled
# header fits.
function(edgetune_uses_openmp)
  set_target_properties(${ARGN} PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
endfunction()

# edgetune_opens_engine(TARGET): this program opens the engines' libraries on
# demand. They are built together, and never linked.
function(edgetune_opens_engine TARGET)
  add_dependencies(${TARGET} edgetune_fused)
  if(EDGETUNE_TORCH)
    add_dependencies(${TARGET} edgetune_torch)
  endif()
endfunction()

# edgetune_opens_mpi(TARGET): likewise, where it is built.
function(edgetune_opens_mpi TARGET)
  if(EDGETUNE_WITH_MPI)
    add_dependencies(${TARGET} edgetune_mpi)
  endif()
endfunction()

# edgetune_test_code(TARGET): how what only tests use is compiled. What is tested
# keeps its optimisation; the tests' own files compile in half the time without,
# and run as quickly.
function(edgetune_test_code TARGET)
  target_link_libraries(${TARGET} PRIVATE GTest::gmock)
  target_compile_options(${TARGET} PRIVATE -O0)
  if(EDGETUNE_PRECOMPILE)
    target_precompile_headers(${TARGET} REUSE_FROM edgetune_precompiled_test)
  endif()
  edgetune_unity(${TARGET} 12)
endfunction()

# edgetune_test_room(NAME SOURCES a.cc ... DEPS ...): what test programs share, as
# edgetune_NAME. For programs alone, hence compiled as they are.
function(edgetune_test_room NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  edgetune_library(${NAME})
  set_target_properties(edgetune_${NAME} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(edgetune_${NAME} PRIVATE -fPIE)
  edgetune_test_code(edgetune_${NAME})
endfunction()

# edgetune_test(NAME SOURCES a_test.cc ... DEPS ... [LABELS unit] [WHOLE])
# One program a room of tests; every case becomes a CTest test NAME.Suite.Case.
# WHOLE registers the program as one CTest test (for slow process starts).
function(edgetune_test NAME)
  cmake_parse_arguments(ARG "WHOLE" "" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${NAME}_test ${ARG_SOURCES})
  target_include_directories(${NAME}_test PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${NAME}_test PRIVATE ${ARG_DEPS} GTest::gtest_main)
  edgetune_test_code(${NAME}_test)
  target_compile_definitions(${NAME}_test PRIVATE
    EDGETUNE_SOURCE_DIR="${CMAKE_SOURCE_DIR}" EDGETUNE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  set_target_properties(${NAME}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(ARG_WHOLE)
    add_test(NAME ${NAME} COMMAND ${NAME}_test)
    set_tests_properties(${NAME} PROPERTIES LABELS "${ARG_LABELS}")
  else()
    include(GoogleTest)
    gtest_discover_tests(${NAME}_test TEST_PREFIX "${NAME}." DISCOVERY_MODE PRE_TEST
      NO_PRETTY_VALUES
      PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()
