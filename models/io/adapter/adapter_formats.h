#ifndef EDGETUNE_MODELS_IO_ADAPTER_ADAPTER_FORMATS_H_
#define EDGETUNE_MODELS_IO_ADAPTER_ADAPTER_FORMATS_H_

// What the two adapter formats share: each gathers tensors under the layout's
// names, AssembleAdapter checks and flattens them. Only for adapter_file.cc,
// peft_adapter.cc and gguf_adapter.cc.

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"

namespace edgetune {

struct AdapterTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
// By layout name, e.g. "layers.0.self_attn.q_proj.lora_A".
using AdapterTensors = std::map<std::string, AdapterTensor>;

// Targets of `spec` in any order. InvalidArgument: a tensor is missing, too
// many or of another shape; DataLoss: a value is not finite.
absl::StatusOr<Adapter> AssembleAdapter(const ModelConfig& model,
                                        AdapterSpec spec,
                                        AdapterTensors tensors);

// InvalidArgument: values that do not fill the layout.
absl::Status CheckAdapter(const Adapter& adapter);

absl::StatusOr<Adapter> ReadPeftAdapter(const std::string& directory,
                                        const ModelConfig& model);
absl::StatusOr<Adapter> ReadGgufAdapter(const std::string& path,
                                        const ModelConfig& model);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_ADAPTER_ADAPTER_FORMATS_H_
