#ifndef EDGETUNE_PRIVACY_IDENTITY_MERKLE_TREE_H_
#define EDGETUNE_PRIVACY_IDENTITY_MERKLE_TREE_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "privacy/crypto/hash.h"

namespace edgetune {

// SHA-256(0x00 ‖ data), the hash of a leaf (RFC 6962, 2.1).
Digest MerkleLeafHash(std::string_view data);
// SHA-256(0x01 ‖ left ‖ right), the hash of an inner node.
Digest MerkleNodeHash(const Digest& left, const Digest& right);

// A Merkle tree (RFC 6962, 2.1) over hashes of leaves, all levels kept: 64
// bytes a leaf. A level's last node without a neighbour rises unchanged, which
// yields the same tree as the RFC's split at the largest power of two.
// Immutable once made; thread-safe.
class MerkleTree {
 public:
  MerkleTree() : MerkleTree(std::vector<Digest>()) {}
  explicit MerkleTree(std::vector<Digest> leaves);

  size_t size() const { return levels_.front().size(); }
  // SHA-256 of nothing for an empty tree.
  Digest root() const;
  // Hashes beside the way from this leaf to the root, from the leaf up.
  // `index` is below size().
  std::vector<Digest> PathOf(size_t index) const;

 private:
  std::vector<std::vector<Digest>> levels_;  // leaves first, never empty
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_MERKLE_TREE_H_
