#include "tests/engines/allocation_counter.h"

#include <dlfcn.h>
#include <errno.h>
#include <fmt/format.h>
#include <link.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

// glibc's own, which the replacements hand on to.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* data, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* data);
}

namespace edgetune::testing {
namespace {

// Plain numbers, which need no constructor: allocations come before main.
constinit std::atomic<int64_t> libraries, others, live;
constinit std::array<std::atomic<void*>, 256> callers;

struct Code {
  uintptr_t begin = 0, end = 0;
};

int FindLibraries(dl_phdr_info* info, size_t, void* out) {
  const char* name = std::strrchr(info->dlpi_name, '/');
  if (name == nullptr || (std::strncmp(name, "/libdnnl.", 9) != 0 &&
                          std::strncmp(name, "/libgomp.", 9) != 0)) {
    return 0;
  }
  auto* const found = static_cast<std::array<Code, 2>*>(out);
  Code& code = (*found)[(*found)[0].end == 0 ? 0 : 1];
  code.begin = info->dlpi_addr;
  for (size_t i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    code.end = std::max<uintptr_t>(
        code.end, info->dlpi_addr + header.p_vaddr + header.p_memsz);
  }
  return 0;
}

bool IsOfALibrary(const void* caller) {
  static const std::array<Code, 2> code = [] {
    std::array<Code, 2> found;
    dl_iterate_phdr(&FindLibraries, &found);
    return found;
  }();
  const auto address = reinterpret_cast<uintptr_t>(caller);
  return std::ranges::any_of(code, [&](const Code& part) {
    return address >= part.begin && address < part.end;
  });
}

void* Counted(void* data, void* caller) {
  if (data == nullptr) return data;
  live += static_cast<int64_t>(malloc_usable_size(data));
  if (IsOfALibrary(caller)) {
    ++libraries;
  } else {
    callers[static_cast<size_t>(others++) % callers.size()] = caller;
  }
  return data;
}

void Uncount(void* data) {
  if (data != nullptr) live -= static_cast<int64_t>(malloc_usable_size(data));
}

void* New(size_t size, size_t alignment, void* caller) {
  void* const data = alignment > alignof(std::max_align_t)
                         ? __libc_memalign(alignment, size)
                         : __libc_malloc(std::max<size_t>(size, 1));
  if (data == nullptr) throw std::bad_alloc();
  return Counted(data, caller);
}

}  // namespace

Allocations CountAllocations() { return {libraries, others, live}; }

std::string LastCallers(int64_t count) {
  std::string text;
  const int64_t all = others;
  const auto most = static_cast<int64_t>(callers.size());
  for (int64_t i = all - 1; i >= all - std::min(count, most); --i) {
    const char* caller = static_cast<const char*>(
        callers[static_cast<size_t>(i) % callers.size()].load());
    Dl_info info = {};
    dladdr(caller, &info);
    text += fmt::format("{}+{:#x}\n",
                        info.dli_fname == nullptr ? "?" : info.dli_fname,
                        caller - static_cast<const char*>(info.dli_fbase));
  }
  return text;
}

}  // namespace edgetune::testing

#define EDGETUNE_VISIBLE __attribute__((visibility("default")))
#define EDGETUNE_CALLER __builtin_return_address(0)

using edgetune::testing::Counted;
using edgetune::testing::New;
using edgetune::testing::Uncount;

extern "C" {

EDGETUNE_VISIBLE void* malloc(size_t size) {
  return Counted(__libc_malloc(size), EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* calloc(size_t count, size_t size) {
  return Counted(__libc_calloc(count, size), EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* realloc(void* data, size_t size) {
  Uncount(data);
  return Counted(__libc_realloc(data, size), EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* memalign(size_t alignment, size_t size) {
  return Counted(__libc_memalign(alignment, size), EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* aligned_alloc(size_t alignment, size_t size) {
  return Counted(__libc_memalign(alignment, size), EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE int posix_memalign(void** out, size_t alignment, size_t size) {
  *out = Counted(__libc_memalign(alignment, size), EDGETUNE_CALLER);
  return *out == nullptr ? ENOMEM : 0;
}
EDGETUNE_VISIBLE void free(void* data) {
  Uncount(data);
  __libc_free(data);
}

}  // extern "C"

EDGETUNE_VISIBLE void* operator new(size_t size) {
  return New(size, 0, EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* operator new[](size_t size) {
  return New(size, 0, EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* operator new(size_t size, std::align_val_t alignment) {
  return New(size, static_cast<size_t>(alignment), EDGETUNE_CALLER);
}
EDGETUNE_VISIBLE void* operator new[](size_t size, std::align_val_t alignment) {
  return New(size, static_cast<size_t>(alignment), EDGETUNE_CALLER);
}
