#include "protos/plan_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/status.h"
#include "protos/field_checks.h"
#include "protos/full_training.h"
#include "protos/local_work.h"
#include "protos/plan_check_rounds.h"
#include "protos/plan_check_rules.h"

namespace edgetune {
namespace {

constexpr size_t kMaxPayload = 1 << 20;
constexpr uint64_t kMaxRounds = 10000;
constexpr int kMostParts = 1000;
constexpr uint64_t kMaxAttempts = 1000;
constexpr int64_t kMostRank = 1024;
constexpr uint64_t kMaxCoordinates = uint64_t{1} << 31;
constexpr uint64_t kSecondMs = 1000;
constexpr uint64_t kDayMs = 24 * 3600 * kSecondMs;

struct Target {
  std::string_view name;
  std::string_view module;
};
// In the order in which a layer's tensors stand in a layout.
constexpr Target kTargets[] = {
    {"q_proj", "self_attn"}, {"k_proj", "self_attn"}, {"v_proj", "self_attn"},
    {"o_proj", "self_attn"}, {"gate_proj", "mlp"},    {"up_proj", "mlp"},
    {"down_proj", "mlp"},
};

size_t TargetIndex(std::string_view name) {
  return std::find_if(std::begin(kTargets), std::end(kTargets),
                      [name](const Target& t) { return t.name == name; }) -
         std::begin(kTargets);
}

void CheckHeader(const v1::DocumentHeader& header, FieldChecks& check) {
  check.Whole("header.version", header.version(), 1, 1);
  check.Require(header.issued_ms() > 0, "header.issued_ms",
                std::to_string(header.issued_ms()), "a time after 1970");
  check.Require(
      header.expires_ms() > header.issued_ms(), "header.expires_ms",
      std::to_string(header.expires_ms()),
      fmt::format("more than header.issued_ms = {}", header.issued_ms()));
}

// A device makes files of these names.
bool IsDirectoryFile(std::string_view name) {
  constexpr std::string_view kTexts[] = {
      "chat_template.jinja",    "config.json",
      "generation_config.json", "tokenizer.json",
      "tokenizer_config.json",  "model.safetensors.index.json"};
  if (std::find(std::begin(kTexts), std::end(kTexts), name) !=
      std::end(kTexts)) {
    return true;
  }
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  return plain && !name.starts_with('.') && name.size() <= 100 &&
         name.ends_with(".safetensors");
}

// One GGUF, or the files of a Hugging Face directory in the order of names.
void CheckParts(const v1::ModelSpec& model, FieldChecks& check) {
  const auto& parts = model.parts();
  const auto has = [&](std::string_view name) {
    return std::any_of(parts.begin(), parts.end(),
                       [&](const auto& part) { return part.name() == name; });
  };
  check.Require(
      parts.size() == 1 || (has("config.json") && has("tokenizer.json") &&
                            parts.size() <= kMostParts),
      "model.parts", fmt::format("a list of {} files", parts.size()),
      "exactly one file, or config.json, tokenizer.json and weights");
  for (int i = 0; i < parts.size(); ++i) {
    const std::string at = fmt::format("model.parts[{}]", i);
    if (parts.size() == 1) {
      check.Word(at + ".name", parts[i].name(), {"model.gguf"});
    } else {
      check.Require(IsDirectoryFile(parts[i].name()) &&
                        (i == 0 || parts[i - 1].name() < parts[i].name()),
                    at + ".name", "a name out of order or not known",
                    "files of a model, in the order of their names");
    }
    check.Whole(at + ".size", parts[i].size(), 1, uint64_t{1} << 40);
    check.Digest(at + ".sha256", parts[i].sha256());
  }
}

void CheckModel(const v1::ModelSpec& model, FieldChecks& check) {
  check.Label("model.name", model.name(), 100);
  check.Digest("model.digest", model.digest());
  check.Word("model.precision", model.precision(),
             {"auto", "fp32", "bf16", "int8"}, {"4bit"});
}

void CheckTargets(const v1::LoraSpec& lora, FieldChecks& check) {
  check.Require(lora.targets_size() > 0, "lora.targets", "empty",
                "at least one target");
  size_t next = 0;
  for (int i = 0; i < lora.targets_size(); ++i) {
    const std::string field = fmt::format("lora.targets[{}]", i);
    check.Word(field, lora.targets(i),
               {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                "down_proj"});
    const size_t index = TargetIndex(lora.targets(i));
    check.Require(index >= next, field, lora.targets(i),
                  "each target once, in the order q_proj k_proj v_proj o_proj "
                  "gate_proj up_proj down_proj");
    next = index + 1;
  }
}

// A is [rank, in], B is [out, rank]; low rank means rank <= in and out. A core
// R is [rank, rank].
bool HasShape(const v1::LayoutTensor& tensor, char factor, int64_t rank) {
  const auto& shape = tensor.shape();
  if (shape.size() != 2) return false;
  switch (factor) {
    case 'A':
      return shape[0] == rank && shape[1] >= rank;
    case 'B':
      return shape[1] == rank && shape[0] >= rank;
    default:
      return shape[0] == rank && shape[1] == rank;
  }
}

void CheckShape(const v1::LayoutTensor& tensor, const std::string& field,
                char factor, int64_t rank, FieldChecks& check) {
  const auto& shape = tensor.shape();
  const char* wanted = factor == 'A'   ? "[rank, in]"
                       : factor == 'B' ? "[out, rank]"
                                       : "[rank, rank]";
  check.Require(
      HasShape(tensor, factor, rank), field + ".shape",
      fmt::format("[{}] of {}", fmt::join(shape, ", "),
                  tensor.name().substr(0, 100)),
      fmt::format("{} with a rank of {}, neither side below it", wanted, rank));
}

// Layer by layer, target by target, A then B (then R where the rule has cores),
// and nothing else.
void CheckLayout(const v1::LoraSpec& lora, std::string_view factors,
                 int64_t rank, FieldChecks& check) {
  const int per_module = static_cast<int>(factors.size());
  const int per_layer = per_module * lora.targets_size();
  check.Require(lora.layout_size() > 0 && lora.layout_size() % per_layer == 0,
                "lora.layout", fmt::format("{} tensors", lora.layout_size()),
                fmt::format("{} for each layer", per_layer));
  if (!check.status().ok()) return;
  for (int i = 0; i < lora.layout_size(); ++i) {
    const v1::LayoutTensor& tensor = lora.layout(i);
    const char factor = factors[i % per_module];
    const Target& target =
        kTargets[TargetIndex(lora.targets(i % per_layer / per_module))];
    const std::string name =
        fmt::format("layers.{}.{}.{}.lora_{}", i / per_layer, target.module,
                    target.name, factor);
    // Devices check hundreds of tensors in each round: words are made for what
    // is wrong alone.
    if (tensor.name() == name && HasShape(tensor, factor, rank)) continue;
    const std::string field = fmt::format("lora.layout[{}]", i);
    check.Word(field + ".name", tensor.name(), {name});
    CheckShape(tensor, field, factor, rank, check);
    if (!check.status().ok()) return;
  }
}

void CheckLora(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::LoraSpec& lora = plan.lora();
  check.Whole("lora.rank", lora.rank(), 1, kMostRank);
  check.Positive("lora.alpha", lora.alpha(), kLargestSetting);
  CheckTargets(lora, check);
  check.Word("lora.rule", lora.rule(),
             {"fedit", "ffa", "rolora", "fedsa", "hetlora", "flexlora", "fedsb",
              "fedex", "flora", "full"});
  check.Digest("lora.initial_digest", lora.initial_digest());
  if (!check.status().ok()) return;
  const int64_t frozen = FrozenRank(plan);
  const bool keeps = KeepsFrozenSlices(plan);
  check.Require(
      keeps ? frozen >= 1 && frozen <= kMostRank : frozen == 0, "lora.layout",
      fmt::format("{} frozen rank slices", frozen),
      fmt::format("1 to {} beyond lora.rank under {}", kMostRank, lora.rule()));
  if (!check.status().ok()) return;
  CheckLayout(lora, TrainsCores(plan) ? "ABR" : "AB", lora.rank() + frozen,
              check);
}

void CheckData(const v1::DataSpec& data, FieldChecks& check) {
  check.Require(data.schema() != "image", "data.schema", "\"image\"",
                "lora.rule = \"full\" beside it: of models of images all "
                "parameters are trained");
  check.Word("data.schema", data.schema(),
             {"auto", "messages", "sharegpt", "prompt", "alpaca", "text"});
  check.Whole("data.max_length", data.max_length(), 2, 1 << 17);
  check.Real("data.holdout", data.holdout(), 0, 0.5);
}

void CheckTimes(const v1::RoundsSpec& rounds, FieldChecks& check) {
  check.Whole("rounds.deadline_ms", rounds.deadline_ms(), kSecondMs,
              7 * kDayMs);
  if (rounds.select_timeout_ms() != 0) {
    check.Whole("rounds.select_timeout_ms", rounds.select_timeout_ms(),
                kSecondMs, 7 * kDayMs);
  }
  check.Whole("rounds.reconnect_grace_ms", rounds.reconnect_grace_ms(), 1,
              kDayMs);
}

void CheckRounds(const v1::RoundsSpec& rounds, FieldChecks& check) {
  check.Whole("rounds.count", rounds.count(), 1, kMaxRounds);
  check.Whole("rounds.cohort", rounds.cohort(), 1, 100000);
  check.Real("rounds.over_select", rounds.over_select(), 1, 3);
  if (check.status().ok()) {
    check.Whole("rounds.quorum", rounds.quorum(), 1, CohortAsked(rounds));
  }
  CheckTimes(rounds, check);
  check.Whole("rounds.attempts", rounds.attempts(), 1, kMaxAttempts);
  check.Word("rounds.weights", rounds.weights(), {"examples", "equal"});
  check.Positive("rounds.weight_cap", rounds.weight_cap(), kLargestSetting);
  check.Positive("rounds.clear_bound", rounds.clear_bound(), 1e6);
  check.Whole("rounds.eval_examples", rounds.eval_examples(), 1, 100000);
  CheckServerStep(rounds, check);
}

void CheckMaskingTerms(const v1::RoundManifest& manifest, FieldChecks& check) {
  const v1::MaskingTerms& terms = manifest.masking();
  check.Whole("masking.protocol_version", terms.protocol_version(), 1, 1);
  check.Whole("masking.roster_version", terms.roster_version(), 1,
              std::numeric_limits<uint64_t>::max());
  check.Digest("masking.roster_root", terms.roster_root());
  check.Whole("masking.roster_leaves", terms.roster_leaves(), 1,
              uint64_t{1} << 32);
  check.Digest("masking.nonce", terms.nonce());
  int64_t before = manifest.header().issued_ms();
  for (const int64_t by :
       {terms.keys_by_ms(), terms.shares_by_ms(), terms.acks_by_ms(),
        terms.input_by_ms(), terms.survivors_by_ms(), terms.unmask_by_ms()}) {
    check.Require(by > before, "masking deadlines", std::to_string(by),
                  fmt::format("more than the one before, {}", before));
    before = by;
  }
  check.Require(before == manifest.deadline_ms(), "masking.unmask_by_ms",
                std::to_string(before),
                fmt::format("deadline_ms = {}", manifest.deadline_ms()));
}

template <typename Document>
absl::StatusOr<Document> ParseDocument(std::string_view payload,
                                       std::string_view name) {
  if (payload.size() > kMaxPayload) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} bytes, at most {} are read", name,
                    payload.size(), kMaxPayload));
  }
  Document document;
  if (!document.ParseFromArray(payload.data(),
                               static_cast<int>(payload.size()))) {
    return absl::InvalidArgumentError(
        fmt::format("{} of {} bytes is not a protobuf message of its kind",
                    name, payload.size()));
  }
  return document;
}

}  // namespace

