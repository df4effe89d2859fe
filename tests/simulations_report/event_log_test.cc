#include "simulations/report/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/small_disk.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

RunHeader Header() {
  return {.run = std::string(64, 'a'),
          .name = "first",
          .seed = 7,
          .clients = 3,
          .rounds = 2,
          .cohort = 2,
          .masked = false,
          .settings = {{"train.lr", "0.001"}}};
}

constexpr const char* kFirst =
    R"({"event":"run","schema":1,"run":)"
    R"("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",)"
    R"("name":"first","seed":7,"clients":3,"rounds":2,"cohort":2,)"
    R"("masked":false,"settings":{"train.lr":"0.001"}})"
    "\n";

// One of every kind, with every field that it may have.
std::vector<RunEvent> EveryEvent() {
  using enum EventKind;
  const std::string c = "c1", g = "noun.food", hex = "00ff";
  const auto of = [&](EventKind kind) {
    return RunEvent{.kind = kind,
                    .t = 1.25,
                    .round = 1,
                    .attempt = 2,
                    .client = c,
                    .group = g};
  };
  RunEvent reported = of(kReported), refused = of(kRefused);
  reported.examples = 10, reported.bytes_down = 11, reported.bytes_up = 12;
  reported.train_s = 0.1, reported.train_loss = 2.5;
  refused.reason = "not finite";
  RunEvent dropped = of(kDropped), declined = of(kDeclined);
  dropped.reason = "", declined.reason = "battery";
  RunEvent client = of(kClientMeasure);
  client.nll_sum = 1e-300, client.tokens = 0, client.correct = 0;
  return {{.kind = kRoundStarted, .t = 0, .round = 1, .attempt = 0, .asked = 3},
          of(kSelected),
          reported,
          refused,
          of(kLate),
          dropped,
          declined,
          {.kind = kRoundCommitted,
           .t = 5,
           .round = 1,
           .attempt = 1,
           .bytes_down = 100,
           .bytes_up = 50,
           .updates = 2,
           .weight_sum = 20.5,
           .adapter = hex},
          {.kind = kRoundAbandoned,
           .t = 6,
           .round = 2,
           .attempt = 0,
           .reason = "quorum"},
          {.kind = kMeasure,
           .t = 7,
           .round = 1,
           .attempt = 0,
           .nll_sum = 12,
           .tokens = 5},
          client,
          {.kind = kEvaluation,
           .t = 7.5,
           .round = 3,
           .attempt = 0,
           .client = "c",
           .group = g,
           .outcome = "dropped",
           .reason = "gone"},
          {.kind = kTest,
           .t = 7,
           .round = 1,
           .nll_sum = 12,
           .tokens = 5,
           .correct = 4},
          {.kind = kBaseline,
           .t = 8,
           .group = g,
           .name = "local",
           .nll_sum = 1,
           .tokens = 2},
          {.kind = kRunFinished,
           .t = 9,
           .adapter = hex,
           .state = "stopped",
           .busy_s = 3,
           .span_s = 9}};
}

class EventLogTest : public ::testing::Test {
 protected:
  absl::Status WriteLog(const RunHeader& header,
                        const std::vector<RunEvent>& events) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto log, EventLog::Create(path_, header));
    for (const RunEvent& event : events) {
      EDGETUNE_RETURN_IF_ERROR(log->Append(event));
    }
    return log->Close();
  }

  // Of the bytes given, or of the log that is there.
  absl::StatusOr<std::vector<RunEvent>> Read(const std::string& bytes = "") {
    if (!bytes.empty()) std::ofstream(path_, std::ios::binary) << bytes;
    EDGETUNE_ASSIGN_OR_RETURN(reader_, EventReader::Open(path_));
    std::vector<RunEvent> events;
    while (true) {
      EDGETUNE_ASSIGN_OR_RETURN(auto event, reader_->Next());
      if (!event) return events;
      events.push_back(*std::move(event));
    }
  }

  void ExpectFault(const std::string& bytes, const std::string& message) {
    const absl::Status status = Read(bytes).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << bytes;
    EXPECT_EQ(KindOf(status), ErrorKind::kData) << bytes;
    EXPECT_FALSE(HintOf(status).empty()) << bytes;
  }

  testing::ScratchDirectory folder_;
  const std::string path_ = folder_.File("events.jsonl");
  std::unique_ptr<EventReader> reader_;
};

