#ifndef EDGETUNE_MODELS_EXCEPTION_GUARD_H_
#define EDGETUNE_MODELS_EXCEPTION_GUARD_H_

#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/status.h"

namespace edgetune {

// Exceptions of the libraries below an engine (LibTorch, whose text goes on
// with a stack trace, and oneDNN) and of the allocator, as a Status:
// ResourceExhausted when memory ran out, else Internal.
inline absl::Status StatusOfException(std::string_view what) {
  const std::string line(what.substr(0, what.find('\n')));
  const bool memory = line.find("DefaultCPUAllocator") != std::string::npos ||
                      line.find("bad_alloc") != std::string::npos;
  if (!memory) return absl::InternalError("engine: " + line);
  return Annotate(absl::ResourceExhaustedError("not enough memory: " + line),
                  ErrorKind::kFailed,
                  "lower micro_batch or the examples' maximum length");
}

// Runs `body`, which returns a Status or StatusOr; nothing is thrown on. Every
// public method of an engine goes through here.
template <typename Body>
auto CatchExceptions(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& e) {
    return StatusOfException(e.what());
  }
}

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_EXCEPTION_GUARD_H_
