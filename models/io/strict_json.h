#ifndef EDGETUNE_MODELS_IO_STRICT_JSON_H_
#define EDGETUNE_MODELS_IO_STRICT_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"

namespace edgetune {

// Most bytes that are read of a file of settings.
inline constexpr uint64_t kMaxConfig = 1 << 20;

// As a file of ours has it: indented by two, bytes that are no UTF-8 replaced,
// a newline at the end.
std::string JsonFileText(const nlohmann::ordered_json& value);

// Parses JSON from an untrusted file; `what` names it in messages. DataLoss:
// not JSON, a key twice in one object, nesting deeper than 16.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text,
                                               std::string_view what);

// Takes the elements of large containers one by one, so that no tree of them
// is built: a tree takes about ten times the bytes of its text.
class JsonStream {
 public:
  virtual ~JsonStream() = default;
  // Whether the elements of the container at `path` ("model/vocab", keys from
  // the root on) are taken. Its place in the result is then an empty container.
  virtual bool Wants(std::string_view path) = 0;
  // An element, whole; `key` is empty in an array. A key that comes twice is
  // the taker's to find.
  virtual void Take(std::string_view path, std::string key,
                    nlohmann::json element) = 0;
};

absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text,
                                               std::string_view what,
                                               JsonStream& stream);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_STRICT_JSON_H_
