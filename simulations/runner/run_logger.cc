#include "simulations/runner/run_logger.h"

#include <cmath>
#include <string_view>

#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

// The log counts rounds from 1; version 0 is the initial adapter.
int64_t Numbered(uint32_t round) { return int64_t{round} + 1; }

// Why the newest abandoned attempt was, as the coordinator tells it.
std::string ReasonOf(const v1::RunStatus& status) {
  constexpr std::string_view kMark = "abandoned: ";
  for (int i = status.events_size() - 1; i >= 0; --i) {
    const std::string& text = status.events(i).text();
    if (const size_t at = text.find(kMark); at != text.npos) {
      return text.substr(at + kMark.size());
    }
  }
  return "";
}

std::string StateName(v1::RunStatus::State state) {
  switch (state) {
    case v1::RunStatus::FINISHED:
      return "finished";
    case v1::RunStatus::STOPPED:
      return "stopped";
    default:
      return "failed";
  }
}

EventKind KindOf(SessionNews::Kind kind) {
  switch (kind) {
    case SessionNews::Kind::kSelected:
      return EventKind::kSelected;
    case SessionNews::Kind::kAccepted:
      return EventKind::kReported;
    case SessionNews::Kind::kRefused:
      return EventKind::kRefused;
    case SessionNews::Kind::kLate:
      return EventKind::kLate;
    case SessionNews::Kind::kDeclined:
      return EventKind::kDeclined;
    case SessionNews::Kind::kCancelled:
    case SessionNews::Kind::kVanished:
      return EventKind::kDropped;
  }
  return EventKind::kDropped;
}

// As the events of a training session are called.
std::string OutcomeName(EventKind kind) {
  switch (kind) {
    case EventKind::kSelected:
      return "selected";
    case EventKind::kReported:
      return "reported";
    case EventKind::kRefused:
      return "refused";
    case EventKind::kLate:
      return "late";
    case EventKind::kDeclined:
      return "declined";
    default:
      return "dropped";
  }
}

}  // namespace

void RunLogger::Write(RunEvent event, absl::Time at) {
  if (options_.log == nullptr) return;
  event.t = absl::ToDoubleSeconds(at - options_.start);
  const absl::Status written = options_.log->Append(event);
  if (status_.ok()) status_ = written;
}

void RunLogger::Show(absl::Time at) {
  progress_.virtual_time = at - options_.start;
  if (options_.on_progress) options_.on_progress(progress_);
}

// --- sessions

RunEvent RunLogger::EventOf(const SessionNews& news) const {
  const Client& client = options_.clients[news.device];
  RunEvent event;
  event.kind = KindOf(news.kind);
  event.round = Numbered(news.round);
  event.attempt = news.attempt;
  event.client = client.name;
  event.group = client.group;
  switch (event.kind) {
    case EventKind::kReported:
      event.bytes_down = static_cast<int64_t>(news.bytes_down);
      event.bytes_up = static_cast<int64_t>(news.bytes_up);
      event.train_s = absl::ToDoubleSeconds(news.training);
      if (news.report == nullptr) break;
      event.examples = static_cast<int64_t>(news.report->weight());
      event.train_loss = news.report->train_loss();
      break;
    case EventKind::kRefused:
    case EventKind::kDropped:
    case EventKind::kDeclined:
      event.reason = news.reason;
      break;
    default:
      break;
  }
  return event;
}

// The version that is evaluated counts as the log's rounds do.
RunEvent RunLogger::EvaluationOf(const SessionNews& news) const {
  RunEvent event;
  event.kind = EventKind::kEvaluation;
  event.round = news.round;
  event.attempt = news.attempt;
  event.client = options_.clients[news.device].name;
  event.group = options_.clients[news.device].group;
  event.outcome = OutcomeName(KindOf(news.kind));
  if (!news.reason.empty()) event.reason = news.reason;
  return event;
}

void RunLogger::BeginRound(const SessionNews& news) {
  const std::pair<uint32_t, uint32_t> round(news.round, news.attempt);
  if (open_ && round == round_) return;
  round_ = round;
  open_ = true;
  progress_.round = news.round;
  progress_.attempt = news.attempt;
  progress_.selected = progress_.answered = 0;
  if (!news.train) return;
  RunEvent event;
  event.kind = EventKind::kRoundStarted;
  event.round = Numbered(news.round);
  event.attempt = news.attempt;
  event.asked = asked_;
  Write(std::move(event), news.at);
}

