#include "models/io/hf/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/status.h"
#include "models/io/quantise/block_types.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr uint64_t kMaxElements = uint64_t{1} << 60;

struct Dtype {
  std::string_view name;
  uint64_t bytes;
};
constexpr Dtype kDtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},
                             {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},
                             {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},
                             {"BOOL", 1}};

absl::Status Damaged(std::string_view name, std::string_view problem) {
  return absl::DataLossError(
      fmt::format("safetensors entry '{}': {}", name, problem));
}

absl::StatusOr<uint64_t> SizeOf(const std::string& name,
                                const std::string& dtype) {
  for (const Dtype& known : kDtypes) {
    if (known.name == dtype) return known.bytes;
  }
  return absl::InvalidArgumentError(fmt::format(
      "safetensors entry '{}' has unknown dtype '{}'", name, dtype));
}

// Bytes that dtype and shape ask for.
absl::StatusOr<uint64_t> BytesOf(const SafeTensor& tensor) {
  EDGETUNE_ASSIGN_OR_RETURN(uint64_t bytes, SizeOf(tensor.name, tensor.dtype));
  for (int64_t dim : tensor.shape) {
    if (dim < 0 || static_cast<uint64_t>(dim) >
                       kMaxElements / std::max<uint64_t>(bytes, 1)) {
      return Damaged(tensor.name, fmt::format("unusable dimension {}", dim));
    }
    bytes *= static_cast<uint64_t>(dim);
  }
  return bytes;
}

bool IsCount(const json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() < kMaxElements;
}

// A tensor and where its data lies in the buffer.
struct Entry {
  SafeTensor tensor;
  uint64_t begin, end;
};

absl::StatusOr<Entry> ReadEntry(const std::string& name, const json& value) {
  Entry entry;
  entry.tensor.name = name;
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets")) {
    return Damaged(name, "wanted dtype, shape and data_offsets");
  }
  const json& shape = value["shape"];
  const json& offsets = value["data_offsets"];
  const bool good = value["dtype"].is_string() && shape.is_array() &&
                    std::all_of(shape.begin(), shape.end(), IsCount) &&
                    offsets.is_array() && offsets.size() == 2 &&
                    IsCount(offsets[0]) && IsCount(offsets[1]);
  if (!good) return Damaged(name, "a value is of the wrong type");
  entry.tensor.dtype = value["dtype"].get<std::string>();
  entry.tensor.shape = shape.get<std::vector<int64_t>>();
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  EDGETUNE_ASSIGN_OR_RETURN(uint64_t bytes, BytesOf(entry.tensor));
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    return Damaged(name, fmt::format("offsets {} to {}, wanted {} bytes",
                                     entry.begin, entry.end, bytes));
  }
  return entry;
}

absl::Status ReadMetadata(const json& value,
                          std::map<std::string, std::string>* out) {
  if (!value.is_object()) return Damaged("__metadata__", "not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Damaged("__metadata__", "not a string");
    (*out)[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> HeaderOf(std::span<const uint8_t> bytes) {
  uint64_t length = 0;
  if (bytes.size() < sizeof(length)) {
    return absl::DataLossError("safetensors file is truncated: no header");
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxHeader || length > bytes.size() - sizeof(length)) {
    return absl::DataLossError(
        fmt::format("safetensors header claims {} bytes, {} are there and at "
                    "most {} allowed",
                    length, bytes.size() - sizeof(length), kMaxHeader));
  }
  std::string_view header(
      reinterpret_cast<const char*>(bytes.data()) + sizeof(length), length);
  if (!header.starts_with('{')) {
    return absl::DataLossError("safetensors header does not begin with {");
  }
  return header;
}

// Sets the tensors' data; they must fill the buffer exactly.
absl::Status PlaceEntries(std::vector<Entry>* entries,
                          std::span<const uint8_t> buffer) {
  std::stable_sort(
      entries->begin(), entries->end(), [](const Entry& a, const Entry& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
      });
  uint64_t at = 0;
  for (Entry& entry : *entries) {
    if (entry.begin != at || entry.end > buffer.size()) {
      return Damaged(entry.tensor.name,
                     fmt::format("data from byte {} to {}, wanted from {} and "
                                 "within {}",
                                 entry.begin, entry.end, at, buffer.size()));
    }
    entry.tensor.data = buffer.subspan(entry.begin, entry.end - entry.begin);
    at = entry.end;
  }
  if (at == buffer.size()) return absl::OkStatus();
  return absl::DataLossError(fmt::format(
      "safetensors buffer has {} bytes, its tensors {}", buffer.size(), at));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto mapped, MappedFile::Open(path));
  EDGETUNE_ASSIGN_OR_RETURN(auto file, Parse(mapped->bytes()));
  file->file_ = std::move(mapped);
  return file;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Parse(
    std::span<const uint8_t> bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string_view header, HeaderOf(bytes));
  EDGETUNE_ASSIGN_OR_RETURN(json root,
                            ParseStrictJson(header, "safetensors header"));
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile());
  std::vector<Entry> entries;
  for (const auto& [name, value] : root.items()) {
    if (name == "__metadata__") {
      EDGETUNE_RETURN_IF_ERROR(ReadMetadata(value, &file->metadata_));
      continue;
    }
    EDGETUNE_ASSIGN_OR_RETURN(Entry entry, ReadEntry(name, value));
    entries.push_back(std::move(entry));
  }
  EDGETUNE_RETURN_IF_ERROR(
      PlaceEntries(&entries, bytes.subspan(sizeof(uint64_t) + header.size())));
  for (Entry& entry : entries) {
    file->tensors_.push_back(std::move(entry.tensor));
  }
  return file;
}

absl::StatusOr<std::vector<float>> ReadFloats(const SafeTensor& tensor) {
  for (BlockType type : {BlockType::kF32, BlockType::kF16, BlockType::kBF16}) {
    const BlockShape shape = BlockShapeOf(type);
    if (shape.name != tensor.dtype) continue;
    std::vector<float> out(tensor.data.size() / shape.bytes);
    Dequantise(type, tensor.data, out);
    return out;
  }
  return absl::InvalidArgumentError(
      fmt::format("tensor {} is of dtype {}, wanted F32, F16 or BF16",
                  tensor.name, tensor.dtype));
}

absl::StatusOr<std::string> SafetensorsHeader(
    std::span<const SafeTensor> tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  uint64_t at = 0;
  std::set<std::string_view> names;
  for (const SafeTensor& tensor : tensors) {
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t bytes, BytesOf(tensor));
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          fmt::format("cannot write tensor {}: named twice", tensor.name));
    }
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text =
      header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
  return out + text;
}

absl::StatusOr<std::string> SerialiseSafetensors(
    std::span<const SafeTensor> tensors) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string out, SafetensorsHeader(tensors));
  for (const SafeTensor& tensor : tensors) {
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t bytes, BytesOf(tensor));
    if (bytes != tensor.data.size()) {
      return absl::InvalidArgumentError(
          fmt::format("cannot write tensor {}: {} bytes where {} fit",
                      tensor.name, tensor.data.size(), bytes));
    }
    out.append(reinterpret_cast<const char*>(tensor.data.data()),
               tensor.data.size());
  }
  return out;
}

}  // namespace edgetune
