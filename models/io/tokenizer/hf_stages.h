#ifndef EDGETUNE_MODELS_IO_TOKENIZER_HF_STAGES_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_HF_STAGES_H_

// The stages of a tokenizer.json around its model, in both directions. Pure
// functions; InvalidArgument names a stage or flag that is not done here.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"
#include "models/io/tokenizer/pre_tokenizer.h"

namespace edgetune {

// "pre_tokenizer" -> the name of its scanner ("smollm").
absl::StatusOr<std::string> PreOfStages(const nlohmann::json& pre_tokenizer);
nlohmann::json StagesOf(PreTokenizer kind);

// "normalizer" -> whether it is NFC; null is not.
absl::StatusOr<bool> IsNfc(const nlohmann::json& normalizer);

// "post_processor" -> id of the token it puts before a text, if any.
absl::StatusOr<std::optional<int32_t>> LeadingId(
    const nlohmann::json& post_processor);

// "decoder": that of bytes, or null, which is taken for it.
absl::Status CheckDecoder(const nlohmann::json& decoder);

// Member `key`, or null where `object` is no object or has none.
const nlohmann::json& Member(const nlohmann::json& object,
                             std::string_view key);

// Member `key` as a flag: `absent` where it is null, and the opposite of
// `absent` where it is no boolean.
bool Flag(const nlohmann::json& object, std::string_view key, bool absent);

// A JSON value as it may stand in a message.
std::string Shown(const nlohmann::json& value);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_HF_STAGES_H_
