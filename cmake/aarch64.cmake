# Toolchain file: 64-bit Arm, compiled on another machine and run there by
# qemu-user. EDGETUNE_ARM64_ROOT, a cache entry or, the first time, a variable of
# the environment: Debian's arm64 packages, unpacked (`./dev build arm64` does so).
set(EDGETUNE_ARM64_ROOT "$ENV{EDGETUNE_ARM64_ROOT}" CACHE PATH "Unpacked arm64 packages")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EDGETUNE_ARM64_ROOT)
set(CMAKE_FIND_ROOT_PATH ${EDGETUNE_ARM64_ROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${EDGETUNE_ARM64_ROOT})
set(ENV{PKG_CONFIG_LIBDIR}
  ${EDGETUNE_ARM64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${EDGETUNE_ARM64_ROOT}/usr/share/pkgconfig)
set(edgetune_libraries
  ${EDGETUNE_ARM64_ROOT}/usr/lib/aarch64-linux-gnu:${EDGETUNE_ARM64_ROOT}/lib/aarch64-linux-gnu)
foreach(kind EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT -Wl,-rpath-link,${edgetune_libraries})
endforeach()
set(CMAKE_CROSSCOMPILING_EMULATOR
  qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=${edgetune_libraries})