absl::Status CheckPlan(const v1::TaskPlan& plan) {
  FieldChecks check("plan");
  check.NoUnknownFields(plan, "");
  CheckHeader(plan.header(), check);
  check.Digest("nonce", plan.nonce());
  check.Label("name", plan.name(), 100);
  CheckModel(plan.model(), check);
  if (TrainsAll(plan)) {
    CheckFullTraining(plan, check);
  } else {
    CheckParts(plan.model(), check);
    CheckLora(plan, check);
    CheckData(plan.data(), check);
  }
  CheckRounds(plan.rounds(), check);
  CheckAggregator(plan, check);
  CheckLocalWork(plan, check);
  CheckLoraRule(plan, check);
  check.Label("fleet.population", plan.fleet().population(), 64);
  CheckSecAgg(plan, check);
  check.Word("privacy.mode", plan.privacy().mode(), {"off"},
             {"central", "distributed", "tree"});
  EDGETUNE_RETURN_IF_ERROR(check.status());
  return AdapterLayout(plan).status();
}

absl::StatusOr<v1::TaskPlan> ParsePlan(std::string_view payload) {
  EDGETUNE_ASSIGN_OR_RETURN(auto plan,
                            ParseDocument<v1::TaskPlan>(payload, "plan"));
  EDGETUNE_RETURN_IF_ERROR(CheckPlan(plan));
  return plan;
}

