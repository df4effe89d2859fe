#ifndef EDGETUNE_MODELS_IO_MODEL_WRITER_H_
#define EDGETUNE_MODELS_IO_MODEL_WRITER_H_

// Base models to disk, as a GGUF file or as a Hugging Face directory, streamed:
// at any time a few rows are in memory. What a tensor's values become is the
// encoder's business (plain floats here; a quantiser is another encoder), and
// where they come from the source's (a model file; a merged adapter is another
// source).

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/io/quantise/block_types.h"
#include "models/io/tensor_source.h"

namespace edgetune {

// Everything of a model but its tensors.
struct ModelDescription {
  ModelConfig config;
  TokenizerData tokenizer;    // ids below config.vocab
  std::string chat_template;  // source text; empty: none
};
ModelDescription DescriptionOf(const ModelFile& model);

// Immutable, thread-safe.
class TensorEncoder {
 public:
  virtual ~TensorEncoder() = default;
  // Type of the tensor in the file; its rows must be whole blocks of it. A
  // Hugging Face directory takes F32, F16 and BF16 only, and llama.cpp wants
  // F32 for every vector in a GGUF.
  virtual BlockType TypeOf(const TensorInfo& tensor) const = 0;
  // Appends whole rows, encoded. InvalidArgument: a value that is not finite
  // or that the type cannot hold.
  virtual absl::Status Encode(BlockType type, std::span<const float> values,
                              std::string* out) const = 0;
  // The number of general.file_type (formats design, section 3).
  virtual uint32_t file_type() const = 0;
};

enum class ModelFormat { kGguf, kHuggingFace };

// Every matrix in `type`, which is F32, F16 or BF16; vectors as well in a
// directory, F32 in a GGUF. Without a type: that of the source's matrices, or
// BF16 where those are quantised; vectors of a directory then stay F32 where
// sixteen bits would change a value, so that nothing but blocks is ever lost.
// Reads the vectors of `source`, keeps no reference to it.
absl::StatusOr<std::unique_ptr<TensorEncoder>> MakePlainEncoder(
    const TensorSource& source, std::optional<BlockType> type,
    ModelFormat format);

struct WriteOptions {
  // A directory's tensors are cut into files of at most this many bytes
  // (a larger tensor has one of its own).
  uint64_t shard_bytes = uint64_t{5} << 30;
  // Of a directory: content of kProvenanceFile (adapter_file.h); empty: none.
  std::string provenance;
  // Called now and then with bytes of tensors done and in all; what is not OK
  // ends the writing and is returned.
  std::function<absl::Status(uint64_t done, uint64_t total)> progress;
};

// `source` has exactly the tensors that `model.config` asks for. The file or
// directory appears whole and durable, or not at all; a directory must not be
// there yet. AlreadyExists, ResourceExhausted (disk full), InvalidArgument
// (tensors or types that do not fit), or what source and encoder say.
absl::Status WriteGgufModel(const std::string& path,
                            const ModelDescription& model,
                            const TensorSource& source,
                            const TensorEncoder& encoder,
                            const WriteOptions& options = {});
absl::Status WriteHfModel(const std::string& directory,
                          const ModelDescription& model,
                          const TensorSource& source,
                          const TensorEncoder& encoder,
                          const WriteOptions& options = {});

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_MODEL_WRITER_H_
