#include "privacy/identity/roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

Digest DigestOf(std::string_view hex) {
  const std::string bytes = FromHex(hex).value();
  Digest digest = {};
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

std::string BytesOf(std::span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// --- the published vectors of Certificate Transparency
// (merkle_tree_test.cc of google/certificate-transparency)

const std::vector<std::string>& CtLeaves() {
  static const auto* leaves = new std::vector<std::string>{
      "",
      FromHex("00").value(),
      FromHex("10").value(),
      FromHex("2021").value(),
      FromHex("3031").value(),
      FromHex("40414243").value(),
      FromHex("5051525354555657").value(),
      FromHex("606162636465666768696a6b6c6d6e6f").value()};
  return *leaves;
}

constexpr const char* kCtRoots[] = {
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

struct CtPath {
  uint64_t index;
  uint64_t leaves;
  std::vector<const char*> path;
};

const std::vector<CtPath>& CtPaths() {
  static const auto* paths = new std::vector<CtPath>{
      {0, 1, {}},
      {0,
       8,
       {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
      {5,
       8,
       {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
      {2,
       3,
       {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
      {1,
       5,
       {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}}};
  return *paths;
}

MerkleTree CtTree(size_t size) {
  std::vector<Digest> leaves;
  for (size_t i = 0; i < size; ++i) {
    leaves.push_back(MerkleLeafHash(CtLeaves()[i]));
  }
  return MerkleTree(std::move(leaves));
}

TEST(MerkleTreeTest, HasThePublishedRoots) {
  // SHA-256 of the empty text (FIPS 180-4 examples).
  EXPECT_EQ(ToHex(MerkleTree().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (size_t size = 1; size <= 8; ++size) {
    EXPECT_EQ(ToHex(CtTree(size).root()), kCtRoots[size - 1]) << size;
  }
}

TEST(MerkleTreeTest, HasThePublishedPathsAndVerifiesThem) {
  for (const CtPath& wanted : CtPaths()) {
    const MerkleTree tree = CtTree(wanted.leaves);
    RosterProof proof{wanted.index, {}};
    for (const char* hash : wanted.path) proof.path.push_back(DigestOf(hash));
    EXPECT_EQ(tree.PathOf(wanted.index), proof.path);
    const Digest leaf = MerkleLeafHash(CtLeaves()[wanted.index]);
    EXPECT_TRUE(VerifyRosterProof(
        proof, leaf, DigestOf(kCtRoots[wanted.leaves - 1]), wanted.leaves));
  }
}

// --- an independent recursion, straight from RFC 6962, 2.1 and 2.1.1

size_t SplitOf(size_t size) {
  size_t k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

Digest SlowRoot(std::span<const Digest> leaves) {
  if (leaves.size() == 1) return leaves.front();
  const size_t k = SplitOf(leaves.size());
  return Sha256("\x01" + BytesOf(SlowRoot(leaves.first(k))) +
                BytesOf(SlowRoot(leaves.subspan(k))));
}

std::vector<Digest> SlowPath(size_t index, std::span<const Digest> leaves) {
  if (leaves.size() == 1) return {};
  const size_t k = SplitOf(leaves.size());
  const bool left = index < k;
  std::vector<Digest> path = left ? SlowPath(index, leaves.first(k))
                                  : SlowPath(index - k, leaves.subspan(k));
  path.push_back(SlowRoot(left ? leaves.subspan(k) : leaves.first(k)));
  return path;
}

// The root that a path leads to, or nothing when it does not fit the tree.
std::optional<Digest> SlowFold(const Digest& leaf, uint64_t index,
                               uint64_t size, std::span<const Digest> path) {
  if (index >= size) return std::nullopt;
  if (size == 1) return path.empty() ? std::optional(leaf) : std::nullopt;
  if (path.empty()) return std::nullopt;
  const uint64_t k = SplitOf(size);
  const bool left = index < k;
  const auto below = SlowFold(leaf, left ? index : index - k,
                              left ? k : size - k, path.first(path.size() - 1));
  if (!below.has_value()) return std::nullopt;
  const std::string a = BytesOf(*below), b = BytesOf(path.back());
  return Sha256("\x01" + (left ? a + b : b + a));
}

std::vector<Digest> Leaves(size_t size) {
  std::vector<Digest> leaves;
  for (size_t i = 0; i < size; ++i) leaves.push_back(Sha256(std::to_string(i)));
  return leaves;
}

TEST(MerkleTreeTest, EqualsTheSlowRecursionForEverySize) {
  for (size_t size = 1; size <= 70; ++size) {
    const std::vector<Digest> leaves = Leaves(size);
    const MerkleTree tree(leaves);
    const Digest root = SlowRoot(leaves);
    ASSERT_EQ(tree.root(), root) << size;
    for (size_t i = 0; i < size; ++i) {
      const RosterProof proof{i, tree.PathOf(i)};
      ASSERT_EQ(proof.path, SlowPath(i, leaves)) << size << " " << i;
      ASSERT_TRUE(VerifyRosterProof(proof, leaves[i], root, size));
    }
  }
}

TEST(RosterProofTest, FitsOneLeafOneIndexAndSizesOfTheSameShape) {
  // The size itself is bound by the head's signature, not by the path: two
  // sizes may have the same way to a leaf. The recursion decides.
  for (const size_t size : {1, 2, 3, 6, 7, 8, 11, 21}) {
    const std::vector<Digest> leaves = Leaves(size);
    const MerkleTree tree(leaves);
    for (size_t i = 0; i < size; ++i) {
      RosterProof proof{i, tree.PathOf(i)};
      EXPECT_FALSE(VerifyRosterProof(proof, Sha256("x"), tree.root(), size));
      for (uint64_t claimed = 0; claimed <= 2 * size + 1; ++claimed) {
        for (proof.index = 0; proof.index <= size; ++proof.index) {
          const auto slow =
              SlowFold(leaves[i], proof.index, claimed, proof.path);
          ASSERT_EQ(VerifyRosterProof(proof, leaves[i], tree.root(), claimed),
                    slow == tree.root())
              << size << " " << i << " " << claimed << " " << proof.index;
        }
      }
    }
  }
}

TEST(RosterProofTest, AnotherIndexOfTheSameSizeFails) {
  for (size_t size = 2; size <= 70; ++size) {
    const std::vector<Digest> leaves = Leaves(size);
    const MerkleTree tree(leaves);
    for (size_t i = 0; i < size; ++i) {
      RosterProof proof{0, tree.PathOf(i)};
      for (proof.index = 0; proof.index < size + 2; ++proof.index) {
        ASSERT_EQ(VerifyRosterProof(proof, leaves[i], tree.root(), size),
                  proof.index == i);
      }
    }
  }
}

TEST(RosterProofTest, EveryFlippedBitFails) {
  const std::vector<Digest> leaves = Leaves(11);
  const MerkleTree tree(leaves);
  const auto refused = [&](const RosterProof& proof, Digest leaf, Digest root) {
    return !VerifyRosterProof(proof, leaf, root, 11);
  };
  for (size_t i = 0; i < 11; ++i) {
    const RosterProof good{i, tree.PathOf(i)};
    for (size_t bit = 0; bit < 256; ++bit) {
      const uint8_t mask = static_cast<uint8_t>(1 << (bit % 8));
      Digest leaf = leaves[i], root = tree.root();
      leaf[bit / 8] ^= mask;
      root[bit / 8] ^= mask;
      EXPECT_TRUE(refused(good, leaf, tree.root()));
      EXPECT_TRUE(refused(good, leaves[i], root));
      for (size_t j = 0; j < good.path.size(); ++j) {
        RosterProof bad = good;
        bad.path[j][bit / 8] ^= mask;
        EXPECT_TRUE(refused(bad, leaves[i], tree.root()));
      }
    }
  }
}

TEST(RosterProofTest, TooShortTooLongAndAbsurdProofsFail) {
  const std::vector<Digest> leaves = Leaves(9);
  const MerkleTree tree(leaves);
  for (size_t i = 0; i < 9; ++i) {
    RosterProof proof{i, tree.PathOf(i)};
    proof.path.push_back(leaves[0]);
    EXPECT_FALSE(VerifyRosterProof(proof, leaves[i], tree.root(), 9));
    proof.path = tree.PathOf(i);
    proof.path.pop_back();
    EXPECT_FALSE(VerifyRosterProof(proof, leaves[i], tree.root(), 9));
  }
  const RosterProof huge{UINT64_MAX - 1, std::vector<Digest>(10000)};
  EXPECT_FALSE(VerifyRosterProof(huge, leaves[0], tree.root(), UINT64_MAX));
  EXPECT_FALSE(VerifyRosterProof({0, {}}, leaves[0], leaves[0], 0));
}

// --- what a roster says

TEST(RosterMemberTest, HashesAsAnIndependentImplementation) {
  // make_roster_vectors.py
  EXPECT_EQ(ToHex(ClientIdOf("device-1")), "e24b19d348a8d460fdddad9092387f36");
  EXPECT_EQ(ToHex(ClientIdOf("a")), "31cc80cd89b257d3007bf7bbf9c5984d");
  RosterMember member;
  member.id = ClientIdOf("device-1");
  for (char c = 0; c < 32; ++c) member.identity_key.push_back(c);
  member.enrolled_ms = 1800000000000;
  EXPECT_EQ(ToHex(RosterLeafHash(member)),
            "3232791bc77ae062d0e111e640ccf4a32ec3c679c7f0b82c19b8423eecaf5bb4");
  member.active = false;
  EXPECT_EQ(ToHex(RosterLeafHash(member)),
            "c9548cd1a67940adde13fc5da7d0dc43d499eeda2ba6759977b0e8422b3af200");
}

v1::RosterEntry Entry(const std::string& name) {
  v1::RosterEntry entry;
  entry.set_name(name);
  entry.set_client_id(BytesOf(ClientIdOf(name)));
  entry.set_identity_key(std::string(32, name.front()));
  entry.set_enrolled_ms(1800000000000);
  entry.set_status(v1::RosterEntry::ACTIVE);
  return entry;
}

std::vector<v1::RosterEntry> Entries(size_t size) {
  std::vector<v1::RosterEntry> entries;
  for (size_t i = 0; i < size; ++i) {
    entries.push_back(Entry("device-" + std::to_string(i)));
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.client_id() < b.client_id();
  });
  return entries;
}

TEST(RosterTest, FindsMembersAndProvesThem) {
  std::vector<v1::RosterEntry> entries = Entries(20);
  entries[3].set_status(v1::RosterEntry::REVOKED);
  const auto roster = Roster::Make(entries);
  ASSERT_TRUE(roster.ok()) << roster.status();
  std::vector<Digest> leaves;
  for (size_t i = 0; i < 20; ++i) {
    const RosterMember member = roster->Member(i);
    EXPECT_EQ(roster->Find(ClientIdOf(entries[i].name())), i);
    EXPECT_EQ(member.identity_key, entries[i].identity_key());
    EXPECT_EQ(member.active, i != 3);
    leaves.push_back(RosterLeafHash(member));
    EXPECT_TRUE(
        VerifyRosterProof(roster->Prove(i), leaves.back(), roster->root(), 20));
  }
  EXPECT_EQ(roster->root(), SlowRoot(leaves));
  EXPECT_EQ(roster->Find(ClientIdOf("nobody")), std::nullopt);
}

TEST(RosterTest, MayBeEmpty) {
  const auto roster = Roster::Make({});
  ASSERT_TRUE(roster.ok());
  EXPECT_EQ(roster->Find(ClientIdOf("d1")), std::nullopt);
  EXPECT_EQ(roster->root(), Sha256(""));
}

TEST(RosterTest, ImpossibleEntriesAreRefused) {
  const std::vector<v1::RosterEntry> good = Entries(4);
  std::vector<std::vector<v1::RosterEntry>> bad(10, good);
  std::swap(bad[0][1], bad[0][2]);
  bad[1][2] = bad[1][1];
  bad[2][1].set_client_id(std::string(16, 'z'));
  bad[3][1].set_client_id("");
  bad[4][1].set_identity_key(std::string(31, 'k'));
  bad[5][1].set_identity_key(std::string(33, 'k'));
  bad[6][1].set_status(v1::RosterEntry::STATUS_UNSPECIFIED);
  bad[7][1].set_status(static_cast<v1::RosterEntry::Status>(3));
  bad[8][1].set_name("Not A Name");
  bad[9][1].set_enrolled_ms(-1);
  for (const auto& entries : bad) {
    const auto roster = Roster::Make(entries);
    EXPECT_TRUE(absl::IsInvalidArgument(roster.status()));
    EXPECT_EQ(KindOf(roster.status()), ErrorKind::kIdentity);
  }
}

v1::RosterHead Head() {
  v1::RosterHead head;
  head.mutable_header()->set_version(1);
  head.set_version(7);
  head.set_leaf_count(3);
  head.set_root(std::string(32, 'r'));
  return head;
}

TEST(RosterHeadTest, IsReadWhenItsFieldsCanBe) {
  const auto head = ParseRosterHead(Head().SerializeAsString());
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->version(), 7u);
  EXPECT_EQ(head->leaf_count(), 3u);
}

TEST(RosterHeadTest, AnythingElseIsRefused) {
  std::vector<v1::RosterHead> bad(5, Head());
  bad[0].clear_header();
  bad[1].set_version(0);
  bad[2].set_root(std::string(31, 'r'));
  bad[3].set_root(std::string(33, 'r'));
  bad[4].set_leaf_count(UINT64_MAX);
  for (const v1::RosterHead& head : bad) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ParseRosterHead(head.SerializeAsString()).status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRosterHead("").status()));
  const std::string text = Head().SerializeAsString();
  for (size_t size = 1; size < text.size(); ++size) {
    EXPECT_FALSE(ParseRosterHead(text.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace edgetune
