#include "tools/local/image_distillation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "client/checkpoint_file.h"
#include "tools/child_process.h"
#include "tools/local/teacher_answers.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/trained_files.h"
#include "tools/progress.h"
#include "training/engine_loader.h"
#include "training/image_data_set.h"

namespace edgetune {
namespace {

absl::Status CheckForImages(const DistillOptions& options) {
  const auto refuse = [](const char* option) {
    return UsageError(fmt::format("{} is for models of texts", option),
                      "the teacher is a model of images; leave it out");
  };
  if (options.loss.hidden > 0) return refuse("--hidden");
  if (options.loss.entropy > 0) return refuse("--entropy");
  if (options.loss.keep_zeros) return refuse("--keep-zeros");
  if (options.evaluate_every > 0) return refuse("--evaluate-every");
  if (!options.tokens.empty()) return refuse("--tokens");
  if (!options.type.empty()) return refuse("--type");
  if (options.to != "hf") return refuse("--to gguf");
  if (options.precision == "bf16") return refuse("--precision bf16");
  return absl::OkStatus();
}

// A share of `measured` that was told right.
double AccuracyOf(const Evaluation& measured) {
  return static_cast<double>(measured.correct) /
         static_cast<double>(measured.tokens);
}

std::string ScoreText(const Evaluation& measured) {
  return fmt::format("{:.2f} % told right, loss {:.4f}",
                     100 * AccuracyOf(measured),
                     measured.nll_sum / static_cast<double>(measured.tokens));
}

class ImageDistillation {
 public:
  ImageDistillation(const DistillOptions& options, const Output& output)
      : options_(options), output_(output) {}

  absl::Status Execute() {
    EDGETUNE_RETURN_IF_ERROR(OpenModels());
    EDGETUNE_RETURN_IF_ERROR(ReadData());
    CatchInterrupts();
    EDGETUNE_RETURN_IF_ERROR(AskTeacher());
    EDGETUNE_RETURN_IF_ERROR(Train());
    return Write();
  }

 private:
  absl::Status OpenModels() {
    EDGETUNE_ASSIGN_OR_RETURN(teacher_, OpenBase(options_.teacher));
    EDGETUNE_ASSIGN_OR_RETURN(student_, OpenBase(options_.student));
    if (!student_->config().image.has_value()) {
      return Annotate(
          absl::InvalidArgumentError(fmt::format(
              "{} is a model of texts, the teacher is one of images",
              options_.student)),
          ErrorKind::kModel, "edgetune model init makes models of images");
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        adapter_.layout, AdapterLayoutOf(student_->config(), AdapterSpec()));
    adapter_.values.assign(adapter_.layout.size(), 0.0f);
    return absl::OkStatus();
  }

  // Without a file to hold out, the test images beside the others; without
  // those, some of the others.
  absl::Status ReadData() {
    const ModelConfig& model = student_->config();
    EDGETUNE_ASSIGN_OR_RETURN(train_, ReadImageDataSet(options_.data, model));
    std::string heldout = options_.heldout;
    if (heldout.empty() && std::filesystem::is_directory(options_.data)) {
      heldout = TestImagesIn(options_.data);
    }
    if (!heldout.empty()) {
      EDGETUNE_ASSIGN_OR_RETURN(heldout_, ReadImageDataSet(heldout, model));
    } else {
      auto parts =
          train_->Split(kDistillationHeldOutShare, options_.train.seed);
      train_ = std::move(parts.first);
      heldout_ = std::move(parts.second);
    }
    output_.Note(fmt::format(
        "{} images ({} held out), a student of {} weights{}", train_->size(),
        heldout_->size(), adapter_.values.size(), RemarksOf(train_->report())));
    return absl::OkStatus();
  }

  absl::StatusOr<TeacherCacheFacts> Facts() const {
    const int64_t classes = student_->config().vocab;
    TeacherCacheFacts facts = {
        .examples = ExamplesDigest(*train_),
        .temperature = options_.loss.temperature,
        .k = options_.top_k > 0 ? options_.top_k : classes,
        .vocabulary = classes,
        .positions = PositionsOf(*train_)};
    EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                              ResolveModel(options_.teacher));
    EDGETUNE_ASSIGN_OR_RETURN(const auto parts, BasePartsOf(path));
    const std::string digest = BaseDigest(parts);
    std::copy_n(digest.begin(), std::min(digest.size(), facts.teacher.size()),
                facts.teacher.begin());
    return facts;
  }

