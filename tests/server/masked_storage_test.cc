// A28: full disks, failing writes and syncs, rows and blobs with flipped bits,
// a lost end of the log, no random bytes. Whatever happens is noticed or has no
// effect; no round commits anything but the sum over its signed survivors.

#include <gmock/gmock.h>
#include <openssl/rand.h>

#include <filesystem>

#include "base/random.h"
#include "base/status.h"
#include "tests/server/masked_fleet.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using testing::FileFaults;
using Kind = FileFaults::Kind;

constexpr auto& kPhases = MaskedFleet::kPhases;

// --- calls that fail

struct Failure {
  const char* name;
  Kind kind;
  int error;
  std::vector<std::string> calls;
};

const Failure kFailures[] = {
    {"full", Kind::kError, ENOSPC, {"write", "pwrite", "open", "mkostemp"}},
    {"stays full",
     Kind::kErrorFrom,
     ENOSPC,
     {"write", "pwrite", "open", "mkostemp"}},
    {"full in mid-write", Kind::kErrorTorn, ENOSPC, {"write", "pwrite"}},
    {"short write", Kind::kShort, 0, {"write", "pwrite"}},
    {"i/o error", Kind::kError, EIO, {}},
    {"i/o errors", Kind::kErrorFrom, EIO, {}},
    {"failed sync", Kind::kError, EIO, {"fsync"}},
};

std::string RunWithFailure(const Failure& failure, uint32_t seed, int64_t at) {
  MaskedFleet fleet(seed);
  {
    FileFaults faults({.directory = fleet.server.directory(),
                       .kind = failure.kind,
                       .at = at,
                       .error = failure.error,
                       .calls = failure.calls});
    fleet.faults = &faults;
    fleet.Submit();
    if (!fleet.server.dead()) (void)fleet.Run();
    if (!faults.struck()) return "nothing failed";
    if (fleet.server.dead() || !fleet.IsOver()) fleet.server.CloseFiles();
    fleet.faults = nullptr;
  }
  return fleet.Finish();
}

class MaskedFailureTest : public ::testing::TestWithParam<Failure> {};
INSTANTIATE_TEST_SUITE_P(Kinds, MaskedFailureTest,
                         ::testing::ValuesIn(kFailures), [](const auto& info) {
                           std::string name = info.param.name;
                           std::erase_if(name,
                                         [](char c) { return !isalpha(c); });
                           return name;
                         });

TEST_P(MaskedFailureTest, EveryCallThatChangesAFileMayFail) {
  for (uint32_t seed = 0; seed < MaskedFleet::kScripts; ++seed) {
    int64_t count = 0;
    {
      MaskedFleet fleet(seed);
      FileFaults faults(
          {.directory = fleet.server.directory(), .calls = GetParam().calls});
      fleet.Submit();
      ASSERT_TRUE(fleet.Run());
      count = faults.count();
    }
    const int64_t stride = Stride(count, 4, 60);
    for (int64_t at = seed % stride; at < count; at += stride) {
      EXPECT_EQ(RunWithFailure(GetParam(), seed, at), "")
          << "seed " << seed << ", call " << at;
    }
  }
}

// --- bits that flip while the server is down

struct Cell {
  std::string table, column, where;
  Row key;
  Value value;
};

// Every value of the open session's rows.
std::vector<Cell> CellsOf(Database& database) {
  const struct {
    const char* table;
    std::vector<const char*> keys, columns;
  } tables[] = {
      {"secagg_records",
       {"run_id", "grp", "number"},
       {"kind", "phase", "member", "bytes", "digest"}},
      {"secagg_groups", {"run_id", "grp"}, {"cohort"}},
      {"secagg_keys", {"run_id", "device"}, {"entry"}},
  };
  std::vector<Cell> cells;
  for (const auto& table : tables) {
    std::string key_list, where;
    for (const char* key : table.keys) {
      key_list += std::string(key) + ",";
      where += (where.empty() ? "" : " AND ") + std::string(key) + "=?";
    }
    for (const char* column : table.columns) {
      const std::string sql =
          "SELECT " + key_list + column + " FROM " + table.table;
      EDGETUNE_CHECK(database
                         .Run([&](Transaction& transaction) {
                           const auto rows = transaction.Query(sql.c_str());
                           EDGETUNE_RETURN_IF_ERROR(rows.status());
                           for (Row row : *rows) {
                             Value value = row.back();
                             row.pop_back();
                             cells.push_back({table.table, column, where, row,
                                              std::move(value)});
                           }
                           return absl::OkStatus();
                         })
                         .ok());
    }
  }
  return cells;
}

// Flips one bit of a value, kept of its type.
void Flip(Value& value, Random& random) {
  if (int64_t* number = std::get_if<int64_t>(&value)) {
    *number ^= int64_t{1} << random.Below(8);
  } else if (Blob* blob = std::get_if<Blob>(&value)) {
    if (blob->bytes.empty()) return;
    blob->bytes[random.Below(blob->bytes.size())] ^=
        static_cast<char>(1 << random.Below(8));
  }
}

std::string FlipSomething(MaskedFleet& fleet, Random& random) {
  fleet.server.CloseFiles();
  auto database = Database::Open(fleet.server.directory() + "/state.db",
                                 Coordinator::Migrations());
  EDGETUNE_CHECK(database.ok());
  std::vector<Cell> cells = CellsOf(**database);
  EDGETUNE_CHECK(!cells.empty());
  Cell& cell = cells[random.Below(cells.size())];
  Flip(cell.value, random);
  Row arguments = {cell.value};
  arguments.insert(arguments.end(), cell.key.begin(), cell.key.end());
  database->reset();
  fleet.Change(
      "UPDATE " + cell.table + " SET " + cell.column + "=? WHERE " + cell.where,
      arguments);
  return cell.table + "." + cell.column;
}

class MaskedFlipTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Phases, MaskedFlipTest, ::testing::ValuesIn(kPhases),
                         [](const auto& info) {
                           return std::string(info.param).substr(9);
                         });

TEST_P(MaskedFlipTest, ABitOfAnyRowIsNoticedOrWithoutEffect) {
  const int64_t stride = Stride(400, 10, 400);
  for (uint32_t i = 0; i < 400; i += static_cast<uint32_t>(stride)) {
    MaskedFleet fleet(i % MaskedFleet::kScripts);
    Random random(i);
    fleet.StopIn(GetParam(), static_cast<int64_t>(random.Below(3)));
    if (HasFatalFailure()) return;
    const std::string what = FlipSomething(fleet, random);
    EXPECT_EQ(fleet.Finish(), "") << what << ", number " << i;
  }
}

class MaskedBlobTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Phases, MaskedBlobTest,
                         ::testing::Values(kPhases[2], kPhases[3], kPhases[4]),
                         [](const auto& info) {
                           return std::string(info.param).substr(9);
                         });

TEST_P(MaskedBlobTest, EveryByteOfAMaskedVectorIsWatched) {
  uint64_t size = 1;
  for (uint64_t at = 0; at < size; at += static_cast<uint64_t>(Stride(
                                       static_cast<int64_t>(size), 6, 200))) {
    // Nobody of this fleet is lost, so one less still makes a sum.
    MaskedFleet fleet(0);
    fleet.StopIn(GetParam(), 3);
    if (HasFatalFailure()) return;
    fleet.server.CloseFiles();
    const auto paths = fleet.MaskedBlobs();
    ASSERT_FALSE(paths.empty());
    const std::string& path = paths[at % paths.size()];
    size = fs::file_size(path);
    FlipByte(path, at, static_cast<int>(at % 8));
    EXPECT_EQ(fleet.Finish(), "") << "byte " << at;
    // Before the freeze its device is a dropout; later the session ends and
    // has spent everybody once.
    EXPECT_EQ(fleet.overrides, std::string(GetParam()) == kPhases[2] ? 0u : 1u);
  }
}

TEST(MaskedStorageTest, ABlobThatIsDamagedAfterItWasAddedChangesNothing) {
  MaskedFleet fleet(0);
  fleet.StopIn(kPhases[3], 0);
  for (const std::string& path : fleet.MaskedBlobs()) FlipByte(path, 7, 3);
  ASSERT_TRUE(fleet.Run());
  EXPECT_EQ(fleet.BrokenInvariant(), "");
  EXPECT_EQ(fleet.overrides, 0u);
}

// --- the end of the log is lost, though the disk said it was there

TEST(MaskedStorageTest, ALostEndOfTheLogIsNeverAWrongCommit) {
  for (uint32_t i = 0; i < 600;
       i += static_cast<uint32_t>(Stride(600, 20, 300))) {
    MaskedFleet fleet(i % MaskedFleet::kScripts);
    Random random(i);
    {
      FileFaults faults({.directory = fleet.server.directory(),
                         .kind = Kind::kKill,
                         .at = static_cast<int64_t>(200 + random.Below(400))});
      fleet.faults = &faults;
      fleet.Submit();
      (void)fleet.Run();
      fleet.server.CloseFiles();
      fleet.faults = nullptr;
      if (!faults.killed()) continue;
    }
    const std::string log = fleet.server.directory() + "/state.db-wal";
    const uint64_t size = fs::file_size(log);
    ASSERT_GT(size, 10'000u);
    fs::resize_file(log, size - random.Below(10'000));
    EXPECT_EQ(fleet.Finish(), "") << "number " << i;
  }
}

// --- no random bytes

class MaskedRandomTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Calls, MaskedRandomTest, ::testing::Range(0, 13));

TEST_P(MaskedRandomTest, ADeviceWithoutThemIsADropout) {
  MaskedFleet fleet(0);
  const FileFaults quick({.directory = fleet.server.directory()});
  fleet.devices[2]->random.calls_left = GetParam();
  fleet.Submit();
  ASSERT_TRUE(fleet.RunUntil(
      [&] { return fleet.status().rounds_done() == 1 || fleet.IsOver(); }));
  EXPECT_EQ(fleet.status().rounds_done(), 1u)
      << fleet.status().ShortDebugString();
  const v1::RoundReceipt receipt = fleet.Receipts()[0];
  EXPECT_EQ(receipt.survivors(), 5u);
  EXPECT_FALSE(fleet.devices[2]->declined.empty());
  fleet.devices[2]->random.calls_left = -1;
  ASSERT_TRUE(fleet.Run());
  EXPECT_EQ(fleet.BrokenInvariant(), "");
}

int NoBytes(unsigned char*, int) { return 0; }

TEST(MaskedStorageTest, ACoordinatorWithoutRandomBytesStopsAndGoesOnLater) {
  MaskedFleet fleet(0);
  const RAND_METHOD* before = RAND_get_rand_method();
  RAND_METHOD broken = *before;
  broken.bytes = NoBytes;
  broken.pseudorand = NoBytes;
  ASSERT_EQ(RAND_set_rand_method(&broken), 1);
  fleet.Submit();
  EXPECT_FALSE(fleet.Run());
  EXPECT_EQ(RAND_set_rand_method(before), 1);
  EXPECT_TRUE(fleet.server.dead());
  EXPECT_EQ(fleet.Finish(), "");
}

}  // namespace
}  // namespace edgetune
