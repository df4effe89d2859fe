// A30 (I5): of a masked run the coordinator's files and log hold no key, seed
// or share of a device, nor its update, weight or loss. The devices draw from
// known sources, so the test knows all of them.

#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unordered_map>

#include "base/log.h"
#include "base/status.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/session_keys.h"
#include "tests/server/masked_fleet.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using testing::FileFaults;

constexpr size_t kShortest = 8;

// Byte strings to be found nowhere; all of at least kShortest bytes.
class Needles {
 public:
  void Add(std::string what, const std::string& bytes) {
    ASSERT_GE(bytes.size(), kShortest) << what;
    by_prefix_.emplace(Prefix(bytes.data()), std::pair(std::move(what), bytes));
  }
  // The first that `bytes` holds; empty: none.
  std::string FindIn(const std::string& bytes) const {
    for (size_t i = 0; i + kShortest <= bytes.size(); ++i) {
      const auto [from, to] = by_prefix_.equal_range(Prefix(&bytes[i]));
      for (auto it = from; it != to; ++it) {
        const auto& [what, needle] = it->second;
        if (bytes.compare(i, needle.size(), needle) == 0) return what;
      }
    }
    return "";
  }
  size_t size() const { return by_prefix_.size(); }

 private:
  static uint64_t Prefix(const char* bytes) {
    uint64_t prefix;
    std::memcpy(&prefix, bytes, sizeof prefix);
    return prefix;
  }
  std::unordered_multimap<uint64_t, std::pair<std::string, std::string>>
      by_prefix_;
};

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

// As memory and as the network's order have it.
void AddDouble(const std::string& what, double value, Needles& needles) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  needles.Add(what, bytes);
  needles.Add(what, std::string(bytes.rbegin(), bytes.rend()));
}

// What the device trained, in the clear and as lanes.
void AddInputs(const MaskedDevice& device, Needles& needles) {
  for (const auto& [session, record] : device.sessions) {
    if (record.input.empty()) continue;
    const Contribution from = device.ContributionTo(
        record.id.round, record.kind, record.shape.coordinates);
    const std::string name = device.id() + ": ";
    AddDouble(name + "loss", from.nll_sum, needles);
    if (from.weight > 0) AddDouble(name + "weight", from.weight, needles);
    for (size_t i = 0; i + 1 < from.delta.size(); ++i) {
      std::string two(kShortest, '\0');
      std::memcpy(two.data(), &from.delta[i], kShortest);
      needles.Add(name + "two floats of its update", two);
    }
    const std::string lanes = secagg::PackLanes(record.shape, record.input);
    // Behind the canaries, which everybody knows.
    for (size_t i = 4; i + kShortest <= lanes.size(); i += 2) {
      needles.Add(name + "four lanes", lanes.substr(i, kShortest));
    }
  }
}

// Keys that follow from a 32-byte secret of the device, whatever it is.
void AddKeysOf(const MaskedDevice& device, const std::string& secret,
               const std::vector<v1::RoundReceipt>& receipts,
               Needles& needles) {
  const SecretBytes bytes = SecretBytes::Copy(ByteSpan(secret));
  const ClientId self = ClientIdOf(device.id());
  const auto add = [&](const char* what, const SecretBytes& key) {
    needles.Add(device.id() + ": " + what,
                {key.bytes().begin(), key.bytes().end()});
  };
  for (const v1::RoundReceipt& receipt : receipts) {
    const v1::GroupReceipt& group = receipt.groups(0);
    const Digest session = *DigestFromBytes(group.session());
    add("k_self", *secagg::SelfMaskKey(session, self, bytes));
    const auto key = X25519Key::FromSecret(bytes.bytes());
    ASSERT_TRUE(key.ok());
    for (const v1::CohortEntry& entry : group.cohort()) {
      for (const std::string& public_key : {entry.s_pk(), entry.c_pk()}) {
        const auto agreed = key->Agree(ByteSpan(public_key));
        ASSERT_TRUE(agreed.ok());
        add("agreed", *agreed);
        ClientId other;
        std::copy(entry.client_id().begin(), entry.client_id().end(),
                  other.begin());
        if (other == self) continue;
        add("k_uv", *secagg::PairMaskKey(session, *agreed, self, other));
      }
    }
  }
}

void AddSecrets(const MaskedDevice& device,
                const std::vector<v1::RoundReceipt>& receipts,
                Needles& needles) {
  for (const std::string& given : device.random.given) {
    // Nonces of 12 and 16 bytes are public.
    if (given.size() < 32) continue;
    // A stored X25519 key may be clamped in its first and last byte.
    needles.Add(device.id() + ": drawn bytes", given.substr(1, 30));
    if (given.size() == 32) AddKeysOf(device, given, receipts, needles);
  }
  for (const auto& [session, record] : device.sessions) {
    for (const std::string& bytes : record.unmask_answers) {
      v1::SecAggClientMessage message;
      ASSERT_TRUE(message.ParseFromString(bytes));
      for (const auto& share : message.unmask().b_shares()) {
        needles.Add(device.id() + ": a share of b", share.share());
      }
      for (const auto& share : message.unmask().s_shares()) {
        needles.Add(device.id() + ": a share of s", share.share());
      }
    }
  }
}

