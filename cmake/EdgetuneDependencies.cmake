# Every third-party library, found in one place. Protobuf and gRPC are found in
# CONFIG mode and before Torch, whose package file would otherwise find others.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
if(EDGETUNE_FEDERATION)
  find_package(Protobuf MODULE REQUIRED)
  find_package(SQLite3 REQUIRED)
  pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
endif()
if(EDGETUNE_FEDERATION AND EDGETUNE_GRPC)
  find_package(gRPC CONFIG REQUIRED)
  find_package(CLI11 CONFIG REQUIRED)
  pkg_check_modules(libarchive REQUIRED IMPORTED_TARGET libarchive)
endif()
# For libedgetune_mpi.so alone, which nothing needs to run on one machine.
set(EDGETUNE_WITH_MPI OFF)
if(EDGETUNE_FEDERATION AND EDGETUNE_GRPC AND NOT EDGETUNE_MPI STREQUAL "OFF")
  if(EDGETUNE_MPI STREQUAL "ON")
    find_package(MPI REQUIRED COMPONENTS C)
  else()
    find_package(MPI QUIET COMPONENTS C)
  endif()
  set(EDGETUNE_WITH_MPI ${MPI_C_FOUND})
endif()
find_package(OpenSSL 3 REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
if(NOT EDGETUNE_FUZZ)  # the fast engine, which no fuzzer reaches
  pkg_check_modules(libhwy REQUIRED IMPORTED_TARGET libhwy)
  # Debian's package file of oneDNN asks for OpenCL's headers, which nothing here
  # includes: the library is found by name.
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES
    IMPORTED_LOCATION "${DNNL_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}")
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
pkg_check_modules(libzstd REQUIRED IMPORTED_TARGET libzstd)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
if(EDGETUNE_TESTS)
  find_package(GTest CONFIG REQUIRED)
endif()
if(EDGETUNE_TORCH)
  include(EdgetuneTorch)
endif()

# -Wrestrict: false alarms on std::string in GCC 12 (GCC bug 105651).
add_compile_options(-Wall -Wextra $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  -Werror=return-type -Wno-unused-parameter)
if(CMAKE_BUILD_TYPE STREQUAL "Sanitize")
  add_compile_options(-O1 -g1 -fno-omit-frame-pointer)
endif()
if(EDGETUNE_SANITIZE)
  add_compile_options(-fsanitize=${EDGETUNE_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${EDGETUNE_SANITIZE})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
endif()