  absl::Status AskTeacher() {
    EngineOptions engine_options;
    engine_options.threads = static_cast<int>(options_.threads);
    EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, LoadEngine("reference"));
    EDGETUNE_ASSIGN_OR_RETURN(trainer_,
                              engine->MakeTrainer(student_, engine_options));
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto teacher,
        engine->MakeTeacher(teacher_, student_->config(), {}, engine_options));
    EDGETUNE_ASSIGN_OR_RETURN(taught_by_, Uninterrupted(teacher->Evaluate(
                                              *heldout_, 0, InterruptFlag())));
    output_.Note(
        fmt::format("held-out images, the teacher: {}", ScoreText(taught_by_)));
    if (options_.loss.alpha == 0) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(auto targets, TargetsOf(*teacher));
    train_ = train_->WithTargets(std::move(targets));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<TeacherTargets>> TargetsOf(Teacher& teacher) {
    EDGETUNE_ASSIGN_OR_RETURN(const TeacherCacheFacts facts, Facts());
    if (options_.cache.empty()) {
      return HoldTeacherTargets(teacher, *train_, facts, output_);
    }
    if (!std::filesystem::exists(options_.cache)) {
      EDGETUNE_RETURN_IF_ERROR(
          FillTeacherCache(teacher, *train_, facts, options_.cache, output_));
    }
    return TeacherCache::Open(options_.cache, facts);
  }

  absl::StatusOr<Evaluation> Measure(const char* when) {
    EDGETUNE_ASSIGN_OR_RETURN(const Evaluation measured,
                              Uninterrupted(trainer_->Evaluate(
                                  adapter_, *heldout_, 0, InterruptFlag())));
    output_.Note(fmt::format("held-out images, the student {}: {}", when,
                             ScoreText(measured)));
    return measured;
  }

  absl::Status Train() {
    EDGETUNE_ASSIGN_OR_RETURN(before_, Measure("before"));
    std::optional<CheckpointFile> store;
    if (!options_.checkpoint.empty()) {
      // Its digest covers images, targets and the student's first weights.
      store.emplace(options_.checkpoint, "distill",
                    "distillation of images to " + options_.student,
                    kDistillationCheckpointEvery);
    }
    TrainConfig config = options_.train;
    config.teacher_alpha = options_.loss.alpha;
    Progress progress(output_, "distill", static_cast<uint64_t>(config.steps),
                      Progress::Unit::kCount);
    EDGETUNE_ASSIGN_OR_RETURN(
        result_,
        trainer_->Train(adapter_, *train_, config, store ? &*store : nullptr,
                        InterruptFlag(), [&](const TrainProgress& at) {
                          progress.Update(
                              static_cast<uint64_t>(at.step),
                              fmt::format("loss {:.3f}, {:.0f} images/s",
                                          at.loss, at.tokens_a_second));
                        }));
    if (result_.stopped) {
      return InterruptedError(store ? "the checkpoint was written"
                                    : "nothing was written");
    }
    adapter_.values = std::move(result_.delta);
    EDGETUNE_ASSIGN_OR_RETURN(after_, Measure("after"));
    return absl::OkStatus();
  }

  absl::Status Write() const {
    EDGETUNE_RETURN_IF_ERROR(
        WriteTrained(options_.out, adapter_, *student_, options_.student, {}));
    if (!options_.checkpoint.empty()) {
      CheckpointFile::Remove(options_.checkpoint);
    }
    const auto loss = [](const Evaluation& measured) {
      return measured.nll_sum / static_cast<double>(measured.tokens);
    };
    const nlohmann::json data = {{"path", options_.out},
                                 {"parameters", adapter_.values.size()},
                                 {"steps", result_.steps},
                                 {"resumed", result_.resumed},
                                 {"first_loss", result_.first_loss},
                                 {"last_loss", result_.last_loss},
                                 {"seconds", result_.seconds},
                                 {"examples", train_->size()},
                                 {"held_out", heldout_->size()},
                                 {"teacher_accuracy", AccuracyOf(taught_by_)},
                                 {"accuracy_before", AccuracyOf(before_)},
                                 {"accuracy", AccuracyOf(after_)},
                                 {"loss", loss(after_)}};
    return output_.Finish(
        data, fmt::format("{}: loss {:.3f} to {:.3f} in {} steps\n"
                          "held-out images, the teacher: {}\n"
                          "held-out images, the student: {}, before {}\n",
                          options_.out, result_.first_loss, result_.last_loss,
                          result_.steps, ScoreText(taught_by_),
                          ScoreText(after_), ScoreText(before_)));
  }

  const DistillOptions& options_;
  const Output& output_;
  std::shared_ptr<const ModelFile> teacher_, student_;
  Adapter adapter_;  // the student's change
  std::unique_ptr<ExampleSet> train_, heldout_;
  std::unique_ptr<Trainer> trainer_;
  Evaluation taught_by_, before_, after_;
  TrainResult result_;
};

}  // namespace

absl::Status DistillImages(const DistillOptions& options,
                           const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckForImages(options));
  return ImageDistillation(options, output).Execute();
}

}  // namespace edgetune
