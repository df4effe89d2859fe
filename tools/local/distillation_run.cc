#include "tools/local/distillation_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "client/checkpoint_file.h"
#include "models/io/text_weights.h"
#include "tools/child_process.h"
#include "tools/local/image_distillation.h"
#include "tools/local/teacher_answers.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/model_writing.h"
#include "tools/progress.h"
#include "training/checkpoint.h"
#include "training/distillation/teacher_cache.h"
#include "training/distillation/token_map.h"
#include "training/engine_loader.h"
#include "training/parse.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

absl::Status CheckOptions(const DistillOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  EDGETUNE_RETURN_IF_ERROR(CheckDistillationConfig(options.loss));
  EDGETUNE_RETURN_IF_ERROR(CheckTrainConfig(options.train));
  if (!options.checkpoint.empty()) {
    EDGETUNE_RETURN_IF_ERROR(
        CheckOwnFile(options.checkpoint, kCheckpointMagic, "--checkpoint"));
  }
  if (options.cache.empty() != (options.top_k == 0)) {
    return UsageError("--cache and --top-k go together",
                      "the cache holds the teacher's likeliest tokens");
  }
  if (options.top_k > 0 && options.loss.NeedsTeacher()) {
    return UsageError("--hidden needs the teacher, a cache has no states",
                      "leave out --cache and --top-k, or --hidden");
  }
  return absl::OkStatus();
}

class DistillationRun {
 public:
  DistillationRun(const DistillOptions& options, const Output& output)
      : options_(options), output_(output) {}

  absl::Status Execute() {
    EDGETUNE_RETURN_IF_ERROR(OpenTeacher());
    EDGETUNE_RETURN_IF_ERROR(OpenStudent());
    EDGETUNE_RETURN_IF_ERROR(ReadData());
    CatchInterrupts();
    EDGETUNE_RETURN_IF_ERROR(MakeDistiller());
    EDGETUNE_RETURN_IF_ERROR(AskTeacher());
    EDGETUNE_RETURN_IF_ERROR(Train());
    return Write();
  }

