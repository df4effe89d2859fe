#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "tools/child_process.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/model_verb.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

// Elements read at a time.
constexpr int64_t kElements = 1 << 18;

absl::Status Unusable(const std::string& message) {
  return Annotate(absl::DataLossError(message), ErrorKind::kModel,
                  "fetch or import the model again");
}

// What the pinned or imported digests say; "" when none are known.
absl::StatusOr<std::string> CheckDigests(
    const std::string& name, const std::string& path,
    const std::vector<v1::FilePart>& parts) {
  if (const KnownModel* known = FindKnownModel(name); known != nullptr) {
    const std::string got = ToHex(parts[0].sha256());
    if (got == known->sha256) return "as pinned";
    return Unusable(fmt::format("{} has SHA-256 {}, wanted {}", path, got,
                                std::string(known->sha256)));
  }
  std::error_code ignored;
  const std::filesystem::path place =
      std::filesystem::is_directory(path, ignored)
          ? std::filesystem::path(path)
          : std::filesystem::path(path).parent_path();
  const std::string record = (place / kPartsFile).string();
  if (!std::filesystem::exists(record, ignored)) return "";
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(record));
  if (text == PartsText(parts)) return "as imported";
  return Unusable(fmt::format(
      "{} has other files than were imported, or others' bytes (digest {})",
      place.string(), ToHex(BaseDigest(parts))));
}

absl::Status CheckTensor(const ModelFile& model, const TensorInfo& tensor,
                         const std::function<void(int64_t)>& done) {
  const int64_t step = std::max<int64_t>(1, kElements / tensor.columns());
  std::vector<float> values;
  for (int64_t row = 0; row < tensor.rows(); row += step) {
    if (Interrupted()) return InterruptedError();
    const int64_t end = std::min(tensor.rows(), row + step);
    values.resize(static_cast<size_t>((end - row) * tensor.columns()));
    EDGETUNE_RETURN_IF_ERROR(model.ReadRows(tensor.name, row, end, values));
    model.Release(tensor.name);
    const auto bad =
        std::find_if(values.begin(), values.end(),
                     [](float value) { return !std::isfinite(value); });
    if (bad != values.end()) {
      return Unusable(
          fmt::format("tensor {} holds {} in row {}", tensor.name, *bad,
                      row + (bad - values.begin()) / tensor.columns()));
    }
    done(end - row);
  }
  return absl::OkStatus();
}

absl::Status CheckTensors(const ModelFile& model, const Output& output) {
  uint64_t total = 0, done = 0;
  for (const TensorInfo& tensor : model.tensors()) total += tensor.rows();
  Progress progress(output, "verify", total, Progress::Unit::kCount);
  for (const TensorInfo& tensor : model.tensors()) {
    EDGETUNE_RETURN_IF_ERROR(CheckTensor(model, tensor, [&](int64_t rows) {
      progress.Update(done += static_cast<uint64_t>(rows), tensor.name);
    }));
  }
  return absl::OkStatus();
}

// Texts whose bytes, as far as the vocabulary has them, must come back.
absl::Status CheckTokenizer(const Tokenizer& tokenizer) {
  const std::vector<std::string> texts = {
      "The capital of France is Paris.\n\n\tfor (i = 0; i < 1234; ++i) x[i]++;",
      "Café déjà vu, naïve façade: Привет, мир! 今日は。 😀"};
  for (const std::string& text : texts) {
    const std::string back = tokenizer.Decode(tokenizer.Encode(text, false));
    if (back != text) {
      return Unusable(
          fmt::format("the tokenizer makes '{}' of '{}'", back, text));
    }
  }
  // A normaliser may change what a lone token says.
  const int64_t size = tokenizer.data().nfc ? 0 : tokenizer.size();
  for (int32_t id = 0; id < size; ++id) {
    if (tokenizer.data().types[static_cast<size_t>(id)] != 1) continue;
    const std::string text = tokenizer.Decode({{id}});
    if (tokenizer.Decode(tokenizer.Encode(text, false)) != text) {
      return Unusable(
          fmt::format("token {} of the tokenizer does not come back", id));
    }
  }
  return absl::OkStatus();
}

absl::Status Verify(const std::string& name, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string path, ResolveModel(name));
  // Names, shapes and types are checked on opening.
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(name));
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(auto parts, BasePartsOf(path));
  EDGETUNE_ASSIGN_OR_RETURN(std::string known, CheckDigests(name, path, parts));
  EDGETUNE_RETURN_IF_ERROR(CheckTensors(*model, output));
  EDGETUNE_RETURN_IF_ERROR(CheckTokenizer(model->tokenizer()));
  const std::string digest = ToHex(BaseDigest(parts));
  return output.Finish(
      {{"path", path},
       {"digest", digest},
       {"digest_known", !known.empty()},
       {"tensors", model->tensors().size()},
       {"tokens", model->tokenizer().size()}},
      output.quiet
          ? digest
          : fmt::format("{}: {} tensors, all finite; {} tokens, texts come "
                        "back; digest {} ({})",
                        path, model->tensors().size(),
                        model->tokenizer().size(), digest,
                        known.empty() ? "not known before" : known));
}

}  // namespace

void AddModelVerifyVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto name = std::make_shared<std::string>();
  CLI::App* verb =
      AddVerb(group, invocation, "verify",
              "Read all of a model: digests, values, shapes, tokenizer",
              [name, &output] { return Verify(*name, output); });
  verb->add_option("model", *name,
                   "Name in the cache, GGUF file or Hugging Face directory")
      ->required();
}

}  // namespace edgetune
