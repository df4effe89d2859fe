#include "simulations/runner/central_test.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

// Of one job: small enough that all workers have some to the end.
constexpr int64_t kPartExamples = 500;

// Some of the examples of another source.
class Part final : public ExampleSource {
 public:
  Part(const ExampleSource& all, int64_t begin)
      : all_(all),
        begin_(begin),
        size_(std::min(kPartExamples, all.size() - begin)) {}
  int64_t size() const override { return size_; }
  const LabelledTokens& Get(int64_t index) const override {
    return all_.Get(begin_ + index);
  }

 private:
  const ExampleSource& all_;
  const int64_t begin_, size_;
};

}  // namespace

void CentralTest::OnRun(absl::Time at, const v1::RunStatus& status) {
  options_.logger->OnRun(at, status);
  const auto version = static_cast<uint32_t>(status.cards_size() - 1);
  if (status.cards_size() == 0 || scored_ == version || !status_.ok()) return;
  scored_ = version;
  if (!IsDue(version)) return;
  const auto score = Score();
  if (!score.ok()) {
    status_ = Prefix(score.status(), "the central test");
    return;
  }
  options_.logger->OnTest(at, version, *score);
}

bool CentralTest::IsDue(uint32_t version) const {
  return version % options_.every == 0 || version == options_.rounds;
}

absl::StatusOr<Evaluation> CentralTest::Score() {
  if (measuring_ == nullptr) {
    EDGETUNE_ASSIGN_OR_RETURN(measuring_, options_.measuring());
  }
  EDGETUNE_ASSIGN_OR_RETURN(const Adapter adapter, options_.newest());
  std::vector<Part> parts;
  for (int64_t i = 0; i < options_.examples->size(); i += kPartExamples) {
    parts.emplace_back(*options_.examples, i);
  }
  std::vector<Evaluation> scores(parts.size());
  std::vector<WorkerPool::Job> jobs;
  for (size_t i = 0; i < parts.size(); ++i) {
    jobs.push_back([&, i]() -> absl::Status {
      EDGETUNE_ASSIGN_OR_RETURN(scores[i],
                                measuring_->Score(adapter, parts[i]));
      return absl::OkStatus();
    });
  }
  EDGETUNE_RETURN_IF_ERROR(measuring_->RunAll(std::move(jobs)));
  Evaluation total;
  for (const Evaluation& score : scores) {
    total.nll_sum += score.nll_sum;
    total.tokens += score.tokens;
    total.correct += score.correct;
  }
  return total;
}

}  // namespace edgetune
