#ifndef EDGETUNE_CLIENT_UPDATE_PIPELINE_H_
#define EDGETUNE_CLIENT_UPDATE_PIPELINE_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace edgetune {

// What leaves the device, from the trained delta. In clear mode: the checks
// that the coordinator will make, then little-endian float32 in layout order;
// the coordinator sees it. Aborted: a coordinate is not finite or beyond
// `bound` (the message says which, not what it is). Pure, thread-safe.
absl::StatusOr<std::string> MakeClearUpdate(std::span<const float> delta,
                                            double bound);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_UPDATE_PIPELINE_H_
