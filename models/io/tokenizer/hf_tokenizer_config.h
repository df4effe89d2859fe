#ifndef EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_CONFIG_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_CONFIG_H_

#include <string_view>

#include "absl/status/status.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

// Texts of the files beside tokenizer.json; empty where there is none.
struct HfTokenizerConfigs {
  std::string_view tokenizer_config;   // tokenizer_config.json
  std::string_view config;             // config.json
  std::string_view generation_config;  // generation_config.json
};

// Fills the special ids of `data`, whose tokens, types, `bos` (where it is put
// before a text) and add_bos come from tokenizer.json. InvalidArgument: the
// files contradict one another or ask for what is not done here. DataLoss: not
// JSON.
absl::Status ApplyHfTokenizerConfigs(const HfTokenizerConfigs& configs,
                                     TokenizerData* data);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_CONFIG_H_
