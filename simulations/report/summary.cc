#include "simulations/report/summary.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

// "needs 512.3 MB": "needs … MB".
std::string WithoutNumbers(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789";
  std::string out;
  while (!text.empty()) {
    const size_t number = std::min(text.find_first_of(kDigits), text.size());
    out += text.substr(0, number);
    text.remove_prefix(number);
    if (text.empty()) break;
    out += "\u2026";
    size_t end = std::min(text.find_first_not_of("0123456789.,"), text.size());
    while (text[end - 1] == '.' || text[end - 1] == ',') --end;
    text.remove_prefix(end);
  }
  return out;
}

// Gathers while events come; what needs all of them is in Finish.
class Gatherer {
 public:
  explicit Gatherer(const RunHeader& header) { out_.header = header; }

  void Add(const RunEvent& event);
  RunSummary Finish();

 private:
  struct Round {
    RoundSummary summary;
    // (attempt, client) that were selected and have not answered.
    std::set<std::pair<int64_t, size_t>> open;
    std::vector<size_t> reporters;  // of an attempt that has not ended
    double loss_sum = 0;
    int64_t losses = 0;
  };
  struct Session {
    double start, end;  // of one training, virtual seconds
  };

  size_t ClientOf(const RunEvent& event);
  void Start(const RunEvent& event);
  void Report(const RunEvent& event, size_t client, Round* round);
  void Answer(const RunEvent& event, int64_t Funnel::*count);
  void End(const RunEvent& event, RoundState state);
  void MeasureClient(const RunEvent& event);
  void Evaluate(const RunEvent& event);
  void Test(const RunEvent& event);
  void AddBaseline(const RunEvent& event);
  void EndRun(const RunEvent& event);
  void FinishRounds();
  void FinishGroups();
  void FinishFairness();
  void FinishTime();

  RunSummary out_;
  std::map<int64_t, Round> rounds_;
  std::unordered_map<std::string, size_t> client_index_;
  std::map<std::string, GroupSummary> groups_;
  std::vector<Session> sessions_;
  // Attempt and client of the closing evaluation, until there is an outcome.
  std::set<std::pair<int64_t, std::string>> evaluating_;
  double last_ = 0;
  bool ended_ = false;
};

size_t Gatherer::ClientOf(const RunEvent& event) {
  const auto [found, is_new] =
      client_index_.try_emplace(*event.client, out_.clients.size());
  if (is_new) out_.clients.push_back({.name = *event.client, .group = {}});
  out_.clients[found->second].group = *event.group;
  return found->second;
}

void Gatherer::Report(const RunEvent& event, size_t client, Round* round) {
  ClientSummary& of = out_.clients[client];
  of.bytes_down = SaturatedSum(of.bytes_down, *event.bytes_down);
  of.bytes_up = SaturatedSum(of.bytes_up, *event.bytes_up);
  RoundSummary& row = round->summary;
  if (row.state != RoundState::kCommitted) {
    row.bytes_down = SaturatedSum(row.bytes_down, *event.bytes_down);
    row.bytes_up = SaturatedSum(row.bytes_up, *event.bytes_up);
  }
  row.train_s += *event.train_s;
  sessions_.push_back({event.t - *event.train_s, event.t});
  round->reporters.push_back(client);
  if (!event.train_loss) return;
  round->loss_sum += *event.train_loss;
  ++round->losses;
}

void Gatherer::Answer(const RunEvent& event, int64_t Funnel::*count) {
  const size_t client = ClientOf(event);
  Round& round = rounds_[*event.round];
  const std::pair session(event.attempt.value_or(0), client);
  ++(round.summary.funnel.*count);
  if (event.kind == EventKind::kSelected) {
    round.open.insert(session);
    ++out_.clients[client].sessions;
  } else {
    round.open.erase(session);
  }
  if (event.kind == EventKind::kReported) Report(event, client, &round);
  if (event.kind == EventKind::kDeclined) {
    ++out_.declined_for[WithoutNumbers(*event.reason)];
  }
}

void Gatherer::Evaluate(const RunEvent& event) {
  static const std::map<std::string, int64_t Funnel::*> kCounts = {
      {"selected", &Funnel::selected}, {"reported", &Funnel::reported},
      {"refused", &Funnel::refused},   {"late", &Funnel::late},
      {"dropped", &Funnel::dropped},   {"declined", &Funnel::declined}};
  const auto count = kCounts.find(*event.outcome);
  if (count == kCounts.end()) return;
  ++(out_.evaluation.*count->second);
  const std::pair session(event.attempt.value_or(0), *event.client);
  if (count->second == &Funnel::selected) {
    evaluating_.insert(session);
  } else {
    evaluating_.erase(session);
  }
  if (count->second == &Funnel::declined && event.reason) {
    ++out_.declined_for[WithoutNumbers(*event.reason)];
  }
}

