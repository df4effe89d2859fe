#include "privacy/identity/merkle_tree.h"

#include <string>
#include <utility>

#include "base/status.h"

namespace edgetune {

Digest MerkleLeafHash(std::string_view data) {
  std::string bytes(1, '\0');
  bytes.append(data);
  return Sha256(bytes);
}

Digest MerkleNodeHash(const Digest& left, const Digest& right) {
  const uint8_t prefix = 1;
  Sha256Stream stream;
  stream.Update({&prefix, 1});
  stream.Update(left);
  stream.Update(right);
  return stream.Finish();
}

MerkleTree::MerkleTree(std::vector<Digest> leaves) {
  levels_.push_back(std::move(leaves));
  while (levels_.back().size() > 1) {
    const std::vector<Digest>& below = levels_.back();
    std::vector<Digest> level;
    level.reserve((below.size() + 1) / 2);
    for (size_t i = 0; i + 1 < below.size(); i += 2) {
      level.push_back(MerkleNodeHash(below[i], below[i + 1]));
    }
    if (below.size() % 2 != 0) level.push_back(below.back());
    levels_.push_back(std::move(level));
  }
}

Digest MerkleTree::root() const {
  return size() == 0 ? Sha256(std::string_view()) : levels_.back().front();
}

std::vector<Digest> MerkleTree::PathOf(size_t index) const {
  EDGETUNE_CHECK(index < size());
  std::vector<Digest> path;
  for (const std::vector<Digest>& level : levels_) {
    const size_t neighbour = index ^ 1;
    if (neighbour < level.size()) path.push_back(level[neighbour]);
    index /= 2;
  }
  return path;
}

}  // namespace edgetune