Needles SecretsOf(MaskedFleet& fleet) {
  Needles needles;
  const auto receipts = fleet.Receipts();
  for (const auto& device : fleet.devices) {
    AddSecrets(*device, receipts, needles);
    AddInputs(*device, needles);
  }
  return needles;
}

std::map<std::string, std::string> FilesOf(const MaskedFleet& fleet) {
  std::map<std::string, std::string> files;
  for (const auto& entry :
       fs::recursive_directory_iterator(fleet.server.directory())) {
    if (entry.is_regular_file()) {
      files[entry.path().filename()] = ReadAll(entry.path());
    }
  }
  return files;
}

// The coordinator's files, all there ever were, by name and content.
class Photographs {
 public:
  void Take(const MaskedFleet& fleet) {
    for (auto& [name, bytes] : FilesOf(fleet)) seen_[name].insert(bytes);
  }
  void ExpectNone(const Needles& needles) const {
    for (const auto& [name, contents] : seen_) {
      for (const std::string& bytes : contents) {
        EXPECT_EQ(needles.FindIn(bytes), "") << "in " << name;
      }
    }
  }
  size_t count() const { return seen_.size(); }
  bool Hold(const std::string& bytes) const {
    Needles needles;
    needles.Add("found", bytes);
    for (const auto& [name, contents] : seen_) {
      for (const std::string& content : contents) {
        if (!needles.FindIn(content).empty()) return true;
      }
    }
    return false;
  }

 private:
  std::map<std::string, std::set<std::string>> seen_;
};

class MaskedSecretsTest : public ::testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, MaskedSecretsTest, ::testing::Range(0u, 5u));

TEST_P(MaskedSecretsTest, NoFileOfTheCoordinatorEverHoldsOne) {
  MaskedFleet fleet(GetParam());
  Photographs photographs;
  int step = 0;
  {
    const FileFaults faults({.directory = fleet.server.directory()});
    fleet.Submit();
    ASSERT_TRUE(fleet.RunUntil([&] {
      if (++step % 8 == 0) photographs.Take(fleet);
      return fleet.IsOver();
    }));
  }
  photographs.Take(fleet);
  const Needles secrets = SecretsOf(fleet);
  EXPECT_GT(secrets.size(), 2000u);
  photographs.ExpectNone(secrets);
  // The search finds what is there: a public key, and a masked vector.
  EXPECT_GT(photographs.count(), 10u);
  const v1::RoundReceipt receipt = fleet.Receipts()[0];
  EXPECT_TRUE(photographs.Hold(receipt.groups(0).cohort(0).s_pk()));
  for (const auto& [session, record] : fleet.devices[3]->sessions) {
    if (record.masked.empty()) continue;
    EXPECT_TRUE(photographs.Hold(record.masked));
  }
}

TEST_P(MaskedSecretsTest, NeitherDoesOneThatWasKilled) {
  MaskedFleet fleet(GetParam());
  Photographs photographs;
  for (int64_t at = 40 + 7 * GetParam(); at < 400; at += 60) {
    FileFaults faults({.directory = fleet.server.directory(),
                       .kind = FileFaults::Kind::kKillTorn,
                       .at = at});
    fleet.faults = &faults;
    at == 40 + 7 * GetParam() ? fleet.Submit() : (void)fleet.Restart();
    if (!faults.killed()) (void)fleet.Run();
    fleet.server.CloseFiles();
    fleet.faults = nullptr;
    photographs.Take(fleet);
    if (!faults.killed()) break;
  }
  ASSERT_TRUE(fleet.Restart());
  ASSERT_TRUE(fleet.Run());
  photographs.ExpectNone(SecretsOf(fleet));
  EXPECT_EQ(fleet.BrokenInvariant(), "");
}

TEST_P(MaskedSecretsTest, TheLogNamesNoNumberOfASingleDevice) {
  MaskedFleet fleet(GetParam());
  SetLogLevel(LogLevel::kDebug);
  ::testing::internal::CaptureStderr();
  fleet.Submit();
  const bool ended = fleet.Run();
  const std::string log = ::testing::internal::GetCapturedStderr();
  SetLogLevel(LogLevel::kError);
  ASSERT_TRUE(ended);
  EXPECT_THAT(log, ::testing::HasSubstr("committed with"));
  EXPECT_EQ(SecretsOf(fleet).FindIn(log), "");
  for (const auto& device : fleet.devices) {
    const Contribution from =
        device->ContributionTo(0, v1::RoundManifest::TRAIN, 1);
    for (const double number : {from.nll_sum, from.weight, from.weight / 16384,
                                from.nll_sum / static_cast<double>(from.tokens),
                                static_cast<double>(from.tokens)}) {
      std::ostringstream text;
      text << ' ' << number;
      EXPECT_THAT(log, ::testing::Not(::testing::HasSubstr(text.str())));
    }
  }
}

}  // namespace
}  // namespace edgetune
