#ifndef EDGETUNE_TOOLS_MODEL_TRAINED_FILES_H_
#define EDGETUNE_TOOLS_MODEL_TRAINED_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"

namespace edgetune {

// What a run leaves on disk: of a model of texts its adapter, as PEFT keeps it;
// of one of images the whole model, its weights with the run's change added.
// Errors of WritePeftAdapter and WriteVisionModel. `name`: of the base.
// Stateless.
absl::Status WriteTrained(const std::string& directory, const Adapter& adapter,
                          const ModelFile& base, const std::string& name,
                          const Provenance& provenance);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_TRAINED_FILES_H_
