// What an engine computes, for the comparisons in tests/oracles/ (built once
// for each: oracle_dump for the reference, oracle_dump_fused):
//   oracle_dump MODEL.gguf CASE_DIR OUT_DIR [fp32|bf16|auto] [THREADS]
// writes OUT_DIR/out.json and gradient.f32, delta.f32. With the one argument
//   oracle_dump --tiny-models DIR
// it writes the two-layer models that the stored vectors belong to, and as
//   oracle_dump --logits MODEL IDS.json OUT.json
// log-probabilities and next logits of each list of ids, in float32.

#include <sys/resource.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tests/engines/engine_under_test.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/tiny_model.h"
#include "training/parse.h"

namespace edgetune::testing {
namespace {

using nlohmann::json;

double PeakMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) * 1e-9;
}

class Timer {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start_)
        .count();
  }

 private:
  const std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
};

absl::Status WriteTinyModels(const std::string& directory) {
  TinyModelOptions tied;
  tied.linear_type = BlockType::kQ4_1;
  tied.embedding_type = BlockType::kQ8_0;
  EDGETUNE_RETURN_IF_ERROR(WriteTinyModel(directory + "/tiny_tied.gguf", tied));
  TinyModelOptions untied;
  untied.hidden = 32;
  untied.ffn = 64;
  untied.tied = false;
  untied.rope_theta = 100000;
  untied.seed = 2;
  return WriteTinyModel(directory + "/tiny_untied.gguf", untied);
}

absl::Status Score(const std::shared_ptr<const ModelFile>& model,
                   const VectorCase& given, const EngineOptions& options,
                   json* out) {
  EDGETUNE_ASSIGN_OR_RETURN(auto language_model,
                            MakeLanguageModelUnderTest(model, options));
  for (const bool adapted : {false, true}) {
    EDGETUNE_RETURN_IF_ERROR(
        language_model->SetAdapter(adapted ? &given.adapter : nullptr));
    const std::string suffix = adapted ? "" : "_base";
    for (int64_t i = 0; i < given.examples.size(); ++i) {
      const auto& ids = given.examples.Get(i).tokens;
      EDGETUNE_ASSIGN_OR_RETURN(auto scores, language_model->ScoreTokens(ids));
      (*out)["log_probs" + suffix].push_back(scores);
      GenerateOptions generate;
      generate.max_tokens = 12;
      const Timer timer;
      EDGETUNE_ASSIGN_OR_RETURN(auto greedy,
                                language_model->Generate(ids, generate, {}));
      (*out)["greedy_seconds" + suffix].push_back(timer.Seconds());
      (*out)["greedy" + suffix].push_back(greedy);
      EDGETUNE_ASSIGN_OR_RETURN(auto logits, language_model->NextLogits(ids));
      (*out)["next_logits" + suffix].push_back(logits);
    }
  }
  return absl::OkStatus();
}

absl::Status Learn(const std::shared_ptr<const ModelFile>& model,
                   const VectorCase& given, const EngineOptions& options,
                   const std::string& directory, json* out) {
  EDGETUNE_ASSIGN_OR_RETURN(auto trainer, MakeTrainerUnderTest(model, options));
  (*out)["precision"] = trainer->precision();
  EDGETUNE_ASSIGN_OR_RETURN(const BatchGradient batch,
                            GradientOf(*trainer, given.adapter, given.examples,
                                       given.train.micro_batch));
  (*out)["loss"] = batch.nll_sum / static_cast<double>(batch.labelled);
  EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(
      directory + "/gradient.f32", SerializeParameters(batch.gradient)));
  const StopToken stop{false};
  Timer timer;
  double last = 0, last_cpu = CpuSeconds();
  EDGETUNE_ASSIGN_OR_RETURN(
      const TrainResult result,
      trainer->Train(given.adapter, given.examples, given.train, nullptr, stop,
                     [&](const TrainProgress& progress) {
                       (*out)["losses"].push_back(progress.loss);
                       const double now = timer.Seconds();
                       const double cpu = CpuSeconds();
                       (*out)["step_seconds"].push_back(now - last);
                       (*out)["step_cpu_seconds"].push_back(cpu - last_cpu);
                       last = now;
                       last_cpu = cpu;
                     }));
  (*out)["train_peak_mb"] = PeakMegabytes();
  return WriteFileAtomically(directory + "/delta.f32",
                             SerializeParameters(result.delta));
}

absl::Status WriteLogits(const std::string& path, const std::string& ids_path,
                         const std::string& out_path) {
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            ModelFile::Open(path));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(ids_path));
  EDGETUNE_ASSIGN_OR_RETURN(
      auto language_model,
      MakeLanguageModelUnderTest(
          model, {.precision = Precision::kFp32, .threads = 1}));
  json out;
  for (const json& one : json::parse(text)) {
    const auto ids = one.get<std::vector<int32_t>>();
    EDGETUNE_ASSIGN_OR_RETURN(auto scores, language_model->ScoreTokens(ids));
    EDGETUNE_ASSIGN_OR_RETURN(auto logits, language_model->NextLogits(ids));
    out["log_probs"].push_back(scores);
    out["next_logits"].push_back(logits);
  }
  return WriteFileAtomically(out_path, out.dump());
}

absl::Status Main(const std::vector<std::string>& args) {
  if (args.size() == 4 && args[0] == "--logits") {
    return WriteLogits(args[1], args[2], args[3]);
  }
  if (args.size() == 2 && args[0] == "--tiny-models") {
    return WriteTinyModels(args[1]);
  }
  if (args.size() < 3 || args.size() > 5) {
    return absl::InvalidArgumentError("see the head of oracle_dump.cc");
  }
  EngineOptions options;
  EDGETUNE_ASSIGN_OR_RETURN(
      options.precision,
      ParsePrecision(args.size() > 3 ? args[3] : std::string("fp32")));
  options.threads = args.size() > 4 ? std::atoi(args[4].c_str()) : 0;
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            ModelFile::Open(args[0]));
  EDGETUNE_ASSIGN_OR_RETURN(const VectorCase given,
                            ReadVectorCase(args[1], model->config()));
  json out;
  EDGETUNE_RETURN_IF_ERROR(Learn(model, given, options, args[2], &out));
  EDGETUNE_RETURN_IF_ERROR(Score(model, given, options, &out));
  return WriteFileAtomically(args[2] + "/out.json", out.dump());
}

}  // namespace
}  // namespace edgetune::testing

int main(int argc, char** argv) {
  const absl::Status status = edgetune::testing::Main({argv + 1, argv + argc});
  if (status.ok()) return 0;
  std::fprintf(stderr, "oracle_dump: %s\n", status.ToString().c_str());
  return 1;
}
