#include "config/daemon_files.h"

#include <unistd.h>

#include <string>

#include "base/atomic_file.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

class DaemonFilesTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(path_, text).ok());
    return path_;
  }
  std::string ServerError(const std::string& text) {
    const auto file = ReadServerFile(Write(text));
    EXPECT_EQ(KindOf(file.status()), ErrorKind::kConfig) << text;
    return std::string(file.status().message());
  }
  std::string ClientError(const std::string& text) {
    const auto file = ReadClientFile(Write("kit = 'k'\nstate = 's'\n" + text));
    EXPECT_EQ(KindOf(file.status()), ErrorKind::kConfig) << text;
    return std::string(file.status().message());
  }

  void TearDown() override { unlink(path_.c_str()); }

  const std::string directory_ = ::testing::TempDir();
  // Cases run at the same time, each in a process of its own.
  const std::string path_ =
      directory_ + std::to_string(getpid()) + "_daemon.toml";
};

TEST_F(DaemonFilesTest, ReadsAServerFileWithPathsBesideIt) {
  const auto file = ReadServerFile(
      Write("listen = '127.0.0.1:0'\nkit = 'kit'\nstate = '/var/s'\n"
            "deny = '../deny.txt'\nroster = 'r/roster.pb'\n"
            "log = 'debug'\n"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->listen, "127.0.0.1:0");
  EXPECT_EQ(file->kit, directory_ + "kit");
  EXPECT_EQ(file->state, "/var/s");
  EXPECT_THAT(file->deny, ::testing::EndsWith("/deny.txt"));
  EXPECT_THAT(file->deny, ::testing::Not(HasSubstr("..")));
  EXPECT_EQ(file->roster, directory_ + "r/roster.pb");
  EXPECT_EQ(file->log, "debug");
}

TEST_F(DaemonFilesTest, ReadsAnEnrollFileWithPathsBesideIt) {
  const auto file = ReadEnrollFile(
      Write("listen = '127.0.0.1:0'\nkit = 'enroll'\nstate = 's'\n"
            "publish = 'r/roster.pb'\nfailures_per_minute = 3\n"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->listen, "127.0.0.1:0");
  EXPECT_EQ(file->kit, directory_ + "enroll");
  EXPECT_EQ(file->state, directory_ + "s");
  EXPECT_EQ(file->publish, directory_ + "r/roster.pb");
  EXPECT_EQ(file->failures_per_minute, 3);
}

TEST_F(DaemonFilesTest, RefusesEnrollFilesByKey) {
  const auto error = [this](const std::string& text) {
    const auto file = ReadEnrollFile(Write(text));
    EXPECT_EQ(KindOf(file.status()), ErrorKind::kConfig) << text;
    return std::string(file.status().message());
  };
  const std::string base = "kit = 'k'\nstate = 's'\n";
  EXPECT_THAT(error("kit = 'k'\n"), HasSubstr("required key state"));
  EXPECT_THAT(error(base + "publsh = 'x'\n"), HasSubstr("mean publish?"));
  EXPECT_THAT(error(base + "deny = 'x'\n"), HasSubstr("unknown key deny"));
  EXPECT_THAT(error(base + "listen = 'x'\n"), HasSubstr("host:port"));
  EXPECT_THAT(error(base + "failures_per_minute = 0\n"),
              HasSubstr("failures_per_minute is number 0"));
}

TEST_F(DaemonFilesTest, RefusesServerFilesByKey) {
  EXPECT_THAT(ServerError("state = 's'\n"),
              HasSubstr("required key kit is missing"));
  EXPECT_THAT(ServerError("kit = 'k'\n"),
              HasSubstr("required key state is missing"));
  const std::string base = "kit = 'k'\nstate = 's'\n";
  EXPECT_THAT(ServerError(base + "lisen = 'x'\n"),
              HasSubstr(".toml:3:1: unknown key lisen; did you mean listen?"));
  EXPECT_THAT(ServerError(base + "log = 'loud'\n"), HasSubstr("log is"));
  for (const char* bad :
       {"7443", "host:", ":7443", "h:65536", "h:-1", "h:x", "h:+1", "h:1 "}) {
    EXPECT_THAT(ServerError(base + "listen = '" + bad + "'\n"),
                HasSubstr("wanted host:port"))
        << bad;
  }
}

TEST_F(DaemonFilesTest, ReadsAClientFile) {
  const auto file = ReadClientFile(
      Write("kit = 'k'\nstate = 's'\nserver = '[::1]:7443'\n"
            "enroll = 'e:7444'\npopulation = 'phones'\n"
            "[data]\ntrain = 't.jsonl'\nheldout = 'h.jsonl'\nname = 'n'\n"
            "[train]\nengine = 'fused'\nthreads = 2\n"
            "checkpoint_every = '90s'\nrank = 4\nteacher = 'big.gguf'\n"
            "memory_budget = '512MiB'\n"
            "[policy]\nwindow = '22:00-06:30'\nmin_cohort = 10\n"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->server, "[::1]:7443");
  EXPECT_EQ(file->enroll, "e:7444");
  EXPECT_EQ(file->population, "phones");
  EXPECT_EQ(file->data.train, directory_ + "t.jsonl");
  EXPECT_EQ(file->data.heldout, directory_ + "h.jsonl");
  EXPECT_EQ(file->data.name, "n");
  EXPECT_EQ(file->train.engine, "fused");
  EXPECT_EQ(file->train.threads, 2);
  EXPECT_EQ(file->train.checkpoint_every, absl::Seconds(90));
  EXPECT_EQ(file->train.rank, 4);
  EXPECT_EQ(file->train.teacher, directory_ + "big.gguf");
  EXPECT_EQ(file->train.memory_budget, uint64_t{512} << 20);
  ASSERT_TRUE(file->policy.window.has_value());
  EXPECT_EQ(file->policy.window->start_minute, 22 * 60);
  EXPECT_EQ(file->policy.window->end_minute, 6 * 60 + 30);
  EXPECT_EQ(file->policy.min_cohort, 10);
}

TEST_F(DaemonFilesTest, LeavesWhatAClientFileDoesNotSay) {
  const auto file =
      ReadClientFile(Write("kit = 'k'\nstate = 's'\n[data]\ntrain = 't'\n"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->server, "");
  EXPECT_EQ(file->cache, "");
  EXPECT_EQ(file->data.heldout, "");
  EXPECT_FALSE(file->policy.window.has_value());
  EXPECT_EQ(file->policy.min_cohort, 0);
  EXPECT_EQ(file->train.checkpoint_every, absl::Minutes(1));
  EXPECT_EQ(file->train.rank, 0);
  EXPECT_EQ(file->train.teacher, "");
}

TEST_F(DaemonFilesTest, RefusesClientFilesByKey) {
  EXPECT_THAT(ClientError(""), HasSubstr("required key data.train"));
  const std::string data = "[data]\ntrain = 't'\n";
  EXPECT_THAT(ClientError(data + "trian = 'x'\n"),
              HasSubstr("did you mean data.train?"));
  EXPECT_THAT(ClientError(data + "[train]\nthreads = -1\n"),
              HasSubstr("train.threads is number -1"));
  EXPECT_THAT(ClientError(data + "[train]\nrank = 1025\n"),
              HasSubstr("train.rank"));
  EXPECT_THAT(ClientError(data + "[train]\ncheckpoint_every = '25h'\n"),
              HasSubstr("train.checkpoint_every"));
  EXPECT_THAT(ClientError(data + "[policy]\nwindow = '9-17'\n"),
              HasSubstr("policy.window: time window is"));
  for (const char* bad : {"-1", "301", "'ten'"}) {
    EXPECT_THAT(ClientError(data + "[policy]\nmin_cohort = " + bad + "\n"),
                HasSubstr("policy.min_cohort"))
        << bad;
  }
  EXPECT_THAT(ClientError(data + "[policy]\nrequire = ['power']\n"),
              HasSubstr("policy.require is not in this version"));
  EXPECT_THAT(ClientError("server = 'nowhere'\n" + data),
              HasSubstr("server is"));
  EXPECT_THAT(ClientError("enroll = 'nowhere'\n" + data),
              HasSubstr("enroll is"));
}

TEST_F(DaemonFilesTest, ParsesDailyWindowsStrictly) {
  const auto day = ParseDailyWindow("00:00-23:59");
  ASSERT_TRUE(day.ok());
  EXPECT_EQ(day->start_minute, 0);
  EXPECT_EQ(day->end_minute, 1439);
  for (const char* bad :
       {"", "22:00", "24:00-06:00", "22:60-06:00", "22:00-22:00", "2:00-06:00",
        "22:00_06:00", "-1:00-06:00", "22:00-06:00 ", "22:+1-06:00"}) {
    EXPECT_EQ(ParseDailyWindow(bad).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

}  // namespace
}  // namespace edgetune
