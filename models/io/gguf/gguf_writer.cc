#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <type_traits>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/gguf/gguf_bytes.h"

namespace edgetune {
namespace {

constexpr uint64_t kAlignment = 32;

template <typename T>
void AppendRaw(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void AppendString(std::string* out, std::string_view text) {
  AppendRaw<uint64_t>(out, text.size());
  out->append(text);
}

template <typename T>
void AppendValue(std::string* out, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    AppendString(out, value);
  } else if constexpr (std::is_same_v<T, bool>) {
    AppendRaw<uint8_t>(out, value ? 1 : 0);
  } else {
    AppendRaw(out, value);
  }
}

// The alternatives stand in the order of GgufType, which has kArray between.
uint32_t TypeNumber(size_t alternative) {
  const auto array = static_cast<uint32_t>(GgufType::kArray);
  const auto number = static_cast<uint32_t>(alternative);
  return number < array ? number : number + 1;
}

void Put(std::vector<std::pair<std::string, std::string>>* values,
         std::string_view key, std::string encoded) {
  for (auto& [name, value] : *values) {
    if (name != key) continue;
    value = std::move(encoded);
    return;
  }
  values->emplace_back(key, std::move(encoded));
}

}  // namespace

void GgufWriter::Set(std::string_view key, GgufScalar value) {
  std::string encoded;
  AppendRaw<uint32_t>(&encoded, TypeNumber(value.index()));
  std::visit([&](const auto& v) { AppendValue(&encoded, v); }, value);
  Put(&values_, key, std::move(encoded));
}

void GgufWriter::SetArray(std::string_view key, GgufArray values) {
  std::string encoded;
  AppendRaw(&encoded, static_cast<uint32_t>(GgufType::kArray));
  AppendRaw<uint32_t>(&encoded, TypeNumber(values.index()));
  std::visit(
      [&](const auto& v) {
        using T = typename std::decay_t<decltype(v)>::value_type;
        AppendRaw<uint64_t>(&encoded, v.size());
        for (const T& element : v) AppendValue<T>(&encoded, element);
      },
      values);
  Put(&values_, key, std::move(encoded));
}

void GgufWriter::AddTensor(std::string_view name, std::vector<int64_t> shape,
                           BlockType type, std::string data) {
  tensors_.push_back(
      {std::string(name), std::move(shape), type, std::move(data)});
}

void GgufWriter::AddTensor(std::string_view name, std::vector<int64_t> shape,
                           std::span<const float> values) {
  AddTensor(name, std::move(shape), BlockType::kF32,
            std::string(reinterpret_cast<const char*>(values.data()),
                        values.size_bytes()));
}

void GgufWriter::DeclareTensor(std::string_view name,
                               std::vector<int64_t> shape, BlockType type) {
  tensors_.push_back({std::string(name), std::move(shape), type, ""});
}

absl::StatusOr<std::vector<uint64_t>> GgufWriter::TensorSizes() const {
  std::set<std::string_view> names;
  std::vector<uint64_t> out;
  for (const Tensor& tensor : tensors_) {
    const BlockShape block = BlockShapeOf(tensor.type);
    uint64_t elements = 1;
    bool good = tensor.shape.size() >= 1 && tensor.shape.size() <= 4 &&
                tensor.name.size() <= kMaxNameLength &&
                names.insert(tensor.name).second;
    for (int64_t dim : tensor.shape) {
      good = good && dim > 0 &&
             static_cast<uint64_t>(dim) < (uint64_t{1} << 60) / elements;
      if (good) elements *= static_cast<uint64_t>(dim);
    }
    if (!good || tensor.shape.back() % block.elements != 0) {
      return absl::InvalidArgumentError(
          fmt::format("cannot write tensor {}: {} does not fit its name or "
                      "shape",
                      tensor.name, block.name));
    }
    out.push_back(elements / block.elements * block.bytes);
  }
  return out;
}

absl::StatusOr<std::string> GgufWriter::SerialiseHeader() const {
  EDGETUNE_ASSIGN_OR_RETURN(auto sizes, TensorSizes());
  std::string out = "GGUF";
  AppendRaw<uint32_t>(&out, 3);
  AppendRaw<uint64_t>(&out, tensors_.size());
  AppendRaw<uint64_t>(&out, values_.size());
  for (const auto& [key, encoded] : values_) {
    AppendString(&out, key);
    out += encoded;
  }
  uint64_t offset = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    AppendString(&out, tensor.name);
    AppendRaw<uint32_t>(&out, static_cast<uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) {
      AppendRaw<uint64_t>(&out, static_cast<uint64_t>(*dim));
    }
    AppendRaw(&out, static_cast<uint32_t>(tensor.type));
    AppendRaw<uint64_t>(&out, offset);
    offset += sizes[i] + GgufPadding(sizes[i]);
  }
  out.append(GgufPadding(out.size()), '\0');
  return out;
}

absl::StatusOr<std::string> GgufWriter::Serialise() const {
  EDGETUNE_ASSIGN_OR_RETURN(auto sizes, TensorSizes());
  EDGETUNE_ASSIGN_OR_RETURN(std::string out, SerialiseHeader());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    if (tensor.data.size() != sizes[i]) {
      return absl::InvalidArgumentError(
          fmt::format("cannot write tensor {}: {} bytes, wanted {}",
                      tensor.name, tensor.data.size(), sizes[i]));
    }
    out += tensor.data;
    out.append(GgufPadding(sizes[i]), '\0');
  }
  return out;
}

absl::Status GgufWriter::Write(const std::string& path) const {
  EDGETUNE_ASSIGN_OR_RETURN(std::string bytes, Serialise());
  return WriteFileAtomically(path, bytes);
}

uint64_t GgufPadding(uint64_t size) {
  return (kAlignment - size % kAlignment) % kAlignment;
}

}  // namespace edgetune
