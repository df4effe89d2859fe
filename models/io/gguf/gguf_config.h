#ifndef EDGETUNE_MODELS_IO_GGUF_GGUF_CONFIG_H_
#define EDGETUNE_MODELS_IO_GGUF_GGUF_CONFIG_H_

// What the keys of a model's GGUF say about its architecture. Only for
// gguf_model_file.cc.

#include "absl/status/statusor.h"
#include "models/io/gguf/gguf.h"
#include "models/io/model_file.h"

namespace edgetune {

// InvalidArgument: a key is missing, absurd, or names something that is not
// supported. Tokens that end a text are not among what is read here.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_GGUF_GGUF_CONFIG_H_