void Gatherer::End(const RunEvent& event, RoundState state) {
  Round& round = rounds_[*event.round];
  RoundSummary& row = round.summary;
  row.state = state;
  row.end = std::max(row.end.value_or(0), event.t);
  if (state == RoundState::kCommitted) {
    row.updates = event.updates;
    row.weight_sum = event.weight_sum;
    row.bytes_down = *event.bytes_down;
    row.bytes_up = *event.bytes_up;
    for (const size_t client : round.reporters) {
      ++out_.clients[client].contributions;
    }
  }
  round.reporters.clear();
}

void Gatherer::MeasureClient(const RunEvent& event) {
  if (event.correct) {
    rounds_[*event.round].summary.held_out.Add(*event.tokens, *event.correct);
  }
  ClientSummary& client = out_.clients[ClientOf(event)];
  if (client.last_version.value_or(-1) > *event.round) return;
  if (client.last_version != event.round) client.last = {};
  client.last_version = event.round;
  client.last.Add(*event.nll_sum, *event.tokens);
  out_.measured_version =
      std::max(out_.measured_version.value_or(0), *event.round);
}

void Gatherer::Test(const RunEvent& event) {
  RoundSummary& row = rounds_[*event.round].summary;
  row.test.Add(*event.tokens, *event.correct);
  row.test_measure.Add(*event.nll_sum, *event.tokens);
}

void Gatherer::Start(const RunEvent& event) {
  RoundSummary& row = rounds_[*event.round].summary;
  ++row.attempts;
  row.state = RoundState::kOpen;
  row.funnel.asked = SaturatedSum(row.funnel.asked, *event.asked);
  row.start = std::min(row.start.value_or(event.t), event.t);
}

void Gatherer::AddBaseline(const RunEvent& event) {
  auto& baselines =
      event.group ? groups_[*event.group].baselines : out_.baselines;
  baselines[*event.name].Add(*event.nll_sum, *event.tokens);
}

void Gatherer::EndRun(const RunEvent& event) {
  ended_ = true;
  out_.state = event.state;
  out_.busy_s = *event.busy_s;
  out_.span_s = *event.span_s;
}

void Gatherer::Add(const RunEvent& event) {
  last_ = std::max(last_, event.t);
  switch (event.kind) {
    case EventKind::kRoundStarted:
      return Start(event);
    case EventKind::kSelected:
      return Answer(event, &Funnel::selected);
    case EventKind::kReported:
      return Answer(event, &Funnel::reported);
    case EventKind::kRefused:
      return Answer(event, &Funnel::refused);
    case EventKind::kLate:
      return Answer(event, &Funnel::late);
    case EventKind::kDropped:
      return Answer(event, &Funnel::dropped);
    case EventKind::kDeclined:
      return Answer(event, &Funnel::declined);
    case EventKind::kRoundCommitted:
      return End(event, RoundState::kCommitted);
    case EventKind::kRoundAbandoned:
      return End(event, RoundState::kAbandoned);
    case EventKind::kMeasure:
      return rounds_[*event.round].summary.measure.Add(*event.nll_sum,
                                                       *event.tokens);
    case EventKind::kClientMeasure:
      return MeasureClient(event);
    case EventKind::kEvaluation:
      return Evaluate(event);
    case EventKind::kTest:
      return Test(event);
    case EventKind::kBaseline:
      return AddBaseline(event);
    case EventKind::kRunFinished:
      return EndRun(event);
  }
}

void Gatherer::FinishRounds() {
  for (auto& [number, round] : rounds_) {
    RoundSummary& row = round.summary;
    row.round = number;
    row.funnel.unanswered = static_cast<int64_t>(round.open.size());
    if (round.losses > 0) {
      row.train_loss = round.loss_sum / static_cast<double>(round.losses);
    }
    for (int64_t Funnel::*count :
         {&Funnel::asked, &Funnel::selected, &Funnel::reported,
          &Funnel::refused, &Funnel::late, &Funnel::dropped, &Funnel::declined,
          &Funnel::unanswered}) {
      out_.funnel.*count = SaturatedSum(out_.funnel.*count, row.funnel.*count);
    }
    out_.bytes_down = SaturatedSum(out_.bytes_down, row.bytes_down);
    out_.bytes_up = SaturatedSum(out_.bytes_up, row.bytes_up);
    out_.rounds.push_back(std::move(row));
  }
}

