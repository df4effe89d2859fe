#ifndef EDGETUNE_BASE_OWN_LIBRARY_H_
#define EDGETUNE_BASE_OWN_LIBRARY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace edgetune {

// A shared object of this build that a program opens on demand, because what it
// stands on is large, slow to load or not on every machine.
struct OwnLibrary {
  std::string what;   // "engine"
  std::string file;   // "libedgetune_fused.so"
  std::string entry;  // the one function that it exports
  // What to do where it is not there, and where it cannot be opened.
  std::string if_missing, if_unopened;
};

// Its entry. The library stays open: it is in use until the process ends.
// Looked for in the program's ../lib, in ../lib/edgetune, or where
// EDGETUNE_ENGINE_DIR says. FailedPrecondition (kFailed): it is not there,
// cannot be opened or has no such function.
absl::StatusOr<void*> OpenOwnLibrary(const OwnLibrary& library);

// The entry found it to be of another build than `wanted`.
absl::Status OfAnotherBuild(const OwnLibrary& library, const char* wanted);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_OWN_LIBRARY_H_
