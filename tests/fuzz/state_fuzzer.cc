// A coordinator that comes back and finds something else on its disk than it
// wrote: records, rows and uploads of a masked round. Input: where the process
// died, then edits of records and rows; afterwards everybody says again what
// they had said.

#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "server/masked_round.h"
#include "server/masked_rows.h"
#include "tests/fuzz/bend_message.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/scene.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using Record = Scene::Record;
using Phase = secagg::SecAggServer::Phase;
using Body = v1::SecAggClientMessage::BodyCase;

// The scene's uploads, one of them with a bit turned and one cut short.
class Uploads {
 public:
  Uploads() : path_(std::filesystem::temp_directory_path() / "fuzz_XXXXXX") {
    Require(mkdtemp(path_.data()) != nullptr, "a directory for blobs");
    store_ = BlobStore::Open(path_).value();
    for (auto [digest, blob] : Scene::Five().blobs()) {
      Put(blob);
      blob.back() = static_cast<char>(0x80);  // padding bits
      others_.push_back(Put(blob));
      blob.pop_back();
      others_.push_back(Put(blob));
    }
    others_.emplace_back();  // of no blob
  }
  ~Uploads() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const BlobStore* store() const { return store_.get(); }
  std::string Other(Choices& choices) const {
    return DigestBytes(others_[choices.Below(others_.size())]);
  }

 private:
  Digest Put(const std::string& bytes) {
    return store_->Put(ByteSpan(bytes)).value();
  }

  std::string path_;
  std::unique_ptr<BlobStore> store_;
  std::vector<Digest> others_;
};

const Uploads& TheUploads() {
  static const Uploads uploads;
  return uploads;
}

// Tables of a coordinator, empty between two inputs.
Database& TheDatabase() {
  static const auto* database = new std::unique_ptr<Database>(
      Database::Open(":memory:",
                     {"CREATE TABLE runs (id INTEGER)", kMaskedTables})
          .value());
  return **database;
}

std::string Device(uint32_t member) { return "d" + std::to_string(member); }

// Another message in the record, or other bytes.
void BendRecord(Choices& choices, Record& record) {
  v1::SecAggClientMessage said;
  v1::SecAggServerMessage sent;
  const bool is_message = record.kind == Record::Kind::kMessage;
  if (choices.Below(4) == 0) return BendBytes(choices, record.bytes);
  if (is_message && said.ParseFromString(record.bytes)) {
    if (said.has_input() && choices.Below(2) == 0) {
      said.mutable_input()->set_digest(TheUploads().Other(choices));
    } else {
      BendMessage(choices, said);
    }
    record.bytes = said.SerializeAsString();
  } else if (!is_message && sent.ParseFromString(record.bytes)) {
    BendMessage(choices, sent);
    record.bytes = sent.SerializeAsString();
  }
}

// False: the input has no more edits of records.
bool EditRecords(Choices& choices, std::vector<Record>& records) {
  if (records.empty()) return false;
  const size_t at = choices.Byte() % records.size();
  Record& record = records[at];
  switch (choices.Below(8)) {
    case 0:
      return false;
    case 1:
      records.erase(records.begin() + static_cast<std::ptrdiff_t>(at));
      return true;
    case 2:
      std::swap(record, records[choices.Byte() % records.size()]);
      return true;
    case 3:
      records.insert(records.begin(), record);
      return true;
    case 4:
      record.phase = static_cast<Phase>(choices.Below(8));
      return true;
    case 5:
      record.index = choices.Byte();
      return true;
    case 6:
      record.kind = static_cast<Record::Kind>(choices.Below(2));
      return true;
    default:
      BendRecord(choices, record);
      return true;
  }
}

// What a program that is not ours, or a failing disk, leaves in a row.
void EditRow(Choices& choices, Row& row) {
  Value& value = row[choices.Below(row.size())];
  Blob* blob = std::get_if<Blob>(&value);
  switch (choices.Below(6)) {
    case 0:
      value = std::monostate();
      return;
    case 1:
      value = int64_t{choices.Byte()} << choices.Below(64);
      return;
    case 2:
      value = std::string(choices.Below(40), 'x');
      return;
    case 3:
      value = 0.5;
      return;
    default:
      if (blob != nullptr) BendBytes(choices, blob->bytes);
  }
}

