#ifndef EDGETUNE_SIMULATIONS_REPORT_RUN_EVENT_H_
#define EDGETUNE_SIMULATIONS_REPORT_RUN_EVENT_H_

// What one line of a run's events.jsonl says: docs/reference/report.md is the
// format. Plain values and two stateless functions each way; any thread.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace edgetune {

// The first line: which run this is.
struct RunHeader {
  std::string run;  // 64 hexadecimal digits: the digest of its plan
  std::string name;
  uint64_t seed = 0;
  int64_t clients = 0;  // of the population, at least 1
  int64_t rounds = 0;   // that the plan asks for
  int64_t cohort = 0;
  bool masked = false;
  std::map<std::string, std::string> settings = {};

  bool operator==(const RunHeader&) const = default;
};

enum class EventKind {
  kRoundStarted,
  kSelected,
  kReported,
  kRefused,
  kLate,
  kDropped,
  kDeclined,
  kRoundCommitted,
  kRoundAbandoned,
  kMeasure,
  kClientMeasure,
  kEvaluation,
  kTest,
  kBaseline,
  kRunFinished,
};

// One later line. Which fields a kind must have and which it may have is in
// the table of docs/reference/report.md; the others are absent. Counts and
// seconds are in [0, 2^53], numbers finite, text UTF-8.
struct RunEvent {
  EventKind kind = EventKind::kRoundStarted;
  double t = 0;  // virtual seconds since the run began, at least 0
  std::optional<int64_t> round = {}, attempt = {};
  std::optional<int64_t> asked = {};
  std::optional<std::string> client = {}, group = {};
  std::optional<int64_t> examples = {}, bytes_down = {}, bytes_up = {};
  std::optional<double> train_s = {};       // virtual seconds of training
  std::optional<double> train_loss = {};    // absent under masking
  std::optional<std::string> outcome = {};  // of an evaluation's session
  std::optional<std::string> reason = {};
  std::optional<int64_t> updates = {};
  std::optional<double> weight_sum = {};
  std::optional<std::string> adapter = {};  // hexadecimal digest
  std::optional<std::string> name = {};     // of a baseline
  std::optional<double> nll_sum = {};       // nats
  std::optional<int64_t> tokens = {};
  std::optional<int64_t> correct = {};    // of the tokens; of images alone
  std::optional<std::string> state = {};  // "finished", "failed", "stopped"
  std::optional<double> busy_s = {};      // training of all clients together
  std::optional<double> span_s = {};      // from the first event to the last

  bool operator==(const RunEvent&) const = default;
};

inline constexpr int kEventSchema = 1;

// A line without its end: keys in one order, the shortest digits that read
// back as the same number, so equal values make equal bytes. InvalidArgument
// (a field that the kind must have is absent or one that it has not is set, a
// number out of range or not finite, text that is not UTF-8): the caller's bug.
absl::StatusOr<std::string> FormatHeader(const RunHeader& header);
absl::StatusOr<std::string> FormatEvent(const RunEvent& event);

// The same back. Fields that the kind has not are ignored; nullopt: an event
// of a name that this version does not know. InvalidArgument or DataLoss, which
// quote no value: no JSON object, a key twice, a field absent, of another type
// or out of range; a second first line.
absl::StatusOr<RunHeader> ParseHeader(std::string_view line);
absl::StatusOr<std::optional<RunEvent>> ParseEvent(std::string_view line);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_RUN_EVENT_H_
