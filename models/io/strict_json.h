#ifndef EDGETUNE_MODELS_IO_STRICT_JSON_H_
#define EDGETUNE_MODELS_IO_STRICT_JSON_H_

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"

namespace edgetune {

// Parses JSON from an untrusted file; `what` names it in messages. DataLoss:
// not JSON, a key twice in one object, nesting deeper than 16.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text,
                                               std::string_view what);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_STRICT_JSON_H_
