#ifndef EDGETUNE_TESTS_SIMULATIONS_REPORT_RUN_LOG_H_
#define EDGETUNE_TESTS_SIMULATIONS_REPORT_RUN_LOG_H_

#include <gtest/gtest.h>
#include <filesystem>

#include <cmath>
#include <string>
#include <vector>

#include "simulations/report/event_log.h"
#include "simulations/report/summary.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// A log in a directory of its own, written event by event and summarised.
class RunLog {
 public:
  RunHeader header = {.run = std::string(64, 'b'),
                      .name = "run",
                      .seed = 1,
                      .clients = 4,
                      .rounds = 2,
                      .cohort = 2};

  void Add(const RunEvent& event) { events_.push_back(event); }
  // An event of `client` in attempt 0 of `round`.
  RunEvent& Of(EventKind kind, int64_t round, const std::string& client,
               double t) {
    events_.push_back({.kind = kind,
                       .t = t,
                       .round = round,
                       .attempt = 0,
                       .client = client,
                       .group = client.substr(0, 1)});
    return events_.back();
  }
  void Selected(int64_t round, const std::string& client, double t) {
    Of(EventKind::kSelected, round, client, t);
  }
  // Down 10 bytes, up 5.
  RunEvent& Reported(int64_t round, const std::string& client, double t,
                     double train_s) {
    RunEvent& event = Of(EventKind::kReported, round, client, t);
    event.bytes_down = 10, event.bytes_up = 5, event.train_s = train_s;
    return event;
  }
  void Started(int64_t round, double t, int64_t attempt = 0) {
    Add({.kind = EventKind::kRoundStarted,
         .t = t,
         .round = round,
         .attempt = attempt,
         .asked = 2});
  }
  // Down 100 bytes, up 50.
  void Committed(int64_t round, double t, int64_t updates) {
    Add({.kind = EventKind::kRoundCommitted,
         .t = t,
         .round = round,
         .attempt = 0,
         .bytes_down = 100,
         .bytes_up = 50,
         .updates = updates,
         .weight_sum = 1.5,
         .adapter = "ab"});
  }
  void Measured(int64_t version, double nll_sum, int64_t tokens) {
    Add({.kind = EventKind::kMeasure,
         .t = 0,
         .round = version,
         .nll_sum = nll_sum,
         .tokens = tokens});
  }
  void ClientMeasured(int64_t version, const std::string& client,
                      double nll_sum, int64_t tokens) {
    RunEvent& event = Of(EventKind::kClientMeasure, version, client, 0);
    event.nll_sum = nll_sum, event.tokens = tokens;
  }
  // The same of images, nothing lost.
  void ClientTold(int64_t version, const std::string& client, int64_t images,
                  int64_t correct) {
    ClientMeasured(version, client, 0, images);
    events_.back().correct = correct;
  }
  // `correct` of 10 images, on which the version loses ln 2 each.
  void Tested(int64_t version, int64_t correct) {
    Add({.kind = EventKind::kTest,
         .t = 0,
         .round = version,
         .nll_sum = 10 * std::log(2.0),
         .tokens = 10,
         .correct = correct});
  }
  void Finished(double busy_s, double span_s) {
    Add({.kind = EventKind::kRunFinished,
         .t = span_s,
         .state = "finished",
         .busy_s = busy_s,
         .span_s = span_s});
  }

  std::string directory() const { return folder_.path(); }
  RunSummary Summary() {
    const std::string path = folder_.File("events.jsonl");
    std::filesystem::remove(path);  // of a call before
    const auto log = EventLog::Create(path, header);
    EXPECT_TRUE(log.ok()) << log.status();
    for (const RunEvent& event : events_) {
      const absl::Status status = (*log)->Append(event);
      EXPECT_TRUE(status.ok()) << status;
    }
    EXPECT_TRUE((*log)->Close().ok());
    auto summary = SummariseDirectory(folder_.path());
    EXPECT_TRUE(summary.ok()) << summary.status();
    return *std::move(summary);
  }

 private:
  ScratchDirectory folder_;
  std::vector<RunEvent> events_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_REPORT_RUN_LOG_H_