absl::StatusOr<v1::RoundManifest> ParseManifest(std::string_view payload) {
  EDGETUNE_ASSIGN_OR_RETURN(auto manifest, ParseDocument<v1::RoundManifest>(
                                               payload, "round manifest"));
  FieldChecks check("round manifest");
  CheckHeader(manifest.header(), check);
  const bool train = manifest.kind() == v1::RoundManifest::TRAIN;
  check.Require(train || manifest.kind() == v1::RoundManifest::EVAL, "kind",
                std::to_string(manifest.kind()), "TRAIN or EVAL");
  check.Digest("plan_digest", manifest.plan_digest());
  check.Whole("round", manifest.round(), 0, kMaxRounds);
  check.Whole("attempt", manifest.attempt(), 0, kMaxAttempts);
  check.Digest("adapter_digest", manifest.adapter_digest());
  check.Whole("coordinates", manifest.coordinates(), train ? 1 : 0,
              train ? kMaxCoordinates : 0);
  if (!manifest.prev_card_digest().empty()) {
    check.Digest("prev_card_digest", manifest.prev_card_digest());
  }
  if (train && !manifest.control_digest().empty()) {
    check.Digest("control_digest", manifest.control_digest());
  }
  check.Require(train || manifest.control_digest().empty(), "control_digest",
                "set", "nothing in an evaluation");
  check.Require(manifest.deadline_ms() > manifest.header().issued_ms(),
                "deadline_ms", std::to_string(manifest.deadline_ms()),
                "more than header.issued_ms");
  if (manifest.has_masking()) CheckMaskingTerms(manifest, check);
  EDGETUNE_RETURN_IF_ERROR(check.status());
  return manifest;
}