void Gatherer::FinishGroups() {
  std::map<std::string, std::vector<double>> perplexities;
  std::vector<double> all;
  for (const ClientSummary& client : out_.clients) {
    GroupSummary& group = groups_[client.group];
    ++group.clients;
    group.contributions += client.contributions;
    const std::optional<double> perplexity = client.last.Perplexity();
    if (!perplexity || client.last_version != out_.measured_version) continue;
    group.measure.Add(client.last.nll_sum, client.last.tokens);
    perplexities[client.group].push_back(*perplexity);
    all.push_back(*perplexity);
  }
  out_.spread = SpreadOf(std::move(all));
  for (auto& [name, group] : groups_) {
    group.name = name;
    group.spread = SpreadOf(std::move(perplexities[name]));
    out_.groups.push_back(group);
  }
}

void Gatherer::FinishFairness() {
  // Baselines said of groups alone sum to those of all.
  std::map<std::string, Measure> sums;
  for (const auto& [name, group] : groups_) {
    for (const auto& [baseline, measure] : group.baselines) {
      sums[baseline].Add(measure.nll_sum, measure.tokens);
    }
  }
  out_.baselines.merge(sums);  // keeps what was said of all
  std::vector<double> contributions;
  for (const ClientSummary& client : out_.clients) {
    contributions.push_back(static_cast<double>(client.contributions));
  }
  const std::optional<double> index = JainIndex(contributions);
  if (!index) return;
  // Zeros change nothing but n.
  const auto seen = static_cast<double>(contributions.size());
  const auto all = static_cast<double>(out_.header.clients);
  out_.participation = *index * seen / std::max(seen, all);
}

void Gatherer::FinishTime() {
  if (!ended_) {
    out_.span_s = last_;
    for (const Session& session : sessions_) {
      out_.busy_s += session.end - session.start;
    }
  }
  const double bin = out_.span_s / kTimeBins;
  const double capacity = static_cast<double>(out_.header.clients) * bin;
  if (!(capacity > 0)) return;
  out_.utilisation = out_.busy_s / (capacity * kTimeBins);
  std::vector<double>& bins = out_.utilisation_over_time;
  bins.resize(kTimeBins);
  for (const Session& session : sessions_) {
    const auto first = static_cast<size_t>(
        std::clamp(session.start / bin, 0.0, kTimeBins - 1.0));
    for (size_t i = first; i < kTimeBins; ++i) {
      const double from = std::max(session.start, static_cast<double>(i) * bin);
      const double to = std::min(session.end, static_cast<double>(i + 1) * bin);
      if (to > from) bins[i] += (to - from) / capacity;
      if (to == session.end) break;
    }
  }
}

RunSummary Gatherer::Finish() {
  out_.evaluation.unanswered = static_cast<int64_t>(evaluating_.size());
  FinishRounds();
  FinishGroups();
  FinishFairness();
  FinishTime();
  std::ranges::sort(out_.clients, {}, &ClientSummary::name);
  return std::move(out_);
}

}  // namespace

void Told::Add(int64_t more_images, int64_t more_correct) {
  images = SaturatedSum(images, more_images);
  correct = SaturatedSum(correct, more_correct);
}

std::optional<double> Told::Accuracy() const {
  if (images == 0) return std::nullopt;
  return static_cast<double>(correct) / static_cast<double>(images);
}

std::string_view RoundStateName(RoundState state) {
  switch (state) {
    case RoundState::kNotRun:
      return "start";
    case RoundState::kOpen:
      return "open";
    case RoundState::kCommitted:
      return "committed";
    case RoundState::kAbandoned:
      return "abandoned";
  }
  return "";
}

std::vector<const RoundSummary*> RunSummary::MeasuredRounds() const {
  std::vector<const RoundSummary*> measured;
  for (const RoundSummary& round : rounds) {
    if (round.measure.tokens > 0) measured.push_back(&round);
  }
  return measured;
}

absl::StatusOr<RunSummary> Summarise(EventReader& reader) {
  Gatherer gatherer(reader.header());
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(const std::optional<RunEvent> event,
                              reader.Next());
    if (!event) break;
    gatherer.Add(*event);
  }
  RunSummary summary = gatherer.Finish();
  summary.cut = reader.cut();
  summary.unknown_events = reader.unknown();
  return summary;
}

absl::StatusOr<RunSummary> SummariseDirectory(const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::unique_ptr<EventReader> reader,
                            EventReader::Open(directory + "/events.jsonl"));
  EDGETUNE_ASSIGN_OR_RETURN(RunSummary summary, Summarise(*reader));
  summary.source = directory;
  return summary;
}

}  // namespace edgetune
