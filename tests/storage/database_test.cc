#include "storage/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<std::string> kSchema = {
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
    "CREATE TABLE child (id INTEGER REFERENCES t(id)); "
    "INSERT INTO t VALUES (100, 'made by version 2')",
};

class DatabaseTest : public ::testing::Test {
 protected:
  absl::Status Open(const std::vector<std::string>& schema = kSchema) {
    database_.reset();
    auto opened = Database::Open(path_, schema);
    if (opened.ok()) database_ = *std::move(opened);
    return opened.status();
  }
  absl::Status Execute(const char* sql, const Row& arguments = {}) {
    return database_->Run([&](Transaction& transaction) {
      return transaction.Execute(sql, arguments);
    });
  }
  std::vector<Row> Query(const char* sql, const Row& arguments = {}) {
    std::vector<Row> rows;
    const absl::Status status =
        database_->Run([&](Transaction& transaction) -> absl::Status {
          EDGETUNE_ASSIGN_OR_RETURN(rows, transaction.Query(sql, arguments));
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    return rows;
  }
  int64_t Count() {
    return std::get<int64_t>(
        Query("SELECT COUNT(*) FROM t WHERE id < 100").at(0).at(0));
  }
  // Runs `body` in a process of its own that is left without any clean-up.
  template <typename Body>
  int InChild(const Body& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  const testing::ScratchDirectory scratch_;
  const fs::path root_ = scratch_.path();
  std::string path_ = root_ / "state.db";
  std::unique_ptr<Database> database_;
};

TEST_F(DatabaseTest, EveryKindOfValueComesBackAsItWas) {
  ASSERT_TRUE(Open().ok());
  const std::string binary("a\0b\xff", 4);
  const std::vector<Value> values = {
      std::monostate(),    int64_t{-5}, INT64_MAX,
      INT64_MIN,           0.25,        HUGE_VAL,
      std::string("text"), binary,      std::string(),
      Blob{binary},        Blob{},
  };
  int64_t id = 0;
  for (const Value& value : values) {
    ASSERT_TRUE(Execute("INSERT INTO t VALUES (?, ?)", {id++, value}).ok());
  }
  for (int64_t i = 0; i < id; ++i) {
    EXPECT_THAT(Query("SELECT v FROM t WHERE id = ?", {i}),
                ElementsAre(Row{values[static_cast<size_t>(i)]}))
        << i;
  }
}

TEST_F(DatabaseTest, AFailedBodyLeavesNothing) {
  ASSERT_TRUE(Open().ok());
  const absl::Status status =
      database_->Run([](Transaction& transaction) -> absl::Status {
        EDGETUNE_RETURN_IF_ERROR(
            transaction.Execute("INSERT INTO t VALUES (1, 'x')"));
        return absl::AbortedError("changed my mind");
      });
  EXPECT_EQ(status, absl::AbortedError("changed my mind"));
  EXPECT_EQ(Count(), 0);
}

TEST_F(DatabaseTest, WhatWasCommittedIsThereAfterReopening) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Execute("INSERT INTO t VALUES (1, 'kept')").ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_THAT(Query("SELECT v FROM t WHERE id = 1"),
              ElementsAre(Row{std::string("kept")}));
}

TEST_F(DatabaseTest, SettingsAreThoseOfADurableStore) {
  ASSERT_TRUE(Open().ok());
  EXPECT_THAT(Query("PRAGMA journal_mode"),
              ElementsAre(Row{std::string("wal")}));
  EXPECT_THAT(Query("PRAGMA synchronous"), ElementsAre(Row{int64_t{2}}));
  EXPECT_THAT(Query("PRAGMA foreign_keys"), ElementsAre(Row{int64_t{1}}));
  struct stat info;
  for (const char* suffix : {"", "-wal", ".lock"}) {
    ASSERT_EQ(stat((path_ + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << suffix;
  }
}

TEST_F(DatabaseTest, MigrationsRunOnceAndInOrder) {
  ASSERT_TRUE(Open({kSchema[0]}).ok());
  ASSERT_TRUE(Execute("INSERT INTO t VALUES (1, 'old')").ok());
  EXPECT_FALSE(Execute("INSERT INTO child VALUES (1)").ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(Execute("INSERT INTO child VALUES (1)").ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_THAT(Query("SELECT id FROM t ORDER BY id"),
              ElementsAre(Row{int64_t{1}}, Row{int64_t{100}}));
}

TEST_F(DatabaseTest, AFailedMigrationLeavesTheOldVersion) {
  ASSERT_TRUE(Open({kSchema[0]}).ok());
  const absl::Status status =
      Open({kSchema[0], "CREATE TABLE half (x); CREATE TABLE nonsense ("});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("to version 2"));
  ASSERT_TRUE(Open({kSchema[0]}).ok());
  EXPECT_TRUE(Query("SELECT 1 FROM sqlite_master WHERE name = 'half'").empty());
}

TEST_F(DatabaseTest, AFileOfANewerProgramIsRefused) {
  ASSERT_TRUE(Open().ok());
  const absl::Status status = Open({kSchema[0]});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("its version is 2, this program knows up to 1"));
  EXPECT_THAT(HintOf(status), HasSubstr("update"));
}

TEST_F(DatabaseTest, ForeignKeysHold) {
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Execute("INSERT INTO child VALUES (7)").code(),
            absl::StatusCode::kInternal);
}

TEST_F(DatabaseTest, ATakenKeyIsToldApartAndTheTransactionGoesOn) {
  ASSERT_TRUE(Open().ok());
  const absl::Status status =
      database_->Run([](Transaction& transaction) -> absl::Status {
        EDGETUNE_RETURN_IF_ERROR(
            transaction.Execute("INSERT INTO t VALUES (1, 'first')"));
        EXPECT_EQ(transaction.Execute("INSERT INTO t VALUES (1, 'x')").code(),
                  absl::StatusCode::kAlreadyExists);
        return transaction.Execute("INSERT INTO t VALUES (2, 'second')");
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Count(), 2);
}

TEST_F(DatabaseTest, BadStatementsAreOurMistakeAndNamed) {
  ASSERT_TRUE(Open().ok());
  const std::pair<const char*, Row> cases[] = {
      {"SELEC 1", {}},
      {"SELECT * FROM nowhere", {}},
      {"INSERT INTO t VALUES (?, ?)", {int64_t{1}}},
      {"SELECT 1", {int64_t{1}}},
      {"SELECT 1; SELECT 2", {}},
      {"", {}},
      {"INSERT INTO t VALUES (1, ?)", {std::nan("")}},
  };
  for (const auto& [sql, arguments] : cases) {
    const absl::Status status = Execute(sql, arguments);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(sql));
  }
  EXPECT_EQ(Count(), 0);
}

TEST_F(DatabaseTest, ABodyCannotEndOrNestTransactions) {
  ASSERT_TRUE(Open().ok());
  const absl::Status ended =
      database_->Run([](Transaction& transaction) -> absl::Status {
        (void)transaction.Execute("COMMIT");
        // Ignoring the error does not help.
        (void)transaction.Execute("INSERT INTO t VALUES (1, 'outside')");
        return absl::OkStatus();
      });
  EXPECT_EQ(ended.code(), absl::StatusCode::kInternal);
  const absl::Status nested = database_->Run([&](Transaction&) {
    return Execute("INSERT INTO t VALUES (1, 'nested')");
  });
  EXPECT_EQ(nested.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Count(), 0);
}

TEST_F(DatabaseTest, ThreadsTakeTurns) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Execute("INSERT INTO t VALUES (1, 0)").ok());
  const auto add_one = [](Transaction& transaction) -> absl::Status {
    EDGETUNE_ASSIGN_OR_RETURN(auto rows,
                              transaction.Query("SELECT v FROM t WHERE id=1"));
    const int64_t value = std::get<int64_t>(rows.at(0).at(0));
    return transaction.Execute("UPDATE t SET v = ? WHERE id = 1", {value + 1});
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10; ++n) EXPECT_TRUE(database_->Run(add_one).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Query("SELECT v FROM t WHERE id = 1"),
              ElementsAre(Row{int64_t{40}}));
}

TEST_F(DatabaseTest, AKilledProcessLosesItsOpenTransactionAlone) {
  const int signal = InChild([&] {
    if (!Open().ok()) return 1;
    for (int64_t i = 0; i < 5; ++i) {
      if (!Execute("INSERT INTO t VALUES (?, 'done')", {i}).ok()) return 2;
    }
    (void)database_->Run([](Transaction& transaction) {
      for (int64_t i = 5; i < 9; ++i) {
        (void)transaction.Execute("INSERT INTO t VALUES (?, 'open')", {i});
      }
      kill(getpid(), SIGKILL);
      return absl::OkStatus();
    });
    return 3;
  });
  ASSERT_EQ(signal, -SIGKILL);
  // The lock of the dead process is gone, too.
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Count(), 5);
  EXPECT_THAT(Query("PRAGMA integrity_check"),
              ElementsAre(Row{std::string("ok")}));
}

TEST_F(DatabaseTest, ASecondProcessIsRefusedWhileTheFirstLives) {
  ASSERT_TRUE(Open().ok());
  const int result = InChild([&] {
    const auto second = Database::Open(path_, kSchema);
    if (second.ok()) return 1;
    if (!absl::IsFailedPrecondition(second.status())) return 2;
    return HintOf(second.status()).empty() ? 3 : 0;
  });
  EXPECT_EQ(result, 0);
  EXPECT_FALSE(Database::Open(path_, kSchema).ok());
  EXPECT_TRUE(Execute("INSERT INTO t VALUES (1, 'x')").ok());
}

TEST_F(DatabaseTest, AFileThatIsNoDatabaseIsDataLossAndLeftAlone) {
  const std::string text(4096, 'n');
  std::ofstream(path_) << text;
  const absl::Status status = Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("state.db"));
  EXPECT_FALSE(HintOf(status).empty());
  EXPECT_EQ(fs::file_size(path_), text.size());
}

