#ifndef EDGETUNE_MODELS_IO_HF_TOKENIZER_CONFIG_H_
#define EDGETUNE_MODELS_IO_HF_TOKENIZER_CONFIG_H_

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/status.h"
#include "models/io/tokenizer.h"

namespace edgetune {

// The parts of files beside tokenizer.json; null where there is none.
struct HfTokenizerConfigs {
  std::string_view tokenizer_config;   // text of tokenizer_config.json or ""
  std::string_view config;             // of config.json or ""
  std::string_view generation_config;  // of generation_config.json or ""
};

// Fills the special ids of `data`, whose tokens, types, `bos` (where it is put
// before a text) and add_bos come from tokenizer.json. InvalidArgument: the
// files contradict one another or ask for what is not done here. DataLoss: not
// JSON.
absl::Status ApplyHfTokenizerConfigs(const HfTokenizerConfigs& configs,
                                     TokenizerData* data);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_HF_TOKENIZER_CONFIG_H_
