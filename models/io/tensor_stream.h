#ifndef EDGETUNE_MODELS_IO_TENSOR_STREAM_H_
#define EDGETUNE_MODELS_IO_TENSOR_STREAM_H_

// What both model writers share. Only for gguf_model_writer.cc and
// hf_model_writer.cc.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/atomic_file.h"
#include "models/io/model_tensors.h"
#include "models/io/model_writer.h"

namespace edgetune {

struct PlannedTensor {
  ModelTensor tensor;
  BlockType type;
  uint64_t bytes;  // encoded
};

// The tensors of `model.config` and what the encoder makes of each.
// InvalidArgument: the source lacks one, has another shape, or more of them; a
// type whose blocks do not fill a row.
absl::StatusOr<std::vector<PlannedTensor>> PlanTensors(
    const ModelDescription& model, const TensorSource& source,
    const TensorEncoder& encoder);

// Encodes tensors to a file, a few rows at a time. One thread.
class TensorStream {
 public:
  TensorStream(const TensorSource& source, const TensorEncoder& encoder,
               const WriteOptions& options, uint64_t total_bytes);

  // The whole tensor. `head_dim` > 0: with the rows of each head of so many in
  // GGUF's order, not in Hugging Face's.
  absl::Status Append(const PlannedTensor& planned, int64_t head_dim,
                      AtomicFile* file);

 private:
  // Blocks that are of the wanted type already, as they are.
  absl::Status Copy(const std::string& name, const StoredRows& stored,
                    int64_t head_dim, AtomicFile* file);

  const TensorSource& source_;
  const TensorEncoder& encoder_;
  const WriteOptions& options_;
  const uint64_t total_;
  uint64_t done_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TENSOR_STREAM_H_