TEST_F(EventLogTest, EveryFieldOfEveryKindComesBack) {
  ASSERT_TRUE(WriteLog(Header(), EveryEvent()).ok());
  const auto events = Read();
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(*events, EveryEvent());
  EXPECT_EQ(reader_->header(), Header());
  EXPECT_TRUE(reader_->finished());
  EXPECT_FALSE(reader_->cut());
}

TEST_F(EventLogTest, BytesAreThoseOfTheFormat) {
  ASSERT_TRUE(WriteLog(Header(), {EveryEvent()[2], EveryEvent().back()}).ok());
  EXPECT_EQ(
      *ReadFile(path_),
      kFirst +
          std::string(R"({"event":"reported","t":1.25,"round":1,"attempt":2,)"
                      R"("client":"c1","group":"noun.food","examples":10,)"
                      R"("bytes_down":11,"bytes_up":12,"train_s":0.1,)"
                      R"("train_loss":2.5})"
                      "\n"
                      R"({"event":"run_finished","t":9.0,"state":"stopped",)"
                      R"("adapter":"00ff","busy_s":3.0,"span_s":9.0})"
                      "\n"));
}

TEST_F(EventLogTest, HostileTextAndLargeNumbersComeBack) {
  RunHeader header = Header();
  header.seed = std::numeric_limits<uint64_t>::max();
  header.name = std::string("a\0b\n\"\\\x1b[31m", 11) + "\u202e\u2028é漢😀";
  header.settings["\n=1+1"] = "</script>";
  std::vector<RunEvent> events = {EveryEvent()[2], EveryEvent()[9]};
  events[0].client = "\x01\x7f,\"\r\n</svg>";
  events[0].bytes_up = int64_t{1} << 53;
  events[0].train_s = 0x1p53;
  events[0].train_loss = std::numeric_limits<double>::max();
  events[1].nll_sum = -std::numeric_limits<double>::denorm_min();
  events[1].t = 0.1 + 0.2;  // 17 digits
  ASSERT_TRUE(WriteLog(header, events).ok());
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, events);
  EXPECT_EQ(reader_->header(), header);
}

TEST_F(EventLogTest, WhatTheFormatHasNotIsNotWritten) {
  const auto log = EventLog::Create(path_, Header());
  ASSERT_TRUE(log.ok()) << log.status();
  const auto expect_refusal = [&](RunEvent event, const std::string& message) {
    const absl::Status status = (*log)->Append(event);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    RunEvent event = EveryEvent()[9];
    event.nll_sum = bad;
    expect_refusal(event, "\"nll_sum\" must be a finite number");
  }
  RunEvent event = EveryEvent()[1];
  event.t = -1;
  expect_refusal(event, "\"t\" must be seconds in [0, 2^53]");
  event.t = 1e300;
  expect_refusal(event, "\"t\" must be seconds in [0, 2^53]");
  event = EveryEvent()[1];
  event.client = "\xff";
  expect_refusal(event, "\"client\" must be UTF-8");
  event.client.reset();
  expect_refusal(event, "event selected needs \"client\"");
  event = EveryEvent()[1];
  event.tokens = 1;
  expect_refusal(event, "event selected takes no \"tokens\"");
}

TEST_F(EventLogTest, HeadersThatNameNoRunAreNotWritten) {
  RunHeader header = Header();
  header.run = "abc";
  EXPECT_THAT(std::string(EventLog::Create(path_, header).status().message()),
              HasSubstr("\"run\" must be 64 hexadecimal digits"));
  header = Header();
  header.clients = 0;
  EXPECT_THAT(std::string(EventLog::Create(path_, header).status().message()),
              HasSubstr("\"clients\" must be at least 1"));
}

