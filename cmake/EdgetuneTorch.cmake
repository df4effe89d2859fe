# One LibTorch, from one root. With EDGETUNE_TORCH_ROOT every library that
# Torch's package file looks up must resolve inside that root: a wheel's
# TorchConfig.cmake otherwise picks up the system's c10 and aborts at start.
if(EDGETUNE_TORCH_ROOT)
  list(PREPEND CMAKE_PREFIX_PATH ${EDGETUNE_TORCH_ROOT})
  set(Torch_DIR ${EDGETUNE_TORCH_ROOT}/share/cmake/Torch CACHE PATH "" FORCE)
  set(Caffe2_DIR ${EDGETUNE_TORCH_ROOT}/share/cmake/Caffe2 CACHE PATH "" FORCE)
  set(TORCH_LIBRARY ${EDGETUNE_TORCH_ROOT}/lib/libtorch.so CACHE FILEPATH "" FORCE)
  set(c10_LIBRARY ${EDGETUNE_TORCH_ROOT}/lib/libc10.so CACHE FILEPATH "" FORCE)
endif()
find_package(Torch REQUIRED)

# Torch's own targets ask for C++14 and carry defines of other subsystems, so
# only its libraries and include folders are taken over.
get_target_property(EDGETUNE_TORCH_INCLUDES torch INTERFACE_INCLUDE_DIRECTORIES)
add_library(edgetune_libtorch INTERFACE)
target_include_directories(edgetune_libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
find_library(EDGETUNE_TORCH_CPU torch_cpu REQUIRED HINTS ${EDGETUNE_TORCH_ROOT}/lib)
find_library(EDGETUNE_C10 c10 REQUIRED HINTS ${EDGETUNE_TORCH_ROOT}/lib)
find_library(EDGETUNE_TORCH_LIB torch REQUIRED HINTS ${EDGETUNE_TORCH_ROOT}/lib)
if(EDGETUNE_TORCH_ROOT)
  foreach(lib EDGETUNE_TORCH_CPU EDGETUNE_C10 EDGETUNE_TORCH_LIB)
    string(FIND "${${lib}}" "${EDGETUNE_TORCH_ROOT}" at)
    if(NOT at EQUAL 0)
      message(FATAL_ERROR "${lib} resolved to ${${lib}}, outside EDGETUNE_TORCH_ROOT=${EDGETUNE_TORCH_ROOT}")
    endif()
  endforeach()
endif()
target_link_libraries(edgetune_libtorch INTERFACE
  -Wl,--no-as-needed ${EDGETUNE_TORCH_LIB} ${EDGETUNE_TORCH_CPU} ${EDGETUNE_C10} -Wl,--as-needed)