 private:
  absl::Status OpenTeacher() {
    EDGETUNE_ASSIGN_OR_RETURN(teacher_, OpenModel(options_.teacher));
    EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                              ResolveModel(options_.teacher));
    EDGETUNE_ASSIGN_OR_RETURN(const auto parts, BasePartsOf(path));
    teacher_digest_ = BaseDigest(parts);
    return absl::OkStatus();
  }

  // A file of JSON is a configuration: such a student begins with nothing.
  absl::Status OpenStudent() {
    const bool drawn = options_.student.ends_with(".json");
    if (!drawn && !options_.tokens.empty()) {
      return UsageError("--tokens is for a student without weights",
                        "a model to begin with has tokens of its own");
    }
    encoder_ = teacher_;
    const std::string& tokens = drawn ? options_.tokens : options_.student;
    if (!tokens.empty()) {
      EDGETUNE_ASSIGN_OR_RETURN(encoder_, OpenModel(tokens));
    }
    student_ = DescriptionOf(*encoder_);
    if (drawn) EDGETUNE_RETURN_IF_ERROR(TakeStudentConfig());
    if (encoder_ != teacher_) {
      EDGETUNE_ASSIGN_OR_RETURN(
          tokens_, MapTokens(student_.config, student_.tokenizer,
                             teacher_->config(), teacher_->tokenizer().data()));
    }
    EDGETUNE_ASSIGN_OR_RETURN(layout_, TextLayoutOf(student_.config));
    if (drawn) {
      weights_ = InitialTextWeights(layout_, options_.train.seed);
      return absl::OkStatus();
    }
    EDGETUNE_ASSIGN_OR_RETURN(weights_, ReadTextWeights(*encoder_));
    return absl::OkStatus();
  }

  absl::Status TakeStudentConfig() {
    EDGETUNE_ASSIGN_OR_RETURN(ModelConfig config,
                              ReadTextConfig(options_.student));
    if (config.vocab != student_.config.vocab) {
      return Annotate(
          absl::InvalidArgumentError(fmt::format(
              "{}: a vocab_size of {}, {} has {}", options_.student,
              config.vocab,
              options_.tokens.empty() ? "the teacher" : options_.tokens,
              student_.config.vocab)),
          ErrorKind::kModel,
          "a student without weights has the teacher's tokens, or those of "
          "--tokens");
    }
    config.end_tokens = student_.config.end_tokens;
    config.name = "student";
    student_.config = std::move(config);
    return absl::OkStatus();
  }

  absl::Status ReadData() {
    TextDataOptions text = options_.text;
    text.max_length = std::min(
        {text.max_length, student_.config.context, teacher_->config().context});
    EDGETUNE_ASSIGN_OR_RETURN(train_,
                              ReadTextDataSet(options_.data, *encoder_, text));
    if (!options_.heldout.empty()) {
      EDGETUNE_ASSIGN_OR_RETURN(
          heldout_, ReadTextDataSet(options_.heldout, *encoder_, text));
    } else {
      auto parts =
          train_->Split(kDistillationHeldOutShare, options_.train.seed);
      train_ = std::move(parts.first);
      heldout_ = std::move(parts.second);
    }
    const bool some = heldout_ != nullptr && heldout_->size() > 0;
    if (!some) heldout_.reset();
    output_.Note(fmt::format(
        "{} examples of the schema {} ({} held out), a student of {} weights{}",
        train_->size(), train_->report().schema, some ? heldout_->size() : 0,
        weights_.size(), RemarksOf(train_->report())));
    return absl::OkStatus();
  }

  absl::Status MakeDistiller() {
    EDGETUNE_ASSIGN_OR_RETURN(engine_options_.precision,
                              ParsePrecision(options_.precision));
    engine_options_.threads = static_cast<int>(options_.threads);
    EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, LoadEngine("reference"));
    EDGETUNE_ASSIGN_OR_RETURN(
        distiller_, engine->MakeDistiller(teacher_, student_.config, tokens_,
                                          engine_options_));
    return absl::OkStatus();
  }

  TeacherCacheFacts Facts() const {
    TeacherCacheFacts facts = {.tokenizer = TokenizerDigest(student_.tokenizer),
                               .examples = ExamplesDigest(*train_),
                               .temperature = options_.loss.temperature,
                               .k = options_.top_k,
                               .vocabulary = student_.config.vocab,
                               .positions = PositionsOf(*train_)};
    std::copy_n(teacher_digest_.begin(),
                std::min(teacher_digest_.size(), facts.teacher.size()),
                facts.teacher.begin());
    return facts;
  }

  // The teacher says what it is asked before the student learns, and is let go.
  // A cache that is there is used, or refused; nothing is written over.
  absl::Status AskTeacher() {
    const bool fill =
        options_.top_k > 0 && !std::filesystem::exists(options_.cache);
    if (fill || (options_.top_k == 0 && heldout_ != nullptr)) {
      EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, LoadEngine("auto"));
      EDGETUNE_ASSIGN_OR_RETURN(const auto teacher,
                                engine->MakeTeacher(teacher_, student_.config,
                                                    tokens_, engine_options_));
      EDGETUNE_RETURN_IF_ERROR(MeasureTeacher(*teacher));
      if (fill) {
        EDGETUNE_RETURN_IF_ERROR(FillTeacherCache(*teacher, *train_, Facts(),
                                                  options_.cache, output_));
      }
    }
    if (options_.top_k == 0) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(auto cache,
                              TeacherCache::Open(options_.cache, Facts()));
    train_ = train_->WithTargets(std::move(cache));
    return absl::OkStatus();
  }

  absl::Status MeasureTeacher(Teacher& teacher) {
    if (heldout_ == nullptr) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(
        const Evaluation measured,
        Uninterrupted(teacher.Evaluate(*heldout_, 0, InterruptFlag())));
    teacher_perplexity_ = PerplexityOf(measured);
    output_.Note(fmt::format("held-out perplexity of the teacher: {:.2f}",
                             *teacher_perplexity_));
    return absl::OkStatus();
  }

  absl::Status MeasureStudent(const char* when, std::optional<double>& into) {
    if (heldout_ == nullptr) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(const Evaluation measured,
                              Uninterrupted(distiller_->Evaluate(
                                  weights_, *heldout_, 0, InterruptFlag())));
    into = PerplexityOf(measured);
    output_.Note(fmt::format("held-out perplexity of the student {}: {:.2f}",
                             when, *into));
    return absl::OkStatus();
  }

  absl::Status Train() {
    EDGETUNE_RETURN_IF_ERROR(MeasureStudent("before", before_));
    std::optional<CheckpointFile> store;
    if (!options_.checkpoint.empty()) {
      store.emplace(options_.checkpoint, "distill",
                    "distillation of " + ToHex(teacher_digest_) + " to " +
                        ToHex(TokenizerDigest(student_.tokenizer)),
                    kDistillationCheckpointEvery);
    }
    Progress progress(output_, "distill",
                      static_cast<uint64_t>(options_.train.steps),
                      Progress::Unit::kCount);
    HeldOut held_out;
    held_out.examples = heldout_.get();
    held_out.every = options_.evaluate_every;
    held_out.measured = [&](int64_t step, const Evaluation& evaluation) {
      output_.Note(fmt::format("held-out perplexity after step {}: {:.2f}",
                               step, PerplexityOf(evaluation)));
    };
    EDGETUNE_ASSIGN_OR_RETURN(
        DistilledStudent done,
        distiller_->Train(std::move(weights_), *train_, options_.train,
                          options_.loss, held_out, store ? &*store : nullptr,
                          InterruptFlag(), [&](const TrainProgress& at) {
                            progress.Update(
                                static_cast<uint64_t>(at.step),
                                fmt::format("loss {:.3f}, {:.0f} tokens/s",
                                            at.loss, at.tokens_a_second));
                          }));
    if (done.result.stopped) {
      return InterruptedError(store ? "the checkpoint was written"
                                    : "nothing was written");
    }
    weights_ = std::move(done.weights);
    result_ = std::move(done.result);
    return MeasureStudent("after", after_);
  }

  absl::Status Write() const {
    const ModelFormat format = ModelFormatOf(options_.to);
    const auto source = MakeTextSource(layout_, weights_);
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto encoder,
        MakeEncoder(options_.type, format, *source, student_.config));
    EDGETUNE_ASSIGN_OR_RETURN(const WrittenModel written,
                              WriteModel({options_.out, format}, student_,
                                         *source, *encoder, output_));
    if (!options_.checkpoint.empty()) {
      CheckpointFile::Remove(options_.checkpoint);
    }
    nlohmann::json data = {
        {"path", options_.out},           {"format", options_.to},
        {"digest", written.digest},       {"bytes", written.bytes},
        {"parameters", weights_.size()},  {"steps", result_.steps},
        {"resumed", result_.resumed},     {"first_loss", result_.first_loss},
        {"last_loss", result_.last_loss}, {"tokens", result_.tokens},
        {"seconds", result_.seconds},     {"examples", train_->size()}};
    std::string text =
        fmt::format("{}: loss {:.3f} to {:.3f} in {} steps\n", options_.out,
                    result_.first_loss, result_.last_loss, result_.steps);
    const auto add = [&](const char* key, const char* words,
                         const std::optional<double>& perplexity) {
      if (!perplexity) return;
      data[key] = *perplexity;
      text +=
          fmt::format("held-out perplexity {} {:.2f}\n", words, *perplexity);
    };
    add("teacher_perplexity", "of the teacher", teacher_perplexity_);
    add("perplexity_before", "of the student before", before_);
    add("perplexity", "of the student after", after_);
    return output_.Finish(data, text);
  }

  const DistillOptions& options_;
  const Output& output_;
  std::shared_ptr<const ModelFile> teacher_, encoder_;  // reads the examples
  std::string teacher_digest_;                          // 32 bytes
  ModelDescription student_;
  ParameterLayout layout_;
  ParameterVector weights_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<ExampleSet> train_, heldout_;
  EngineOptions engine_options_;
  std::unique_ptr<Distiller> distiller_;
  TrainResult result_;
  std::optional<double> teacher_perplexity_, before_, after_;
};

}  // namespace

absl::Status Distill(const DistillOptions& options, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckOptions(options));
  EDGETUNE_ASSIGN_OR_RETURN(const auto teacher, OpenBase(options.teacher));
  if (teacher->config().image.has_value()) {
    return DistillImages(options, output);
  }
  return DistillationRun(options, output).Execute();
}

}  // namespace edgetune
