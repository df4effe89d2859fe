#ifndef EDGETUNE_MODELS_IO_HF_SAFETENSORS_H_
#define EDGETUNE_MODELS_IO_HF_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mapped_file.h"

namespace edgetune {

struct SafeTensor {
  std::string name;
  std::string dtype;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  std::span<const uint8_t> data;
};

// A safetensors file, mapped and checked: header of at most 100,000,000 bytes,
// no key twice, data of the size that dtype and shape say, without holes or
// overlap (formats design, section 2). Spans live as long as the bytes.
// Immutable, thread-safe. Errors: NotFound, DataLoss (damaged),
// InvalidArgument (a dtype that is not known).
class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(
      const std::string& path);
  // Of bytes in memory, which must outlive the result.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Parse(
      std::span<const uint8_t> bytes);

  // In the order of their data.
  const std::vector<SafeTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

 private:
  SafetensorsFile() = default;

  std::unique_ptr<MappedFile> file_;
  std::vector<SafeTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// F32, F16 or BF16 as float32; InvalidArgument for another dtype.
absl::StatusOr<std::vector<float>> ReadFloats(const SafeTensor& tensor);

// What stands before the data of these tensors, which follows in their order
// without gaps; the length of `data` is not looked at. InvalidArgument: a name
// twice, an unknown dtype.
absl::StatusOr<std::string> SafetensorsHeader(
    std::span<const SafeTensor> tensors);
// The file's bytes, tensors in the order given, metadata {"format":"pt"}.
// InvalidArgument: a name twice, data that does not fit dtype and shape.
absl::StatusOr<std::string> SerialiseSafetensors(
    std::span<const SafeTensor> tensors);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_HF_SAFETENSORS_H_