TEST_F(EventLogTest, AnotherRunsLogIsLeftAlone) {
  ASSERT_TRUE(WriteLog(Header(), {}).ok());
  const absl::Status status = WriteLog(Header(), EveryEvent());
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(path_), kFirst);
}

TEST_F(EventLogTest, ARoundsEndIsInTheFileAtOnce) {
  const auto log = EventLog::Create(path_, Header());
  ASSERT_TRUE(log.ok());
  const std::vector<RunEvent> events = EveryEvent();
  ASSERT_TRUE((*log)->Append(events[1]).ok());
  EXPECT_EQ(*ReadFile(path_), kFirst);  // the first line is there at once
  ASSERT_TRUE((*log)->Append(events[7]).ok());
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, (std::vector<RunEvent>{events[1], events[7]}));
  EXPECT_FALSE(reader_->finished());
}

TEST_F(EventLogTest, AFullDiskIsAnError) {
  const auto log = EventLog::Create(path_, Header());
  ASSERT_TRUE(log.ok());
  testing::SmallDisk disk(300);
  const absl::Status status = (*log)->Append(EveryEvent()[7]);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot write"));
}

TEST_F(EventLogTest, ACutLastLineIsToldAndNotRead) {
  ASSERT_TRUE(WriteLog(Header(), EveryEvent()).ok());
  const std::string whole = *ReadFile(path_);
  const size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t size = last + 1; size < whole.size(); ++size) {
    const auto events = Read(whole.substr(0, size));
    ASSERT_TRUE(events.ok()) << size << events.status();
    EXPECT_EQ(events->size(), EveryEvent().size() - 1);
    EXPECT_TRUE(reader_->cut()) << size;
    EXPECT_FALSE(reader_->finished()) << size;
  }
  ASSERT_TRUE(Read(whole.substr(0, last)).ok());
  EXPECT_FALSE(reader_->cut());
}

TEST_F(EventLogTest, UnknownEventsAndFieldsArePassedOver) {
  const auto events = Read(
      kFirst + std::string(R"({"event":"weather","t":1,"rain":[1,{"a":null}]})"
                           "\r\n"
                           R"({"event":"measure","t":1,"round":0,"nll_sum":2,)"
                           R"("tokens":3,"rain":true,"client":17})"
                           "\n"));
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 1u);
  EXPECT_FALSE(events->front().client.has_value());
  EXPECT_EQ(reader_->unknown(), 1);
}

TEST_F(EventLogTest, AFirstLineThatIsNoneIsRefused) {
  const std::string path = path_ + ":1: ";
  ExpectFault(std::string(kFirst).substr(0, 40), path + "there is no whole");
  ExpectFault("{\"event\":\"measure\"}\n", path + "the first event must be");
  ExpectFault("[]\n", path + "is no JSON object");
  ExpectFault("\n", path);
  ExpectFault("{\"event\":\"run\",\"schema\":2}\n",
              path + "schema 2 of events");
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{
           {"\"seed\":7", "\"seed\":-7"},
           {"\"seed\":7", "\"seed\":1e99"},
           {"\"clients\":3", "\"clients\":0"},
           {"\"masked\":false", "\"masked\":0"},
           {"aaaa", "zzzz"},
           {"\"0.001\"", "0.001"},
           {"\"rounds\":2,", ""}}) {
    std::string line = kFirst;
    line.replace(line.find(from), from.size(), to);
    ExpectFault(line, path);
  }
}

