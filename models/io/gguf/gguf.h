#ifndef EDGETUNE_MODELS_IO_GGUF_GGUF_H_
#define EDGETUNE_MODELS_IO_GGUF_GGUF_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mapped_file.h"
#include "models/io/quantise/block_types.h"

namespace edgetune {

// Numbers of the file format.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

struct GgufTensor {
  std::string_view name;
  std::vector<int64_t> shape;  // row-major: the file's dims reversed
  BlockType type;
  std::span<const uint8_t> data;
};

// A GGUF version 3 file, checked with the limits of formats design section 3
// before anything is allocated. Metadata values stay where they are in the
// file and are decoded by the getter; views and spans live as long as the
// bytes. Immutable, thread-safe. Errors: InvalidArgument (not such a file, or
// of a kind that is not read), DataLoss (truncated or damaged).
class GgufFile {
 public:
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(
      const std::string& path);
  // Of bytes in memory, which must outlive the result.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Parse(
      std::span<const uint8_t> bytes);

  bool Has(std::string_view key) const;
  // InvalidArgument: no such key, or a value of another type.
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key) const;
  // Any integer type, not negative.
  absl::StatusOr<uint64_t> Count(std::string_view key) const;
  // float32 or float64.
  absl::StatusOr<double> Number(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> Strings(
      std::string_view key) const;
  absl::StatusOr<std::vector<int32_t>> Int32s(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* FindTensor(std::string_view name) const;  // or nullptr

 private:
  friend class GgufParser;
  struct Value {
    GgufType type;
    GgufType element;  // of an array
    uint64_t count;    // of an array, else 1
    std::span<const uint8_t> bytes;
  };
  GgufFile() = default;
  absl::StatusOr<Value> Find(std::string_view key, GgufType type) const;
  absl::StatusOr<Value> FindArray(std::string_view key, GgufType type) const;

  std::unique_ptr<MappedFile> file_;
  std::unordered_map<std::string_view, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> tensor_index_;
};

using GgufScalar =
    std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float,
                 bool, std::string, uint64_t, int64_t, double>;
using GgufArray = std::variant<
    std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
    std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
    std::vector<float>, std::vector<bool>, std::vector<std::string>,
    std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>>;

// Makes a GGUF version 3 file, alignment 32. Life: Set and Add calls, then
// Write (any number of times); or Set and Declare calls, then SerialiseHeader,
// behind which the caller streams the tensors. One thread. Setting a key again
// replaces its value in place.
class GgufWriter {
 public:
  void Set(std::string_view key, GgufScalar value);
  void SetArray(std::string_view key, GgufArray values);
  // `shape` is row-major; `data` in blocks of `type`.
  void AddTensor(std::string_view name, std::vector<int64_t> shape,
                 BlockType type, std::string data);
  void AddTensor(std::string_view name, std::vector<int64_t> shape,
                 std::span<const float> values);

  // Without its data.
  void DeclareTensor(std::string_view name, std::vector<int64_t> shape,
                     BlockType type);

  // Everything before the first tensor's data, which follows in the order of
  // the calls, each tensor and GgufPadding zeros. InvalidArgument: a tensor's
  // name or shape that no reader would take.
  absl::StatusOr<std::string> SerialiseHeader() const;
  // The file's bytes, no tensor being merely declared. InvalidArgument also
  // for data of another size than shape and type ask for.
  absl::StatusOr<std::string> Serialise() const;
  absl::Status Write(const std::string& path) const;  // whole or not at all

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    BlockType type;
    std::string data;
  };
  // Bytes of data that name, shape and type ask for.
  absl::StatusOr<std::vector<uint64_t>> TensorSizes() const;

  std::vector<std::pair<std::string, std::string>> values_;  // encoded
  std::vector<Tensor> tensors_;
};

// Zeros behind a tensor of `size` bytes.
uint64_t GgufPadding(uint64_t size);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_GGUF_GGUF_H_
