#include "tools/model/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "models/shrink/input_statistics.h"
#include "tools/child_process.h"
#include "tools/progress.h"
#include "training/engine_loader.h"
#include "training/text_data_set.h"

namespace edgetune {

absl::StatusOr<std::vector<std::vector<int32_t>>> FirstTexts(
    const std::string& path, int64_t most, const ModelFile& model) {
  TextDataOptions text;
  text.max_length = std::min<int64_t>(text.max_length, model.config().context);
  EDGETUNE_ASSIGN_OR_RETURN(const auto examples,
                            ReadTextDataSet(path, model, text));
  std::vector<std::vector<int32_t>> out;
  int64_t tokens = 0;
  for (int64_t i = 0; i < examples->size() && tokens < most; ++i) {
    out.push_back(examples->Get(i).tokens);
    tokens += static_cast<int64_t>(out.back().size());
  }
  return out;
}

absl::StatusOr<std::unique_ptr<Calibrator>> MakeExactCalibrator(
    const std::shared_ptr<const ModelFile>& model) {
  EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, LoadEngine("fused"));
  return engine->MakeCalibrator(model, {.precision = Precision::kFp32});
}

absl::StatusOr<std::vector<int64_t>> CountTokens(const std::string& path,
                                                 const ModelFile& model) {
  TextDataOptions text;
  text.max_length = model.config().context;
  EDGETUNE_ASSIGN_OR_RETURN(const auto examples,
                            ReadTextDataSet(path, model, text));
  std::vector<int64_t> counts(model.tokenizer().data().tokens.size());
  for (int64_t i = 0; i < examples->size(); ++i) {
    for (const int32_t id : examples->Get(i).tokens) ++counts[id];
  }
  return counts;
}

absl::StatusOr<ShrinkEvidence> Calibrate(
    const std::string& path, int64_t tokens,
    const std::shared_ptr<const ModelFile>& model, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto texts, FirstTexts(path, tokens, *model));
  EDGETUNE_ASSIGN_OR_RETURN(const auto calibrator, MakeExactCalibrator(model));
  InputStatistics statistics(model->config());
  Progress progress(output, "calibrating", texts.size(),
                    Progress::Unit::kCount);
  const absl::Status ran = calibrator->Run(
      texts, [&](const ObservedInput& seen) { return statistics.Add(seen); },
      InterruptFlag(),
      [&](int64_t done) { progress.Update(static_cast<uint64_t>(done)); });
  if (absl::IsCancelled(ran)) return InterruptedError("nothing was written");
  EDGETUNE_RETURN_IF_ERROR(ran);
  output.Note(fmt::format("calibrated with {} texts, {} tokens", texts.size(),
                          statistics.tokens()));
  return statistics.Evidence();
}

}  // namespace edgetune
