#include "models/io/gguf/gguf.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>
#include <limits>

#include "base/status.h"
#include "models/io/gguf/gguf_bytes.h"

namespace edgetune {
namespace {

constexpr uint64_t kMaxLength = uint64_t{1} << 30;  // of a string or array
constexpr uint32_t kMaxDims = 4;
constexpr std::string_view kAlignmentKey = "general.alignment";

// 0: no fixed size.
constexpr uint64_t kTypeSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

uint64_t SizeOf(GgufType type) {
  return kTypeSizes[static_cast<uint32_t>(type)];
}

// Text from a file, fit to stand in a message.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (unsigned char c : text.substr(0, 80)) {
    out += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '?';
  }
  return out + (text.size() > 80 ? "...'" : "'");
}

}  // namespace

// Reads forward; every length is compared with the bytes left.
class GgufCursor {
 public:
  explicit GgufCursor(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  absl::StatusOr<std::span<const uint8_t>> Take(uint64_t n) {
    if (n > left()) {
      return absl::DataLossError(
          fmt::format("GGUF file is truncated: {} more bytes wanted at offset "
                      "{}, {} left",
                      n, position_, left()));
    }
    auto out = bytes_.subspan(position_, n);
    position_ += n;
    return out;
  }
  template <typename T>
  absl::StatusOr<T> Read() {
    EDGETUNE_ASSIGN_OR_RETURN(auto bytes, Take(sizeof(T)));
    return LoadAs<T>(bytes.data());
  }
  absl::StatusOr<std::string_view> ReadString() {
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t length, Read<uint64_t>());
    if (length > kMaxLength) {
      return absl::DataLossError(fmt::format(
          "GGUF string at offset {} claims {} bytes, at most {} are allowed",
          position_, length, kMaxLength));
    }
    EDGETUNE_ASSIGN_OR_RETURN(auto bytes, Take(length));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()),
                            bytes.size());
  }

 private:
  const std::span<const uint8_t> bytes_;
  uint64_t position_ = 0;
};

// One pass over the header, filling a GgufFile.
class GgufParser {
 public:
  GgufParser(std::span<const uint8_t> bytes, GgufFile* file)
      : bytes_(bytes), cursor_(bytes), file_(file) {}

  absl::Status Parse() {
    EDGETUNE_RETURN_IF_ERROR(ReadPreamble());
    for (uint64_t i = 0; i < n_values_; ++i) {
      EDGETUNE_RETURN_IF_ERROR(ReadPair());
    }
    EDGETUNE_RETURN_IF_ERROR(ReadAlignment());
    file_->tensors_.reserve(n_tensors_);
    for (uint64_t i = 0; i < n_tensors_; ++i) {
      EDGETUNE_RETURN_IF_ERROR(ReadTensor());
    }
    return PlaceTensors();
  }

 private:
  // The smallest pair is an empty key, a type and one byte; the smallest
  // tensor an empty name, one dimension, type and offset.
  static constexpr uint64_t kMinPair = 8 + 4 + 1;
  static constexpr uint64_t kMinTensor = 8 + 4 + 8 + 4 + 8;