void RunLogger::OnSession(const SessionNews& news) {
  if (news.kind == SessionNews::Kind::kSelected) {
    BeginRound(news);
    ++progress_.selected;
  } else if (open_ && news.round == round_.first) {
    ++progress_.answered;
  }
  busy_ += news.kind == SessionNews::Kind::kSelected ? absl::ZeroDuration()
                                                     : news.training;
  Write(news.train ? EventOf(news) : EvaluationOf(news), news.at);
  if (news.kind == SessionNews::Kind::kAccepted) {
    if (news.train) ++progress_.trainings;
    if (news.report != nullptr && news.report->tokens() > 0) {
      RunEvent event;
      event.kind = EventKind::kClientMeasure;
      event.round = news.round;
      event.client = options_.clients[news.device].name;
      event.group = options_.clients[news.device].group;
      event.nll_sum = news.report->nll_sum();
      event.tokens = static_cast<int64_t>(news.report->tokens());
      if (options_.images) {
        event.correct = static_cast<int64_t>(news.report->correct());
      }
      Write(std::move(event), news.at);
    }
  }
  Show(news.at);
}

// --- the run

void RunLogger::OnRun(absl::Time at, const v1::RunStatus& status) {
  asked_ = CohortAsked(status.plan().rounds());
  WriteMeasures(at, status);
  WriteCommitted(at, status);
  WriteAbandoned(at, status);
  Show(at);
}

void RunLogger::WriteMeasures(absl::Time at, const v1::RunStatus& status) {
  for (; measures_ < status.measures_size(); ++measures_) {
    const v1::Measure& measure = status.measures(measures_);
    if (measure.tokens() == 0) continue;
    RunEvent event;
    event.kind = EventKind::kMeasure;
    event.round = measure.version();
    event.nll_sum = measure.nll_sum();
    event.tokens = static_cast<int64_t>(measure.tokens());
    Write(std::move(event), at);
    progress_.perplexity =
        std::exp(measure.nll_sum() / static_cast<double>(measure.tokens()));
  }
}

void RunLogger::WriteCommitted(absl::Time at, const v1::RunStatus& status) {
  for (; cards_ < status.cards_size(); ++cards_) {
    const auto card = ParseCard(status.cards(cards_).payload());
    if (!card.ok()) {
      if (status_.ok()) status_ = card.status();
      continue;
    }
    RunEvent event;
    event.kind = EventKind::kRoundCommitted;
    event.round = card->version();
    event.attempt = round_.second;
    event.updates = card->updates();
    event.weight_sum = card->weight_sum();
    event.adapter = ToHex(card->adapter_digest());
    event.bytes_down = static_cast<int64_t>(status.bytes_down() - bytes_down_);
    event.bytes_up = static_cast<int64_t>(status.bytes_up() - bytes_up_);
    bytes_down_ = status.bytes_down();
    bytes_up_ = status.bytes_up();
    open_ = false;
    Write(std::move(event), at);
  }
}

void RunLogger::WriteAbandoned(absl::Time at, const v1::RunStatus& status) {
  // Every attempt counts, also one for which too few devices came.
  const std::pair<uint32_t, uint32_t> next(status.rounds_done(),
                                           status.attempt());
  const auto last = std::exchange(next_, next);
  if (next.first != last.first || next.second <= last.second) return;
  if (last.first >= options_.rounds) return;
  if (round_ == last) open_ = false;
  RunEvent event;
  event.kind = EventKind::kRoundAbandoned;
  event.round = Numbered(last.first);
  event.attempt = last.second;
  event.reason = ReasonOf(status);
  Write(std::move(event), at);
}

void RunLogger::OnTest(absl::Time at, uint32_t version,
                       const Evaluation& evaluation) {
  RunEvent event;
  event.kind = EventKind::kTest;
  event.round = version;
  event.nll_sum = evaluation.nll_sum;
  event.tokens = evaluation.tokens;
  event.correct = evaluation.correct;
  Write(std::move(event), at);
  progress_.accuracy = static_cast<double>(evaluation.correct) /
                       static_cast<double>(evaluation.tokens);
}

void RunLogger::OnBaseline(absl::Time at, const std::string& name,
                           const std::optional<std::string>& group,
                           const Evaluation& evaluation) {
  RunEvent event;
  event.kind = EventKind::kBaseline;
  event.name = name;
  event.group = group;
  event.nll_sum = evaluation.nll_sum;
  event.tokens = evaluation.tokens;
  Write(std::move(event), at);
}

absl::Status RunLogger::Finish(absl::Time at, const v1::RunStatus& status) {
  RunEvent event;
  event.kind = EventKind::kRunFinished;
  event.state = StateName(status.state());
  if (status.cards_size() > 0) {
    EDGETUNE_ASSIGN_OR_RETURN(
        const v1::ModelCard card,
        ParseCard(status.cards(status.cards_size() - 1).payload()));
    event.adapter = ToHex(card.adapter_digest());
  }
  event.busy_s = absl::ToDoubleSeconds(busy_);
  event.span_s = absl::ToDoubleSeconds(at - options_.start);
  Write(std::move(event), at);
  if (options_.log != nullptr) {
    const absl::Status closed = options_.log->Close();
    if (status_.ok()) status_ = closed;
  }
  return status_;
}

}  // namespace edgetune
