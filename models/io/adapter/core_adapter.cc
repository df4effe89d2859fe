#include "models/io/adapter/core_adapter.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/status.h"

namespace edgetune {
namespace {

using Tensor = ParameterLayout::Tensor;
using Rows = std::vector<std::vector<double>>;

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Gram and Schmidt's, each row twice against those before it: once leaves what
// rounding adds where a row is nearly theirs. At most as many rows as columns.
Rows OrthonormalRows(size_t count, size_t length, Random random) {
  Rows rows;
  while (rows.size() < count) {
    std::vector<double> row(length);
    for (double& value : row) value = 2 * random.Uniform() - 1;
    for (int turn = 0; turn < 2; ++turn) {
      for (const std::vector<double>& other : rows) {
        const double along = Dot(row, other);
        for (size_t i = 0; i < length; ++i) row[i] -= along * other[i];
      }
    }
    const double norm = std::sqrt(Dot(row, row));
    if (norm < 1e-6) continue;  // drawn again
    for (double& value : row) value /= norm;
    rows.push_back(std::move(row));
  }
  return rows;
}

bool IsCore(const Tensor& tensor) { return tensor.name.ends_with("lora_R"); }

ParameterLayout WithoutCores(const ParameterLayout& layout) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const Tensor& tensor : layout.tensors()) {
    if (!IsCore(tensor)) tensors.emplace_back(tensor.name, tensor.shape);
  }
  auto plain = ParameterLayout::Make(std::move(tensors));
  EDGETUNE_CHECK(plain.ok());  // a part of a layout
  return *std::move(plain);
}

}  // namespace

ParameterLayout WithCores(const ParameterLayout& plain) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const Tensor& tensor : plain.tensors()) {
    tensors.emplace_back(tensor.name, tensor.shape);
    if (!tensor.name.ends_with("lora_B")) continue;
    std::string core = tensor.name;
    core.back() = 'R';
    tensors.emplace_back(std::move(core),
                         std::vector<int64_t>(2, tensor.shape[1]));
  }
  auto layout = ParameterLayout::Make(std::move(tensors));
  EDGETUNE_CHECK(layout.ok());  // r is at most the sides of A and B
  return *std::move(layout);
}

bool HasCores(const ParameterLayout& layout) {
  return std::any_of(layout.tensors().begin(), layout.tensors().end(), IsCore);
}

ParameterVector InitialCoreAdapter(const ParameterLayout& layout,
                                   uint64_t seed) {
  const Random root(seed);
  ParameterVector values(layout.size());
  for (const Tensor& tensor : layout.tensors()) {
    if (IsCore(tensor)) continue;
    const bool is_a = tensor.name.ends_with("lora_A");
    const auto rank = static_cast<size_t>(tensor.shape[is_a ? 0 : 1]);
    const auto length = static_cast<size_t>(tensor.shape[is_a ? 1 : 0]);
    const Rows rows = OrthonormalRows(rank, length, root.Split(tensor.name));
    for (size_t r = 0; r < rank; ++r) {
      for (size_t i = 0; i < length; ++i) {
        const size_t at = is_a ? r * length + i : i * rank + r;
        values[tensor.offset + at] = static_cast<float>(rows[r][i]);
      }
    }
  }
  return values;
}

void TimesCore(std::span<const float> b, std::span<const float> core,
               std::span<float> product) {
  EDGETUNE_CHECK(b.size() == product.size());
  const auto rank = static_cast<size_t>(
      std::llround(std::sqrt(static_cast<double>(core.size()))));
  EDGETUNE_CHECK(rank * rank == core.size() && b.size() % rank == 0);
  std::vector<double> row(rank);
  for (size_t begin = 0; begin < b.size(); begin += rank) {
    std::fill(row.begin(), row.end(), 0);
    for (size_t k = 0; k < rank; ++k) {
      for (size_t j = 0; j < rank; ++j) {
        row[j] += double{b[begin + k]} * core[k * rank + j];
      }
    }
    for (size_t j = 0; j < rank; ++j) {
      product[begin + j] = static_cast<float>(row[j]);
    }
  }
}

Adapter PlainAdapter(Adapter adapter) {
  if (!HasCores(adapter.layout)) return adapter;
  Adapter plain{adapter.spec, WithoutCores(adapter.layout), {}};
  plain.values.reserve(plain.layout.size());
  const auto& tensors = adapter.layout.tensors();
  const std::span<const float> values = adapter.values;
  for (size_t t = 0; t < tensors.size(); t += 3) {
    const auto part = [&](size_t i) {
      return values.subspan(tensors[t + i].offset, tensors[t + i].count);
    };
    plain.values.insert(plain.values.end(), part(0).begin(), part(0).end());
    ParameterVector b(tensors[t + 1].count);
    TimesCore(part(1), part(2), b);
    plain.values.insert(plain.values.end(), b.begin(), b.end());
  }
  return plain;
}

const Adapter& PlainForm(const Adapter& adapter, std::optional<Adapter>& made) {
  if (!HasCores(adapter.layout)) return adapter;
  return made.emplace(PlainAdapter(adapter));
}

}  // namespace edgetune
