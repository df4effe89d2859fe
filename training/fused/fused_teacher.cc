#include "training/fused/fused_teacher.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "base/status.h"
#include "base/thread_count.h"
#include "training/distillation/teacher_walk.h"
#include "training/fused/fused_trainer.h"
#include "training/fused/packed_examples.h"

namespace edgetune {
namespace {

using fused::Rows;

// Softmaxes of rows of logits, whose targets may be any column.
class Softmaxes {
 public:
  Softmaxes(const Rows<float>& logits, std::span<const int32_t> targets)
      : most_(logits.rows, std::numeric_limits<float>::lowest()),
        sum_(logits.rows),
        logit_(logits.rows) {
    fused::AddSoftmaxColumns<float>(logits, targets.data(), 0,
                                    {most_.data(), sum_.data(), logit_.data()},
                                    {}, {});
  }
  // Of a row's exponentials, summed.
  double LogSum(size_t row) const {
    return static_cast<double>(most_[row]) + std::log(double{sum_[row]});
  }
  // -log p of its target.
  double Nll(size_t row) const { return LogSum(row) - double{logit_[row]}; }

 private:
  std::vector<float> most_, sum_, logit_;
};

// Makes TopTokens of rows of logits, which it changes. One thread.
class TopSelection {
 public:
  TopSelection(double temperature, int64_t k)
      : scale_(static_cast<float>(1 / temperature)),
        k_(static_cast<size_t>(k)) {}

  void Select(const Rows<float>& logits, std::span<TopTokens> out) {
    targets_.assign(logits.rows, 0);
    for (size_t i = 0; i < logits.rows; ++i) {
      for (float& value : RowOf(logits, i)) value *= scale_;
    }
    const Softmaxes all(logits, targets_);
    for (size_t i = 0; i < logits.rows; ++i) {
      TakeLikeliest(RowOf(logits, i), all.LogSum(i), out[i]);
    }
    // What is left, summed by itself: as a difference it would be lost where
    // the likeliest have nearly all.
    const Softmaxes others(logits, targets_);
    for (size_t i = 0; i < logits.rows; ++i) {
      out[i].log_rest =
          k_ < logits.width
              ? static_cast<float>(others.LogSum(i) - all.LogSum(i))
              : -std::numeric_limits<float>::infinity();
    }
  }

 private:
  static std::span<float> RowOf(const Rows<float>& logits, size_t row) {
    return {logits.row(row), logits.width};
  }

  void TakeLikeliest(std::span<float> row, double log_sum, TopTokens& out) {
    out.ids.resize(k_);
    out.log_probabilities.assign(k_, std::numeric_limits<float>::quiet_NaN());
    if (!std::isfinite(log_sum)) return;  // nothing can be sorted
    order_.resize(row.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::partial_sort(order_,
                              order_.begin() + static_cast<std::ptrdiff_t>(k_),
                              [row](int32_t a, int32_t b) {
                                const float left = row[static_cast<size_t>(a)];
                                const float right = row[static_cast<size_t>(b)];
                                return left != right ? left > right : a < b;
                              });
    std::copy_n(order_.begin(), k_, out.ids.begin());
    std::ranges::sort(out.ids);
    for (size_t j = 0; j < k_; ++j) {
      float& logit = row[static_cast<size_t>(out.ids[j])];
      out.log_probabilities[j] = static_cast<float>(double{logit} - log_sum);
      logit = -std::numeric_limits<float>::infinity();
    }
  }

  const float scale_;
  const size_t k_;
  std::vector<int32_t> targets_, order_;
};

class FusedTeacher final : public Teacher {
 public:
  FusedTeacher(std::shared_ptr<const ModelFile> file,
               std::unique_ptr<fused::Llama> llama, ModelConfig student,
               std::vector<int32_t> tokens, int threads)
      : file_(std::move(file)),
        llama_(std::move(llama)),
        student_(std::move(student)),
        tokens_(std::move(tokens)),
        threads_(threads) {}

  absl::StatusOr<Evaluation> Evaluate(const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    return Guarded(threads_, [&]() -> absl::StatusOr<Evaluation> {
      EDGETUNE_RETURN_IF_ERROR(CheckTeacherContext(file_->config(), examples));
      return EvaluateExamples(
          student_, examples, max_examples, stop, [&](ExampleBatch part) {
            std::vector<double> nll(PackForTeacher(part));
            Ask([&](size_t first, const Rows<float>& logits) {
              const Softmaxes said(logits, Labels(first, logits.rows));
              for (size_t i = 0; i < logits.rows; ++i) {
                nll[first + i] = said.Nll(i);
              }
            });
            return std::accumulate(nll.begin(), nll.end(), 0.0);
          });
    });
  }

  absl::Status ComputeTargets(
      const ExampleSource& examples, double temperature, int64_t k,
      const std::function<absl::Status(const TopTokens&)>& take,
      const StopToken& stop,
      const std::function<void(int64_t)>& progress) override {
    return Guarded(threads_, [&]() -> absl::Status {
      return WalkTargets(
          file_->config(), student_, examples, temperature, k, take, stop,
          progress, [&](ExampleBatch part) {
            std::vector<TopTokens> out(PackForTeacher(part));
            Ask([&](size_t first, const Rows<float>& logits) {
              TopSelection(temperature, k)
                  .Select(logits, std::span(out).subspan(first, logits.rows));
            });
            return out;
          });
    });
  }

 private:
  // The number of labelled positions; the labels stay the student's.
  size_t PackForTeacher(ExampleBatch examples) {
    Pack(examples, batch_);
    if (!tokens_.empty()) {
      for (int32_t& id : batch_.tokens) id = tokens_[static_cast<size_t>(id)];
    }
    return batch_.label_rows.size();
  }

  std::span<const int32_t> Labels(size_t first, size_t count) const {
    return std::span(batch_.label_tokens).subspan(first, count);
  }

  // work(first, logits) for some positions of the packed batch at a time, by
  // all threads.
  template <typename Work>
  void Ask(const Work& work) {
    llama_->Logits(batch_, tokens_,
                   [&](size_t first, const Rows<float>& logits) {
                     fused::ForRows(logits.rows, [&](size_t begin, size_t end) {
                       work(first + begin, fused::RowRange(logits, begin, end));
                     });
                   });
  }

  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<fused::Llama> llama_;
  const ModelConfig student_;
  const std::vector<int32_t> tokens_;  // the teacher's; empty: the same
  const int threads_;
  fused::PackedBatch batch_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Teacher>> MakeFusedTeacher(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    std::vector<int32_t> teacher_tokens, const EngineOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckTeacherTokens(teacher->config(), student, teacher_tokens));
  const int threads = ThreadCount(options.threads);
  return Guarded(threads, [&]() -> absl::StatusOr<std::unique_ptr<Teacher>> {
    EDGETUNE_ASSIGN_OR_RETURN(
        auto llama,
        fused::Llama::Load(teacher, FusedTrainer::ModelOptions(options)));
    return std::make_unique<FusedTeacher>(std::move(teacher), std::move(llama),
                                          student, std::move(teacher_tokens),
                                          threads);
  });
}

}  // namespace edgetune