// A line, and what its refusal says.
std::vector<std::pair<std::string, std::string>> BadLines() {
  return {{"secret", "event"},
          {"", "event"},
          {R"(["secret"])", "is no JSON object"},
          {R"({"t":1})", "has no \"event\""},
          {R"({"event":"late","event":"late"})", "twice"},
          {R"({"event":"measure","round":0,"nll_sum":2,"tokens":3})",
           "has no \"t\""},
          {R"({"event":"measure","t":1,"round":0,"nll_sum":"secret",)"
           R"("tokens":3})",
           "measure: \"nll_sum\" must be a number"},
          {R"({"event":"measure","t":1,"round":0,"nll_sum":1e999,)"
           R"("tokens":3})",
           "event"},
          {R"({"event":"measure","t":1,"round":0,"nll_sum":1,"tokens":-3})",
           "\"tokens\" must be in [0, 2^53]"},
          {R"({"event":"measure","t":1,"round":0,"nll_sum":1,)"
           R"("tokens":18446744073709551615})",
           "\"tokens\" must be in [0, 2^53]"},
          {R"({"event":"measure","t":1,"round":0.5,"nll_sum":1,"tokens":3})",
           "\"round\" must be a whole number"},
          {R"({"event":"run_finished","t":1,"state":"secret","busy_s":1,)"
           R"("span_s":1})",
           "finished, failed or stopped"},
          {"{\"event\":\"late\",\"t\":1,\"round\":1,\"client\":\"\xc3\","
           "\"group"
           "\":\"\"}",
           "event"},
          {std::string(kFirst, strlen(kFirst) - 1), "a second run"}};
}

TEST_F(EventLogTest, BadLinesAreNamedAndNotQuoted) {
  for (const auto& [line, message] : BadLines()) {
    ExpectFault(kFirst + line + "\n", path_ + ":2: ");
    ExpectFault(kFirst + line + "\n", message);
    EXPECT_EQ(Read(kFirst + line + "\n").status().message().find("secret"),
              std::string::npos);
  }
}

TEST_F(EventLogTest, NothingFollowsTheEnd) {
  ASSERT_TRUE(WriteLog(Header(), EveryEvent()).ok());
  const std::string whole = *ReadFile(path_);
  const std::string last =
      whole.substr(whole.rfind('\n', whole.size() - 2) + 1);
  ExpectFault(whole + last, "an event after run_finished");
}

TEST_F(EventLogTest, AMissingLogSaysWhereItWouldBe) {
  const absl::Status status = EventReader::Open(path_).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

// A run that was killed is repeated; at any length its log comes to the same.
TEST_F(EventLogTest, ARepeatedLogIsComparedAndGoesOn) {
  ASSERT_TRUE(WriteLog(Header(), EveryEvent()).ok());
  const std::string whole = *ReadFile(path_);
  for (size_t size = 0; size <= whole.size(); size += 3) {
    ASSERT_TRUE(WriteFileAtomically(path_, whole.substr(0, size)).ok());
    const auto log = EventLog::Repeat(path_, Header());
    ASSERT_TRUE(log.ok()) << log.status();
    for (const RunEvent& event : EveryEvent()) {
      ASSERT_TRUE((*log)->Append(event).ok()) << size;
    }
    ASSERT_TRUE((*log)->Close().ok());
    ASSERT_EQ(*ReadFile(path_), whole) << size;
  }
}

TEST_F(EventLogTest, ARepeatedLogThatDiffersStaysAsItIsAndSaysWhere) {
  ASSERT_TRUE(WriteLog(Header(), EveryEvent()).ok());
  const std::string whole = *ReadFile(path_);
  {
    const auto log = EventLog::Repeat(path_, Header());
    ASSERT_TRUE(log.ok()) << log.status();
    RunEvent other = EveryEvent()[0];
    other.asked = 4;
    EXPECT_TRUE((*log)->Append(other).ok());
    const absl::Status status = (*log)->Close();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("\"asked\":4"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("\"asked\":3"));
  }
  EXPECT_EQ(*ReadFile(path_), whole);
  RunHeader header = Header();
  header.seed = 77;
  EXPECT_TRUE(
      absl::IsFailedPrecondition(EventLog::Repeat(path_, header).status()));
  EXPECT_EQ(*ReadFile(path_), whole);
}

TEST_F(EventLogTest, ARepeatedLogMustComeToTheEndOfTheOneBefore) {
  ASSERT_TRUE(WriteLog(Header(), EveryEvent()).ok());
  const auto log = EventLog::Repeat(path_, Header());
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_TRUE(absl::IsFailedPrecondition((*log)->Close()));
}

TEST_F(EventLogTest, OnlyALogThatIsThereIsRepeated) {
  EXPECT_TRUE(absl::IsNotFound(EventLog::Repeat(path_, Header()).status()));
}

}  // namespace
}  // namespace edgetune
