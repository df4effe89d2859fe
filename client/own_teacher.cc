#include "client/own_teacher.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "client/train_plan.h"
#include "privacy/crypto/hash.h"
#include "storage/blob_store.h"
#include "training/distillation/teacher.h"
#include "training/distillation/teacher_answers.h"
#include "training/distillation/token_map.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// Of a file, or of the names and contents of a directory's files.
absl::StatusOr<Digest> DigestOf(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return HashFile(path);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  if (error) return ErrnoStatus(error.value(), "cannot read", path);
  std::ranges::sort(files);
  std::string all;
  for (const fs::path& file : files) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, HashFile(file.string()));
    all += DigestBytes(Sha256(file.filename().string())) + DigestBytes(digest);
  }
  return Sha256(all);
}

// The student's tokens among the teacher's; of images none.
absl::StatusOr<std::vector<int32_t>> TokensOf(const ModelFile& student,
                                              const ModelFile& teacher) {
  const ModelConfig &own = student.config(), &its = teacher.config();
  if (own.image.has_value() != its.image.has_value()) {
    return Annotate(
        absl::InvalidArgumentError("one of teacher and student is a model of "
                                   "images, the other of texts"),
        ErrorKind::kModel);
  }
  if (own.image.has_value()) return std::vector<int32_t>();
  return MapTokens(own, student.tokenizer().data(), its,
                   teacher.tokenizer().data());
}

struct Asked {
  std::shared_ptr<const ModelFile> teacher;
  std::vector<int32_t> tokens;
  TeacherCacheFacts facts;
};

absl::StatusOr<Asked> Prepare(const TeacherQuestion& question,
                              const ExampleSource& examples) {
  const v1::TrainSpec& train = question.plan.train();
  const ModelFile& student = question.student;
  Asked asked;
  EDGETUNE_ASSIGN_OR_RETURN(asked.teacher, ModelFile::Open(question.teacher));
  EDGETUNE_ASSIGN_OR_RETURN(asked.tokens, TokensOf(student, *asked.teacher));
  const int64_t vocabulary = student.config().vocab;
  asked.facts = {.examples = ExamplesDigest(examples),
                 .temperature = train.teacher_temperature(),
                 .k = std::min(int64_t{train.teacher_top_k()}, vocabulary),
                 .vocabulary = vocabulary,
                 .positions = PositionsOf(examples)};
  if (!student.config().image.has_value()) {
    asked.facts.tokenizer = TokenizerDigest(student.tokenizer().data());
  }
  EDGETUNE_ASSIGN_OR_RETURN(asked.facts.teacher, DigestOf(question.teacher));
  return asked;
}

absl::StatusOr<std::unique_ptr<Teacher>> TeacherOf(
    const TeacherQuestion& question, const Asked& asked) {
  EngineOptions options;
  options.threads = static_cast<int>(question.threads);
  return question.engine.MakeTeacher(asked.teacher, question.student.config(),
                                     asked.tokens, options);
}

absl::StatusOr<std::shared_ptr<const TeacherTargets>> AskIntoFile(
    const TeacherQuestion& question, const Asked& asked,
    const ExampleSource& examples, const StopToken& stop) {
  auto found = TeacherCache::Open(question.cache, asked.facts);
  if (found.ok()) return found;
  if (!absl::IsNotFound(found.status())) {
    // Of another run, of other examples, or damaged: it is written anew.
    LogInfo(fmt::format("the teacher is asked again: {}",
                        std::string(found.status().message())));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto teacher, TeacherOf(question, asked));
  EDGETUNE_RETURN_IF_ERROR(WriteTeacherCache(*teacher, examples, asked.facts,
                                             question.cache, stop,
                                             question.progress));
  return TeacherCache::Open(question.cache, asked.facts);
}

}  // namespace

bool AsksTeachers(const v1::TaskPlan& plan) {
  return plan.train().teacher_alpha() > 0;
}

std::string TeacherCacheIn(const std::string& state_directory) {
  return state_directory.empty() ? "" : state_directory + "/teacher.answers";
}

absl::StatusOr<std::shared_ptr<const TeacherTargets>> AskTeacher(
    const TeacherQuestion& question, const ExampleSource& examples,
    const StopToken& stop) {
  EDGETUNE_ASSIGN_OR_RETURN(const Asked asked, Prepare(question, examples));
  if (!question.cache.empty()) {
    return AskIntoFile(question, asked, examples, stop);
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto teacher, TeacherOf(question, asked));
  return HoldTargets(*teacher, examples, asked.facts, stop, question.progress);
}

}  // namespace edgetune
