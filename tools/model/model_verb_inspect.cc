#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/vision/vision_network.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/model_verb.h"

namespace edgetune {
namespace {

using nlohmann::json;

json FilesJson(const std::vector<v1::FilePart>& parts) {
  json out = json::array();
  for (const v1::FilePart& part : parts) {
    out.push_back({{"name", part.name()},
                   {"bytes", part.size()},
                   {"sha256", ToHex(part.sha256())}});
  }
  return out;
}

json TensorsJson(const ModelFile& model) {
  json out = json::array();
  for (const TensorInfo& tensor : model.tensors()) {
    out.push_back({{"name", tensor.name},
                   {"shape", tensor.shape},
                   {"type", tensor.type},
                   {"bytes", tensor.bytes}});
  }
  return out;
}

json ScalingJson(const ModelConfig& c) {
  if (c.rope_divisors.empty()) return nullptr;
  if (!c.rope_scaling.has_value()) return {{"divisors", c.rope_divisors}};
  const Llama3RopeScaling& s = *c.rope_scaling;
  return {{"type", "llama3"},
          {"factor", s.factor},
          {"low_freq_factor", s.low_freq_factor},
          {"high_freq_factor", s.high_freq_factor},
          {"original_context", s.original_context}};
}

std::string TemplateText(const ChatTemplate& chat) {
  if (chat.present()) return "ChatML";
  if (chat.source().empty()) return "none";
  return "not ChatML: not rendered, raw text works";
}

std::string ScalingText(const ModelConfig& c) {
  if (c.rope_divisors.empty()) return "none";
  if (!c.rope_scaling.has_value()) return "by divisors in the file";
  return fmt::format("llama3, factor {} beyond {}", c.rope_scaling->factor,
                     c.rope_scaling->original_context);
}

using Rows = std::vector<std::vector<std::string>>;

Rows TextRows(const ModelFile& model) {
  const ModelConfig& c = model.config();
  return {
      {"layers", fmt::format("{}", c.layers)},
      {"hidden, ffn", fmt::format("{}, {}", c.hidden, c.ffn)},
      {"heads", fmt::format("{} query, {} key/value of {}", c.heads, c.kv_heads,
                            c.head_dim)},
      {"vocabulary", fmt::format("{}", c.vocab)},
      {"context", fmt::format("{}", c.context)},
      {"RoPE theta", fmt::format("{}", c.rope_theta)},
      {"RoPE scaling", ScalingText(c)},
      {"biases", c.qkv_bias ? "q, k, v" : "none"},
      {"tied head", c.tied ? "yes" : "no"},
      {"chat template", TemplateText(model.chat_template())},
  };
}

const char* NormName(const ModelConfig& c) {
  if (!HasVariants(c.architecture)) return "none";
  return c.variant.norm == VisionVariant::Norm::kGroup ? "group" : "batch";
}

Rows ImageRows(const ModelConfig& c) {
  Rows rows = {
      {"images", fmt::format("{} channels, {} by {} pixels", c.image->channels,
                             c.image->height, c.image->width)},
      {"classes", fmt::format("{}", c.vocab)},
      {"norm", NormName(c)},
  };
  if (HasVariants(c.architecture)) {
    rows.push_back(
        {"width multiplier", fmt::format("{}", c.variant.width_multiplier)});
  }
  if (!c.pixels.mean.empty()) {
    rows.push_back({"pixel mean", fmt::format("{}", c.pixels.mean)});
    rows.push_back({"pixel deviation", fmt::format("{}", c.pixels.deviation)});
  }
  return rows;
}

std::string InspectText(const std::string& path, const ModelFile& model,
                        const json& data) {
  const ModelConfig& c = model.config();
  std::string types;
  for (const auto& [type, count] : data["tensor_types"].items()) {
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count.get<int>(),
                         type);
  }
  const bool lone = data["files"].size() == 1;
  Rows rows = {{lone ? "file" : "directory", path}};
  for (const json& file : data["files"]) {
    rows.push_back({lone ? "SHA-256" : file["name"].get<std::string>(),
                    file["sha256"].get<std::string>()});
  }
  rows.push_back({"base digest", data["digest"].get<std::string>()});
  rows.push_back({"name", c.name});
  rows.push_back({"architecture", c.architecture});
  rows.push_back(
      {"parameters", fmt::format("{}", data["parameters"].get<int64_t>())});
  const Rows own = c.image.has_value() ? ImageRows(c) : TextRows(model);
  rows.insert(rows.end(), own.begin(), own.end());
  rows.push_back({"tensors", types});
  return FormatTable(rows);
}

json ImageConfigJson(const ModelConfig& c) {
  json out = {{"name", c.name},
              {"architecture", c.architecture},
              {"channels", c.image->channels},
              {"height", c.image->height},
              {"width", c.image->width},
              {"classes", c.vocab},
              {"norm", NormName(c)},
              {"pixel_mean", c.pixels.mean},
              {"pixel_deviation", c.pixels.deviation}};
  out["width_multiplier"] =
      HasVariants(c.architecture) ? json(c.variant.width_multiplier) : json();
  return out;
}

json TextConfigJson(const ModelConfig& c) {
  return {{"name", c.name},
          {"architecture", c.architecture},
          {"hidden", c.hidden},
          {"ffn", c.ffn},
          {"layers", c.layers},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"vocabulary", c.vocab},
          {"context", c.context},
          {"rms_eps", c.rms_eps},
          {"rope_theta", c.rope_theta},
          {"rope_scaling", ScalingJson(c)},
          {"qkv_bias", c.qkv_bias},
          {"end_tokens", c.end_tokens},
          {"tied", c.tied}};
}

absl::Status Inspect(const std::string& name, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string path, ResolveModel(name));
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenBase(name));
  EDGETUNE_ASSIGN_OR_RETURN(auto parts, BasePartsOf(path));
  const bool images = model->config().image.has_value();
  json types = json::object();
  int64_t parameters = 0;
  for (const TensorInfo& tensor : model->tensors()) {
    types[tensor.type] = types.value(tensor.type, 0) + 1;
    if (!images) parameters += tensor.rows() * tensor.columns();
  }
  if (images) {  // what batch norm divides by is none
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                              AdapterLayoutOf(model->config(), {}));
    parameters = static_cast<int64_t>(layout.size());
  }
  json data = images ? ImageConfigJson(model->config())
                     : TextConfigJson(model->config());
  data["path"] = path;
  data["files"] = FilesJson(parts);
  // Of a lone file its own, as other tools print it.
  data["sha256"] = parts.size() == 1 ? json(ToHex(parts[0].sha256())) : json();
  data["digest"] = ToHex(BaseDigest(parts));
  data["parameters"] = parameters;
  if (!images) data["chat_template"] = model->chat_template().present();
  data["tensor_types"] = types;
  data["tensors"] = TensorsJson(*model);
  return output.Finish(data, InspectText(path, *model, data));
}

}  // namespace

void AddModelInspectVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto name = std::make_shared<std::string>();
  CLI::App* verb = AddVerb(group, invocation, "inspect",
                           "Check a model's files and show what they hold",
                           [name, &output] { return Inspect(*name, output); });
  verb->add_option("model", *name,
                   "Name in the cache, GGUF file, Hugging Face directory or "
                   "directory of a model of images")
      ->required();
}

}  // namespace edgetune
