#include "models/io/gguf/gguf.h"

#include <fmt/format.h>

#include <cstring>

#include "base/status.h"
#include "models/io/gguf/gguf_bytes.h"

namespace edgetune {
namespace {

constexpr std::string_view kTypeNames[] = {
    "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
    "bool", "string", "array", "u64", "i64", "f64"};

std::string_view NameOf(GgufType type) {
  return kTypeNames[static_cast<uint32_t>(type)];
}

// A string whose length the parser has checked.
std::string_view StringAt(const uint8_t* p) {
  return {reinterpret_cast<const char*>(p) + sizeof(uint64_t),
          LoadAs<uint64_t>(p)};
}

// nullopt: not an integer that fits.
std::optional<int64_t> IntegerAt(GgufType type, const uint8_t* p) {
  switch (type) {
    case GgufType::kUint8:
      return LoadAs<uint8_t>(p);
    case GgufType::kInt8:
      return LoadAs<int8_t>(p);
    case GgufType::kUint16:
      return LoadAs<uint16_t>(p);
    case GgufType::kInt16:
      return LoadAs<int16_t>(p);
    case GgufType::kUint32:
      return LoadAs<uint32_t>(p);
    case GgufType::kInt32:
      return LoadAs<int32_t>(p);
    case GgufType::kInt64:
      return LoadAs<int64_t>(p);
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(
    const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto mapped, MappedFile::Open(path));
  EDGETUNE_ASSIGN_OR_RETURN(auto file, Parse(mapped->bytes()));
  file->file_ = std::move(mapped);
  return file;
}

bool GgufFile::Has(std::string_view key) const {
  return values_.find(key) != values_.end();
}

absl::StatusOr<GgufFile::Value> GgufFile::Find(std::string_view key,
                                               GgufType type) const {
  auto it = values_.find(key);
  if (it == values_.end()) {
    return absl::InvalidArgumentError(
        fmt::format("GGUF key {} is missing", key));
  }
  if (it->second.type != type) {
    return absl::InvalidArgumentError(
        fmt::format("GGUF key {} is of type {}, wanted {}", key,
                    NameOf(it->second.type), NameOf(type)));
  }
  return it->second;
}

absl::StatusOr<GgufFile::Value> GgufFile::FindArray(std::string_view key,
                                                    GgufType type) const {
  EDGETUNE_ASSIGN_OR_RETURN(Value value, Find(key, GgufType::kArray));
  if (value.element != type) {
    return absl::InvalidArgumentError(
        fmt::format("GGUF key {} is an array of {}, wanted one of {}", key,
                    NameOf(value.element), NameOf(type)));
  }
  return value;
}

absl::StatusOr<std::string_view> GgufFile::String(std::string_view key) const {
  EDGETUNE_ASSIGN_OR_RETURN(Value value, Find(key, GgufType::kString));
  return StringAt(value.bytes.data());
}

absl::StatusOr<bool> GgufFile::Bool(std::string_view key) const {
  EDGETUNE_ASSIGN_OR_RETURN(Value value, Find(key, GgufType::kBool));
  return value.bytes[0] != 0;
}

absl::StatusOr<uint64_t> GgufFile::Count(std::string_view key) const {
  auto it = values_.find(key);
  // Of a missing key Find says so, whatever type is asked for.
  const GgufType type =
      it == values_.end() ? GgufType::kUint32 : it->second.type;
  EDGETUNE_ASSIGN_OR_RETURN(Value value, Find(key, type));
  if (type == GgufType::kUint64) return LoadAs<uint64_t>(value.bytes.data());
  const auto number = IntegerAt(type, value.bytes.data());
  if (!number.has_value()) {
    return absl::InvalidArgumentError(fmt::format(
        "GGUF key {} is of type {}, wanted an integer", key, NameOf(type)));
  }
  if (*number < 0) {
    return absl::InvalidArgumentError(
        fmt::format("GGUF key {} is {}, wanted at least 0", key, *number));
  }
  return static_cast<uint64_t>(*number);
}

absl::StatusOr<double> GgufFile::Number(std::string_view key) const {
  auto it = values_.find(key);
  if (it != values_.end() && it->second.type == GgufType::kFloat64) {
    return LoadAs<double>(it->second.bytes.data());
  }
  EDGETUNE_ASSIGN_OR_RETURN(Value value, Find(key, GgufType::kFloat32));
  return LoadAs<float>(value.bytes.data());
}

absl::StatusOr<std::vector<std::string_view>> GgufFile::Strings(
    std::string_view key) const {
  EDGETUNE_ASSIGN_OR_RETURN(Value value, FindArray(key, GgufType::kString));
  std::vector<std::string_view> out;
  out.reserve(value.count);
  const uint8_t* p = value.bytes.data();
  for (uint64_t i = 0; i < value.count; ++i) {
    out.push_back(StringAt(p));
    p += sizeof(uint64_t) + out.back().size();
  }
  return out;
}

absl::StatusOr<std::vector<int32_t>> GgufFile::Int32s(
    std::string_view key) const {
  EDGETUNE_ASSIGN_OR_RETURN(Value value, FindArray(key, GgufType::kInt32));
  std::vector<int32_t> out(value.count);
  if (!out.empty()) {
    std::memcpy(out.data(), value.bytes.data(), value.bytes.size());
  }
  return out;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace edgetune
