// Proofs of membership against a real tree, and the head of a roster. Input:
// size of the tree, index, number of leaves claimed, leaf, path; or a head's
// payload.

#include <algorithm>

#include "privacy/identity/roster.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

constexpr uint32_t kLargestTree = 40;

std::vector<Digest> Leaves(uint32_t count) {
  std::vector<Digest> leaves;
  for (uint32_t i = 0; i < count; ++i) {
    RosterMember member;
    member.id[0] = static_cast<uint8_t>(i);
    member.identity_key = std::string(32, 'k');
    leaves.push_back(RosterLeafHash(member));
  }
  return leaves;
}

// The honest path with some places changed, then more of it.
std::vector<Digest> PathFrom(Input& input, const std::vector<Digest>& honest) {
  std::vector<Digest> path(honest.begin(),
                           honest.begin() + input.Below(honest.size() + 1));
  while (!input.empty() && path.size() < 70) {
    const uint8_t how = input.Byte();
    if (how < 64 && !path.empty()) {
      path[how % path.size()][input.Below(32)] ^= input.Byte();
    } else if (how < 128 && !path.empty()) {
      std::swap(path[how % path.size()], path.back());
    } else if (!honest.empty()) {
      path.push_back(honest[how % honest.size()]);
    } else {
      path.emplace_back();
    }
  }
  return path;
}

void CheckProof(Input input) {
  const uint32_t size = 1 + input.Below(kLargestTree);
  const std::vector<Digest> leaves = Leaves(size);
  const MerkleTree tree(leaves);
  const uint32_t at = input.Below(size);
  RosterProof proof;
  proof.index = input.Below(4) == 0 ? input.Word(8) : at;
  const uint64_t claimed = input.Below(4) == 0 ? input.Word(8) : size;
  const Digest leaf = leaves[input.Below(4) == 0 ? input.Below(size) : at];
  const std::vector<Digest> honest = tree.PathOf(at);
  proof.path = PathFrom(input, honest);
  const bool valid = VerifyRosterProof(proof, leaf, tree.root(), claimed);
  if (claimed != size) return;
  const bool true_claim = proof.index < size && leaf == leaves[proof.index] &&
                          proof.path == tree.PathOf(proof.index);
  Require(valid == true_claim, "the one proof of a leaf, and nothing else");
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  if (input.Below(4) != 0) {
    CheckProof(input);
    return 0;
  }
  const auto head = ParseRosterHead(input.Text(size));
  Require(!head.ok() || head->root().size() == sizeof(Digest), "a whole root");
  return 0;
}