// Writes as the coordinator does, edits what is written, reads it back.
absl::StatusOr<StoredMasking> Reload(Choices& choices, Batch batch,
                                     const std::string& run_id) {
  for (uint32_t edits = choices.Below(4); edits > 0; --edits) {
    EditRow(choices,
            batch.writes[choices.Byte() % batch.writes.size()].arguments);
  }
  absl::StatusOr<StoredMasking> stored = absl::UnknownError("not read");
  // Rolled back in any case: the next input finds empty tables.
  static_cast<void>(TheDatabase().Run([&](Transaction& transaction) {
    for (const Batch::Write& write : batch.writes) {
      // A row that the schema refuses cannot be on the disk.
      static_cast<void>(transaction.Execute(write.sql, write.arguments));
    }
    stored = LoadMasking(transaction, run_id);
    return absl::AbortedError("an input is over");
  }));
  return stored;
}

Batch WriteAll(const AttemptId& id, const std::vector<Record>& records) {
  const Scene& scene = Scene::Five();
  Batch batch;
  SaveGroup(id, 0, scene.cohort(), batch);
  for (uint32_t i = 0; i < records.size(); ++i) {
    SaveRecord(id, 0, i, records[i], batch);
  }
  for (uint32_t v = 0; v < scene.size(); ++v) {
    SaveKeys(id, Device(v), scene.cohort()[v], batch);
  }
  SaveSpent(id.run_id, Device(1), 1, batch);
  SaveScore(id.run_id, Device(2), 2, batch);
  SaveReceipt(id.run_id, 0, scene.manifest(), batch);
  v1::Envelope envelope;
  envelope.set_payload("an override");
  SaveOverride(id.run_id, envelope, batch);
  return batch;
}

MaskedRound::Options OptionsOf(const AttemptId& id) {
  const secagg::SecAggServer::Options server = Scene::Five().ServerOptions();
  MaskedRound::Options options;
  options.id = id;
  options.manifest = server.manifest;
  options.shape = server.shape;
  options.deadlines = server.deadlines;
  options.reconnect_grace = absl::Seconds(30);
  options.round_key = server.round_key;
  options.blobs = TheUploads().store();
  return options;
}

// Sums are those of the scene, or there is none. Its survivors are the same in
// any case: what they show would not open another set.
void RequireRightSum(const MaskedRound& round) {
  Require(round.IsOver(), "the last deadline ends a round");
  if (round.survivors().empty() || round.sums().empty()) return;
  Require(round.sums() == Scene::Five().sum(), "never a wrong sum");
  Require(round.receipts().size() == 1, "a receipt of each sum");
}

void Continue(const AttemptId& id, StoredMasking stored) {
  const Scene& scene = Scene::Five();
  Batch batch;
  auto round =
      MaskedRound::Restore(OptionsOf(id), stored.keys, std::move(stored.groups),
                           Scene::Now(), batch);
  if (!round.ok()) return;
  for (const Body body : {Body::kShares, Body::kAck, Body::kInput,
                          Body::kSurvivors, Body::kUnmask}) {
    for (uint32_t v = 0; v < scene.size(); ++v) {
      round->Handle(Device(v), scene.Up(v, body), Scene::Now(), batch);
    }
  }
  while (round->NextTimer() != absl::InfiniteFuture()) {
    round->Timer(round->NextTimer(), batch);
  }
  RequireRightSum(*round);
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  std::vector<Scene::Record> records = Scene::Five().records();
  records.resize(input.Byte() % (records.size() + 1));
  for (int edits = 0; edits < 20 && EditRecords(input, records);) ++edits;
  const AttemptId id{std::string(32, 'r'), 1, 0};
  auto stored = Reload(input, WriteAll(id, records), id.run_id);
  if (stored.ok()) Continue(id, *std::move(stored));
  return 0;
}
