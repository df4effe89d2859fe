#include "tools/model/trained_files.h"

#include "base/status.h"
#include "models/io/adapter/core_adapter.h"
#include "models/io/vision/vision_model.h"

namespace edgetune {

absl::Status WriteTrained(const std::string& directory, const Adapter& adapter,
                          const ModelFile& base, const std::string& name,
                          const Provenance& provenance) {
  if (!base.config().image.has_value()) {
    return WritePeftAdapter(directory, PlainAdapter(adapter), name, provenance);
  }
  EDGETUNE_ASSIGN_OR_RETURN(ParameterVector weights, ReadVisionWeights(base));
  EDGETUNE_RETURN_IF_ERROR(AddChange(base.config(), adapter, weights));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector statistics,
                            ReadVisionStatistics(base));
  return WriteVisionModel(directory, base.config(), weights, provenance,
                          statistics);
}

}  // namespace edgetune