absl::StatusOr<v1::ModelCard> ParseCard(std::string_view payload) {
  EDGETUNE_ASSIGN_OR_RETURN(
      auto card, ParseDocument<v1::ModelCard>(payload, "model card"));
  FieldChecks check("model card");
  CheckHeader(card.header(), check);
  check.Digest("plan_digest", card.plan_digest());
  check.Whole("version", card.version(), 0, kMaxRounds);
  check.Digest("adapter_digest", card.adapter_digest());
  if (card.version() == 0) {
    check.Require(card.prev_card_digest().empty(), "prev_card_digest", "set",
                  "nothing in version 0");
    check.Whole("updates", card.updates(), 0, 0);
    check.Real("weight_sum", card.weight_sum(), 0, 0);
  } else {
    check.Digest("prev_card_digest", card.prev_card_digest());
    check.Whole("updates", card.updates(), 1, 300000);
    check.Positive("weight_sum", card.weight_sum(),
                   std::numeric_limits<double>::max());
  }
  EDGETUNE_RETURN_IF_ERROR(check.status());
  return card;
}

absl::StatusOr<v1::SpentOverride> ParseOverride(std::string_view payload) {
  EDGETUNE_ASSIGN_OR_RETURN(
      auto document, ParseDocument<v1::SpentOverride>(payload, "override"));
  FieldChecks check("override");
  CheckHeader(document.header(), check);
  check.Digest("plan_digest", document.plan_digest());
  check.Digest("adapter_digest", document.adapter_digest());
  check.Whole("extra", document.extra(), 1, 100);
  EDGETUNE_RETURN_IF_ERROR(check.status());
  return document;
}

}  // namespace edgetune
