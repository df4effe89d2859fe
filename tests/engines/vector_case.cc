#include "tests/engines/vector_case.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune::testing {
namespace {

using nlohmann::json;

void ReadTrain(const json& node, VectorCase* out) {
  out->train.lr = node.value("lr", 1e-3);
  out->train.steps = node.value("steps", int64_t{1});
  out->train.weight_decay = node.value("weight_decay", 0.0);
  out->train.grad_clip = node.value("grad_clip", 1.0);
  out->train.micro_batch = node.value("micro_batch", int64_t{4});
  out->train.batch = out->examples.size();
}

}  // namespace

absl::StatusOr<ParameterVector> ReadFloats(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  return ParseParameters(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
      bytes.size() / sizeof(float));
}

absl::StatusOr<VectorCase> ReadVectorCase(const std::string& directory,
                                          const ModelConfig& model) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text,
                            ReadFile(directory + "/case.json"));
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return absl::DataLossError("case.json is not JSON");
  VectorCase out;
  const json& adapter = root["adapter"];
  out.adapter.spec = {adapter["rank"], adapter["alpha"], adapter["targets"]};
  EDGETUNE_ASSIGN_OR_RETURN(out.adapter.layout,
                            AdapterLayoutOf(model, out.adapter.spec));
  EDGETUNE_ASSIGN_OR_RETURN(out.adapter.values,
                            ReadFloats(directory + "/adapter.f32"));
  std::vector<LabelledTokens> examples;
  for (const json& example : root["examples"]) {
    examples.push_back({example["tokens"], example["labelled"]});
  }
  out.examples = ListSource(std::move(examples));
  ReadTrain(root["train"], &out);
  out.loss = root.value("loss", 0.0);
  out.losses = root.value("losses", std::vector<double>());
  out.log_probs = root.value("log_probs", std::vector<std::vector<double>>());
  return out;
}

double WorstTensorError(const ParameterLayout& layout,
                        const ParameterVector& got,
                        const ParameterVector& wanted) {
  if (got.size() != layout.size() || wanted.size() != layout.size()) {
    return INFINITY;
  }
  double worst = 0;
  for (const auto& tensor : layout.tensors()) {
    double error = 0, largest = 0;
    for (size_t i = tensor.offset; i < tensor.offset + tensor.count; ++i) {
      error = std::max(error, std::fabs(double{got[i]} - wanted[i]));
      largest = std::max(largest, std::fabs(double{wanted[i]}));
    }
    // Not std::max: a NaN must come through.
    if (!(error <= worst * largest)) worst = error / largest;
  }
  return worst;
}

double RelativeError(const ParameterVector& got,
                     const ParameterVector& wanted) {
  if (got.size() != wanted.size()) return INFINITY;
  double error = 0, total = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double{got[i]} - wanted[i], 2);
    total += std::pow(double{wanted[i]}, 2);
  }
  return std::sqrt(error / total);
}

}  // namespace edgetune::testing
