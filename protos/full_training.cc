#include "protos/full_training.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace edgetune {
namespace {

constexpr int kMostTensors = 10'000;
constexpr int kMostParts = 1'000;
constexpr std::string_view kWhy =
    "of images parameters are trained as they are";

void CheckFiles(const v1::ModelSpec& model, FieldChecks& check) {
  constexpr std::string_view kFiles[] = {"config.json", "model.safetensors"};
  bool good = model.parts_size() == 2;
  for (int i = 0; good && i < 2; ++i) {
    const v1::FilePart& part = model.parts(i);
    good = part.name() == kFiles[i];
    const std::string at = fmt::format("model.parts[{}]", i);
    check.Whole(at + ".size", part.size(), 1, uint64_t{1} << 40);
    check.Digest(at + ".sha256", part.sha256());
  }
  check.Require(good, "model.parts",
                fmt::format("a list of {} files", model.parts_size()),
                "config.json and model.safetensors of a model of images, with "
                "lora.rule = \"full\"");
  check.Word("model.precision", model.precision(), {"auto", "fp32"});
}

void CheckAllParameters(const v1::LoraSpec& lora, FieldChecks& check) {
  check.Require(lora.rank() == 0, "lora.rank", std::to_string(lora.rank()),
                fmt::format("0 with lora.rule = \"full\": {}", kWhy));
  check.Require(lora.alpha() == 0, "lora.alpha", std::to_string(lora.alpha()),
                fmt::format("0 with lora.rule = \"full\": {}", kWhy));
  // Whether the network has parts of these names is the device's to say.
  check.Whole("lora.targets", static_cast<uint64_t>(lora.targets_size()), 0,
              kMostParts);
  for (int i = 0; i < lora.targets_size() && check.status().ok(); ++i) {
    check.Label(fmt::format("lora.targets[{}]", i), lora.targets(i), 200);
  }
  check.Digest("lora.initial_digest", lora.initial_digest());
  check.Whole("lora.layout", static_cast<uint64_t>(lora.layout_size()), 1,
              kMostTensors);
  // Shapes, and that no name comes twice, are ParameterLayout's to say.
  for (int i = 0; i < lora.layout_size() && check.status().ok(); ++i) {
    check.Label(fmt::format("lora.layout[{}].name", i), lora.layout(i).name(),
                200);
  }
}

}  // namespace

bool TrainsAll(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "full";
}

void CheckFullTraining(const v1::TaskPlan& plan, FieldChecks& check) {
  CheckFiles(plan.model(), check);
  CheckAllParameters(plan.lora(), check);
  check.Require(plan.data().schema() == "image", "data.schema",
                plan.data().schema().substr(0, 100),
                "\"image\" with lora.rule = \"full\": of models of texts LoRA "
                "factors are trained");
  check.Whole("data.max_length", plan.data().max_length(), 1, 1);
  check.Real("data.holdout", plan.data().holdout(), 0, 0.5);
  check.Require(plan.train().engine() == "reference", "train.engine",
                plan.train().engine().substr(0, 100),
                "\"reference\" with lora.rule = \"full\": the engine fused "
                "knows no images");
  check.Require(plan.train().memory_budget() == 0, "train.memory_budget",
                std::to_string(plan.train().memory_budget()),
                "0 with lora.rule = \"full\": what a vision trainer takes is "
                "not predicted");
}

}  // namespace edgetune
