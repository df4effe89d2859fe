#include "simulations/mpi/rank_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/status.h"
#include "base/units.h"
#include "models/io/adapter/adapter_file.h"
#include "simulations/fleet/worker_pool.h"
#include "simulations/mpi/outbox.h"

namespace edgetune {
namespace {

class CallExamples final : public ExampleSource {
 public:
  explicit CallExamples(const std::vector<LabelledTokens>& examples)
      : examples_(examples) {}
  int64_t size() const override {
    return static_cast<int64_t>(examples_.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return examples_[static_cast<size_t>(index)];
  }

 private:
  const std::vector<LabelledTokens>& examples_;
};

class RankServer {
 public:
  explicit RankServer(RankServerOptions options)
      : options_(std::move(options)),
        trainers_(std::max<size_t>(1, options_.hello.workers)) {}

  // Whether rank 0 waits for this one to leave the job.
  absl::StatusOr<bool> Serve() {
    outbox_.Push(0, FormatHello(options_.hello));
    WorkerPool workers(trainers_.size());
    workers_ = &workers;
    const absl::Status served = Loop();
    StopAll();
    EDGETUNE_RETURN_IF_ERROR(served);
    return in_order_;
  }

 private:
  absl::Status Loop() {
    while (true) {
      outbox_.Flush(*options_.post);
      while (const auto letter = options_.post->Receive()) {
        heard_ = absl::Now();
        heard_any_ = true;
        EDGETUNE_RETURN_IF_ERROR(Handle(letter->bytes));
      }
      // The letters of the line before this one may not be on their way yet.
      if (ended_ && std::exchange(said_bye_, true) && !options_.post->busy()) {
        return absl::OkStatus();
      }
      EDGETUNE_RETURN_IF_ERROR(Watch(absl::Now()));
      outbox_.Wait(*options_.post);
    }
  }

  absl::Status Handle(const std::string& letter) {
    EDGETUNE_ASSIGN_OR_RETURN(const LetterKind kind, LetterKindOf(letter));
    switch (kind) {
      case LetterKind::kBeat:
        outbox_.Push(0, MakeLetter(LetterKind::kBeat));
        return absl::OkStatus();
      case LetterKind::kCall: {
        EDGETUNE_ASSIGN_OR_RETURN(Call call, ParseCall(letter));
        return Begin(std::move(call));
      }
      case LetterKind::kStop: {
        EDGETUNE_ASSIGN_OR_RETURN(const uint64_t id, ParseStop(letter));
        const std::lock_guard<std::mutex> lock(mu_);
        const auto stop = stops_.find(id);
        if (stop != stops_.end()) *stop->second = true;
        return absl::OkStatus();
      }
      case LetterKind::kEnd:
      case LetterKind::kQuit:
        in_order_ = kind == LetterKind::kEnd;
        outbox_.Push(0, MakeLetter(LetterKind::kBye));
        ended_ = true;
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError("rank 0 sent what it receives");
    }
  }

  absl::Status Begin(Call call) {
    if (options_.engine == nullptr) {
      return absl::InvalidArgumentError("rank 0 sent work to who cannot");
    }
    if (!call.same_adapter) {
      Adapter adapter = options_.adapter;
      const int64_t rank = call.adapter_rank;
      if (rank > 0 && rank < adapter.spec.rank)
        adapter = WithRank(adapter, rank);
      adapter.values = std::move(call.adapter);
      adapter_ = std::make_shared<const Adapter>(std::move(adapter));
    }
    if (adapter_ == nullptr ||
        adapter_->values.size() != adapter_->layout.size()) {
      return absl::InvalidArgumentError("rank 0 sent an adapter of other size");
    }
    const auto stop = std::make_shared<StopToken>(false);
    {
      const std::lock_guard<std::mutex> lock(mu_);
      stops_[call.id] = stop;
    }
    const auto shared = std::make_shared<const Call>(std::move(call));
    workers_->Submit([this, shared, stop, adapter = adapter_] {
      Answer answer = WorkOrTell(*shared, *adapter, *stop);
      answer.id = shared->id;
      outbox_.Push(0, FormatAnswer(answer));
      const std::lock_guard<std::mutex> lock(mu_);
      stops_.erase(shared->id);
      return absl::OkStatus();
    });
    return absl::OkStatus();
  }

  // Whoever does not answer is waited for.
  Answer WorkOrTell(const Call& call, const Adapter& adapter,
                    const StopToken& stop) {
    try {
      return Work(call, adapter, stop);
    } catch (const std::exception& error) {
      Answer answer;
      answer.status =
          absl::InternalError(std::string("unexpected: ") + error.what());
      return answer;
    }
  }

  Answer Work(const Call& call, const Adapter& adapter, const StopToken& stop) {
    Answer answer;
    auto& trainer =
        trainers_[WorkerPool::CurrentWorker()][EngineKeyOf(call.options)];
    if (trainer == nullptr) {
      auto made = options_.engine->MakeTrainer(options_.model, call.options);
      answer.status = made.status();
      if (!made.ok()) return answer;
      trainer = *std::move(made);
    }
    const CallExamples examples(call.examples);
    if (!call.train) {
      return Fill(answer, answer.evaluation,
                  trainer->Evaluate(adapter, examples, examples.size(), stop));
    }
    TrainConfig config = call.config;
    config.correction = call.correction;
    return Fill(answer, answer.training,
                trainer->Train(adapter, examples, config, nullptr, stop,
                               [](const TrainProgress&) {}));
  }

  template <typename T>
  static Answer Fill(Answer& answer, T& place, absl::StatusOr<T> result) {
    answer.status = result.status();
    if (result.ok()) place = *std::move(result);
    return std::move(answer);
  }

  absl::Status Watch(absl::Time now) {
    constexpr absl::Duration kOwnPause = absl::Seconds(5);
    if (now - std::exchange(watched_, now) > kOwnPause) heard_ = now;
    const std::string fault = options_.post->fault();
    const absl::Duration most = *options_.interrupted ? options_.last_word
                                : heard_any_          ? options_.silence
                                                      : options_.first_word;
    if (fault.empty() && now - heard_ <= most) return absl::OkStatus();
    return Annotate(
        absl::UnavailableError(fmt::format(
            "rank {} on {}: rank 0 is gone: {}", options_.post->rank(),
            options_.hello.host,
            fault.empty()
                ? "no sign of life for " +
                      FormatSeconds(absl::ToDoubleSeconds(now - heard_))
                : fault)),
        ErrorKind::kFailed,
        "what mpirun or srun says of it tells how it ended");
  }

  void StopAll() {
    const std::lock_guard<std::mutex> lock(mu_);
    for (const auto& [id, stop] : stops_) *stop = true;
  }

  const RankServerOptions options_;
  Outbox outbox_;
  // One of each kind for each worker, its own.
  std::vector<std::map<EngineKey, std::unique_ptr<Trainer>>> trainers_;
  WorkerPool* workers_ = nullptr;
  std::shared_ptr<const Adapter> adapter_;  // of the last call
  absl::Time heard_ = absl::Now(), watched_ = heard_;
  bool heard_any_ = false, ended_ = false, in_order_ = true;
  bool said_bye_ = false;
  std::mutex mu_;
  std::map<uint64_t, std::shared_ptr<StopToken>> stops_;  // guarded by mu_
};

}  // namespace

absl::Status ServeRank(RankServerOptions options) {
  Post& post = *options.post;
  EDGETUNE_ASSIGN_OR_RETURN(const bool in_order,
                            RankServer(std::move(options)).Serve());
  if (in_order) post.Leave();
  return absl::OkStatus();
}

}  // namespace edgetune
