#include "models/io/tensor_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/status.h"
#include "models/io/stored_rows.h"

namespace edgetune {
namespace {

// Elements in memory at a time, unless one row or head has more.
constexpr int64_t kElements = 1 << 18;

// One head's rows, from Hugging Face's order to GGUF's.
std::vector<float> Permuted(std::span<const float> rows, int64_t head_dim) {
  const size_t columns = rows.size() / static_cast<size_t>(head_dim);
  std::vector<float> out(rows.size());
  for (int64_t row = 0; row < head_dim; ++row) {
    std::copy_n(rows.begin() + row * columns, columns,
                out.begin() + GgufRowOf(row, head_dim) * columns);
  }
  return out;
}

}  // namespace

ModelDescription DescriptionOf(const ModelFile& model) {
  return {model.config(), model.tokenizer().data(),
          model.chat_template().source()};
}

absl::StatusOr<std::vector<PlannedTensor>> PlanTensors(
    const ModelDescription& model, const TensorSource& source,
    const TensorEncoder& encoder) {
  std::unordered_map<std::string_view, const TensorInfo*> there;
  for (const TensorInfo& info : source.tensors()) there[info.name] = &info;
  std::vector<PlannedTensor> out;
  EDGETUNE_RETURN_IF_ERROR(ForEachTensor(
      model.config, [&](const ModelTensor& tensor) -> absl::Status {
        auto it = there.find(tensor.name);
        if (it == there.end() || it->second->shape != tensor.shape) {
          return absl::InvalidArgumentError(
              fmt::format("cannot write the model: its tensors have no {} {}",
                          tensor.name, ShapeText(tensor.shape)));
        }
        const TensorInfo& info = *it->second;
        const BlockType type = encoder.TypeOf(info);
        const BlockShape block = BlockShapeOf(type);
        if (info.columns() % block.elements != 0) {
          return absl::InvalidArgumentError(fmt::format(
              "cannot write tensor {} {} as {}: blocks of {} do not fill a row",
              info.name, ShapeText(info.shape), std::string(block.name),
              block.elements));
        }
        const auto elements =
            static_cast<uint64_t>(info.rows() * info.columns());
        out.push_back({tensor, type, elements / block.elements * block.bytes});
        return absl::OkStatus();
      }));
  if (out.size() != source.tensors().size()) {
    return absl::InvalidArgumentError(
        fmt::format("cannot write the model: {} tensors, its configuration "
                    "asks for {}",
                    source.tensors().size(), out.size()));
  }
  return out;
}

TensorStream::TensorStream(const TensorSource& source,
                           const TensorEncoder& encoder,
                           const WriteOptions& options, uint64_t total_bytes)
    : source_(source),
      encoder_(encoder),
      options_(options),
      total_(total_bytes) {}

absl::Status TensorStream::Append(const PlannedTensor& planned,
                                  int64_t head_dim, AtomicFile* file) {
  const ModelTensor& tensor = planned.tensor;
  const auto stored = source_.Stored(tensor.name);
  if (stored.has_value() && stored->type == planned.type &&
      BlockShapeOf(planned.type).elements > 1) {
    return Copy(tensor.name, *stored, head_dim, file);
  }
  const int64_t columns = tensor.shape.back();
  const int64_t rows = tensor.shape.size() < 2 ? 1 : tensor.shape[0];
  const int64_t step =
      head_dim > 0 ? head_dim : std::max<int64_t>(1, kElements / columns);
  std::vector<float> values;
  std::string encoded;
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t end = std::min(rows, begin + step);
    values.resize(static_cast<size_t>((end - begin) * columns));
    EDGETUNE_RETURN_IF_ERROR(source_.ReadRows(tensor.name, begin, end, values));
    source_.Release(tensor.name);
    if (head_dim > 0) values = Permuted(values, head_dim);
    encoded.clear();
    if (auto status = encoder_.Encode(planned.type, values, &encoded);
        !status.ok()) {
      return Prefix(status, fmt::format("tensor {}", tensor.name));
    }
    EDGETUNE_RETURN_IF_ERROR(file->Append(encoded));
    done_ += encoded.size();
    if (!options_.progress) continue;
    EDGETUNE_RETURN_IF_ERROR(options_.progress(done_, total_));
  }
  return absl::OkStatus();
}

absl::Status TensorStream::Copy(const std::string& name,
                                const StoredRows& stored, int64_t head_dim,
                                AtomicFile* file) {
  std::string some;
  std::vector<float> values(stored.width);
  const size_t step =
      std::max<size_t>(1, static_cast<size_t>(kElements) / stored.width);
  for (size_t begin = 0; begin < stored.rows; begin += step) {
    const size_t end = std::min(stored.rows, begin + step);
    some.clear();
    for (size_t row = begin; row < end; ++row) {
      const size_t from = head_dim > 0
                              ? static_cast<size_t>(HfRowOf(
                                    static_cast<int64_t>(row), head_dim))
                              : row;
      const uint8_t* const bytes = stored.row(from);
      Dequantise(stored.type, {bytes, stored.row_bytes}, values);
      if (!std::ranges::all_of(values,
                               [](float x) { return std::isfinite(x); })) {
        return Annotate(absl::InvalidArgumentError(fmt::format(
                            "tensor {}: a value is not finite", name)),
                        ErrorKind::kModel);
      }
      some.append(reinterpret_cast<const char*>(bytes), stored.row_bytes);
    }
    source_.Release(name);
    EDGETUNE_RETURN_IF_ERROR(file->Append(some));
    done_ += some.size();
    if (!options_.progress) continue;
    EDGETUNE_RETURN_IF_ERROR(options_.progress(done_, total_));
  }
  return absl::OkStatus();
}

}  // namespace edgetune