TEST_F(DatabaseTest, ADamagedPageIsDataLoss) {
  ASSERT_TRUE(Open().ok());
  const std::string large(200000, 'v');
  ASSERT_TRUE(Execute("INSERT INTO t VALUES (1, ?)", {large}).ok());
  for (int64_t i = 2; i < 90; ++i) {
    ASSERT_TRUE(Execute("INSERT INTO t VALUES (?, 'row')", {i}).ok());
  }
  database_.reset();
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);  // the root page of t
    file << std::string(4096, '\x7f');
  }
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Execute("UPDATE t SET v = 0").code(), absl::StatusCode::kDataLoss);
}

TEST_F(DatabaseTest, AMissingDirectoryIsNotFound) {
  path_ = root_ / "nowhere" / "state.db";
  EXPECT_EQ(Open().code(), absl::StatusCode::kNotFound);
}

TEST_F(DatabaseTest, AFullDiskIsToldAndEarlierCommitsStay) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Execute("INSERT INTO t VALUES (1, 'kept')").ok());
  database_.reset();
  // A limit on file sizes stands in for the disk's end (EFBIG for ENOSPC).
  const int result = InChild([&] {
    signal(SIGXFSZ, SIG_IGN);
    if (!Open().ok()) return 1;
    const rlimit limit = {200000, 200000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    const absl::Status status =
        Execute("INSERT INTO t VALUES (2, ?)", {std::string(400000, 'x')});
    if (!absl::IsResourceExhausted(status)) return 3;
    if (KindOf(status) != ErrorKind::kDiskFull) return 4;
    // Nothing is acted on after a commit that failed.
    return Execute("INSERT INTO t VALUES (3, 'x')").ok() ? 5 : 0;
  });
  EXPECT_EQ(result, 0);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Count(), 1);
}

TEST(MemoryDatabaseTest, IsPrivateToEachOpening) {
  auto first = Database::Open(":memory:", kSchema);
  auto second = Database::Open(":memory:", kSchema);
  ASSERT_TRUE(first.ok() && second.ok());
  const auto insert = [](Transaction& transaction) {
    return transaction.Execute("INSERT INTO t VALUES (1, 'x')");
  };
  EXPECT_TRUE((*first)->Run(insert).ok());
  EXPECT_TRUE((*second)->Run(insert).ok());
  EXPECT_FALSE(fs::exists(":memory:.lock"));
}

}  // namespace
}  // namespace edgetune