  absl::Status ReadPreamble() {
    auto magic = cursor_.Take(4);
    if (!magic.ok() || std::memcmp(magic->data(), "GGUF", 4) != 0) {
      return absl::InvalidArgumentError(
          "not a GGUF file: it does not begin with \"GGUF\"");
    }
    EDGETUNE_ASSIGN_OR_RETURN(uint32_t version, cursor_.Read<uint32_t>());
    if (version == 0x03000000u || version == 0x02000000u) {
      return absl::InvalidArgumentError(
          "big-endian GGUF files are not read, little-endian ones are");
    }
    if (version != 3) {
      return absl::InvalidArgumentError(
          fmt::format("GGUF version {} is not read, version 3 is", version));
    }
    EDGETUNE_ASSIGN_OR_RETURN(n_tensors_, cursor_.Read<uint64_t>());
    EDGETUNE_ASSIGN_OR_RETURN(n_values_, cursor_.Read<uint64_t>());
    if (n_values_ > cursor_.left() / kMinPair ||
        n_tensors_ > cursor_.left() / kMinTensor) {
      return absl::DataLossError(fmt::format(
          "GGUF header claims {} values and {} tensors, more than its {} bytes "
          "can hold",
          n_values_, n_tensors_, bytes_.size()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<GgufType> ReadType(std::string_view key) {
    EDGETUNE_ASSIGN_OR_RETURN(uint32_t type, cursor_.Read<uint32_t>());
    if (type >= std::size(kTypeSizes)) {
      return absl::DataLossError(fmt::format(
          "GGUF key {} has a value of unknown type {}", Quoted(key), type));
    }
    return static_cast<GgufType>(type);
  }

  absl::Status ReadPair() {
    EDGETUNE_ASSIGN_OR_RETURN(auto key, cursor_.ReadString());
    GgufFile::Value value{GgufType::kUint8, GgufType::kUint8, 1, {}};
    EDGETUNE_ASSIGN_OR_RETURN(value.type, ReadType(key));
    value.element = value.type;
    if (value.type == GgufType::kArray) {
      EDGETUNE_RETURN_IF_ERROR(ReadArrayHead(key, &value));
    }
    EDGETUNE_ASSIGN_OR_RETURN(value.bytes, TakeElements(key, value));
    if (!file_->values_.emplace(key, value).second) {
      return absl::DataLossError(
          fmt::format("GGUF key {} appears twice", Quoted(key)));
    }
    return absl::OkStatus();
  }

  absl::Status ReadArrayHead(std::string_view key, GgufFile::Value* value) {
    EDGETUNE_ASSIGN_OR_RETURN(value->element, ReadType(key));
    EDGETUNE_ASSIGN_OR_RETURN(value->count, cursor_.Read<uint64_t>());
    if (value->element == GgufType::kArray) {
      return absl::InvalidArgumentError(
          fmt::format("GGUF key {} holds an array of arrays, which is not read",
                      Quoted(key)));
    }
    if (value->count > kMaxLength) {
      return absl::DataLossError(fmt::format(
          "GGUF array {} claims {} elements, at most {} are allowed",
          Quoted(key), value->count, kMaxLength));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::span<const uint8_t>> TakeElements(
      std::string_view key, const GgufFile::Value& value) {
    if (value.element == GgufType::kString) {
      const uint64_t begin = cursor_.position();
      for (uint64_t i = 0; i < value.count; ++i) {
        EDGETUNE_RETURN_IF_ERROR(cursor_.ReadString());
      }
      return bytes_.subspan(begin, cursor_.position() - begin);
    }
    // count <= 2^30, so the product cannot overflow.
    auto taken = cursor_.Take(value.count * SizeOf(value.element));
    if (!taken.ok()) return taken.status();
    if (value.element == GgufType::kBool) {
      for (uint8_t byte : *taken) {
        if (byte <= 1) continue;
        return absl::DataLossError(
            fmt::format("GGUF key {} holds a bool of {}", Quoted(key), byte));
      }
    }
    return taken;
  }

  absl::Status ReadAlignment() {
    if (!file_->Has(kAlignmentKey)) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(auto value,
                              file_->Find(kAlignmentKey, GgufType::kUint32));
    alignment_ = LoadAs<uint32_t>(value.bytes.data());
    if (alignment_ == 0 || (alignment_ & (alignment_ - 1)) != 0) {
      return absl::InvalidArgumentError(fmt::format(
          "GGUF alignment is {}, wanted a power of two", alignment_));
    }
    return absl::OkStatus();
  }

  absl::Status ReadTensor() {
    GgufTensor tensor;
    EDGETUNE_ASSIGN_OR_RETURN(tensor.name, cursor_.ReadString());
    if (tensor.name.size() > kMaxNameLength) {
      return absl::InvalidArgumentError(
          fmt::format("GGUF tensor name {} has {} bytes, at most {} are "
                      "allowed",
                      Quoted(tensor.name), tensor.name.size(), kMaxNameLength));
    }
    auto done = ReadTensorBody(&tensor);
    if (!done.ok()) {
      return Prefix(done, fmt::format("GGUF tensor {}", Quoted(tensor.name)));
    }
    file_->tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  absl::Status ReadTensorBody(GgufTensor* tensor) {
    EDGETUNE_ASSIGN_OR_RETURN(uint32_t n_dims, cursor_.Read<uint32_t>());
    if (n_dims < 1 || n_dims > kMaxDims) {
      return absl::DataLossError(
          fmt::format("{} dimensions, wanted 1 to {}", n_dims, kMaxDims));
    }
    uint64_t elements = 1;
    tensor->shape.resize(n_dims);
    for (uint32_t i = 0; i < n_dims; ++i) {
      EDGETUNE_ASSIGN_OR_RETURN(uint64_t dim, cursor_.Read<uint64_t>());
      // Fewer than 2^60 elements of at most four bytes cannot overflow.
      if (dim == 0 || dim >= (uint64_t{1} << 60) / elements) {
        return absl::DataLossError(fmt::format("unusable dimension {}", dim));
      }
      elements *= dim;
      tensor->shape[n_dims - 1 - i] = static_cast<int64_t>(dim);
    }
    EDGETUNE_ASSIGN_OR_RETURN(uint32_t type, cursor_.Read<uint32_t>());
    EDGETUNE_ASSIGN_OR_RETURN(BlockShape block, BlockShapeOf(type));
    tensor->type = block.type;
    if (tensor->shape.back() % block.elements != 0) {
      return absl::DataLossError(
          fmt::format("rows of {} elements do not fill {} blocks of {}",
                      tensor->shape.back(), block.name, block.elements));
    }
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t offset, cursor_.Read<uint64_t>());
    return CheckOffset(offset, elements / block.elements * block.bytes);
  }

  absl::Status CheckOffset(uint64_t offset, uint64_t size) {
    if (offset != data_size_) {
      return absl::DataLossError(fmt::format(
          "data at offset {}, wanted {} (right after the tensor before it)",
          offset, data_size_));
    }
    const uint64_t padded = Padded(size);
    if (padded > std::numeric_limits<uint64_t>::max() / 2 - data_size_) {
      return absl::DataLossError("impossible size");
    }
    sizes_.push_back(size);
    data_size_ += padded;
    return absl::OkStatus();
  }

  uint64_t Padded(uint64_t n) const {
    return (n + alignment_ - 1) & ~uint64_t{alignment_ - 1};
  }

  // Data sizes are known only now; the last tensor need not be padded.
  absl::Status PlaceTensors() {
    uint64_t at = Padded(cursor_.position());
    for (size_t i = 0; i < file_->tensors_.size(); ++i) {
      GgufTensor& tensor = file_->tensors_[i];
      if (at > bytes_.size() || sizes_[i] > bytes_.size() - at) {
        return absl::DataLossError(fmt::format(
            "GGUF file is truncated: tensor {} ends at byte {}, the file has "
            "{}",
            Quoted(tensor.name), at + sizes_[i], bytes_.size()));
      }
      tensor.data = bytes_.subspan(at, sizes_[i]);
      at += Padded(sizes_[i]);
      if (!file_->tensor_index_.emplace(tensor.name, i).second) {
        return absl::DataLossError(
            fmt::format("GGUF tensor {} appears twice", Quoted(tensor.name)));
      }
    }
    return absl::OkStatus();
  }

  const std::span<const uint8_t> bytes_;
  GgufCursor cursor_;
  GgufFile* const file_;
  uint64_t n_tensors_ = 0;
  uint64_t n_values_ = 0;
  uint32_t alignment_ = 32;
  uint64_t data_size_ = 0;       // padded, of the tensors so far
  std::vector<uint64_t> sizes_;  // unpadded
};

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Parse(
    std::span<const uint8_t> bytes) {
  std::unique_ptr<GgufFile> file(new GgufFile());
  EDGETUNE_RETURN_IF_ERROR(GgufParser(bytes, file.get()).Parse());
  return file;
}

}  // namespace edgetune
