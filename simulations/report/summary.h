#ifndef EDGETUNE_SIMULATIONS_REPORT_SUMMARY_H_
#define EDGETUNE_SIMULATIONS_REPORT_SUMMARY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "simulations/report/event_log.h"
#include "simulations/report/run_event.h"
#include "simulations/report/spread.h"

namespace edgetune {

// What became of the devices of one round, all attempts together.
struct Funnel {
  int64_t asked = 0;       // how many the round wanted
  int64_t selected = 0;    // were given the work
  int64_t reported = 0;    // came back in time
  int64_t refused = 0;     // came back with what is not usable
  int64_t late = 0;        // came back after the end
  int64_t dropped = 0;     // broke off
  int64_t declined = 0;    // did not want to
  int64_t unanswered = 0;  // selected, and nothing of the others
};

// Of images: how many of them were told right.
struct Told {
  int64_t images = 0, correct = 0;
  void Add(int64_t more_images, int64_t more_correct);
  std::optional<double> Accuracy() const;  // nullopt of none
};

enum class RoundState { kNotRun, kOpen, kCommitted, kAbandoned };
// "start", since only the initial adapter is not made by a round; "open",
// "committed", "abandoned".
std::string_view RoundStateName(RoundState state);

struct RoundSummary {
  int64_t round = 0;  // 0: the initial adapter, which is only measured
  RoundState state = RoundState::kNotRun;
  int64_t attempts = 0;
  Funnel funnel;
  std::optional<int64_t> updates;    // in the committed mean
  std::optional<double> weight_sum;  // of these
  // Of the committed round as it says; else of its reports.
  int64_t bytes_down = 0, bytes_up = 0;
  // Of the adapter version that the round made: known by measures later on.
  Measure measure;
  // Of the same version, where the data are images: by the clients that
  // measured it on what they held out (absent under masking), and on examples
  // that no client holds.
  Told held_out, test;
  Measure test_measure;
  // Virtual seconds from the first round_started to the last commit or abandon.
  std::optional<double> start, end;
  // Mean over reports that state one; absent under masking.
  std::optional<double> train_loss;
  double train_s = 0;  // summed over reports
};

struct ClientSummary {
  std::string name, group;    // the last group that was said
  int64_t sessions = 0;       // times selected
  int64_t contributions = 0;  // reports to rounds that were committed
  int64_t bytes_down = 0, bytes_up = 0;
  Measure last = {};  // of the newest version that it measured
  std::optional<int64_t> last_version = {};
};

// Of one group at the newest version that any client measured; the spread is
// over its clients that did. Absent under masking.
struct GroupSummary {
  std::string name;
  int64_t clients = 0;  // seen in the log
  int64_t contributions = 0;
  Measure measure;
  std::optional<Spread> spread;
  std::map<std::string, Measure> baselines;
};

inline constexpr size_t kTimeBins = 60;

// All that a report says of one run. Perplexity of several measures is
// exp(sum nll_sum / sum tokens).
struct RunSummary {
  RunHeader header;
  std::string source;  // the directory of its log, as given
  bool cut = false;    // the last line was not whole
  int64_t unknown_events = 0;
  std::optional<std::string> state;    // nullopt: the log stops before the end
  std::vector<RoundSummary> rounds;    // by round; 0 only if it was measured
  std::vector<ClientSummary> clients;  // by name
  std::vector<GroupSummary> groups;    // by name
  std::map<std::string, Measure> baselines;
  Funnel funnel;  // sums
  // Of the closing evaluation, which is no round; `asked` is 0.
  Funnel evaluation;
  // How often devices declined, both kinds together, by their reasons with each
  // number in them as "…".
  std::map<std::string, int64_t> declined_for;
  int64_t bytes_down = 0, bytes_up = 0;
  std::optional<int64_t> measured_version;  // of groups and spread
  std::optional<Spread> spread;             // over all clients
  // JainIndex of contributions over header.clients (those never seen have 0).
  std::optional<double> participation;
  // Until the end: as run_finished says; before it, of the log so far.
  double span_s = 0, busy_s = 0;
  // busy_s / (clients * span_s); nullopt when no time passed.
  std::optional<double> utilisation;
  // The same of kTimeBins equal parts of the span, from reports alone: each
  // one's training is put right before its report. Empty when no time passed.
  std::vector<double> utilisation_over_time;

  // Those with a perplexity, by version; they point into `rounds`.
  std::vector<const RoundSummary*> MeasuredRounds() const;
};

// Reads to the end. Errors of EventReader.
absl::StatusOr<RunSummary> Summarise(EventReader& reader);
// Of DIRECTORY/events.jsonl.
absl::StatusOr<RunSummary> SummariseDirectory(const std::string& directory);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_SUMMARY_H_
