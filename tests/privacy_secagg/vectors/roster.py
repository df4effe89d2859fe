"""Cases of client ids, Merkle trees and proofs, for make_vectors.py."""

import reference as ref

DRAW = ref.Draw("edgetune secagg vectors")


def roster_members():
    members = []
    names = ["a", "x" * 64, "lab_7.phone-2"] + [f"d{i}" for i in range(6)]
    for i, name in enumerate(names):
        key = ref.ed25519_public(DRAW.bytes(f"roster {i}", 32))
        enrolled, active = 1_750_000_000_000 + 977 * i, i != 4
        members.append({
            "name": name, "id": ref.client_id(name), "key": key,
            "enrolled_ms": enrolled, "active": active,
            "leaf": ref.leaf_hash(ref.client_id(name), key, enrolled,
                                  1 if active else 2)})
    return members


def roster_refused(leaves):
    """Proofs that a verifier must refuse, of the first member and the last."""
    cases = []
    for count in (1, 2, 5, 8):
        tree, other = leaves[:count], leaves[8]
        root = ref.tree_hash(tree)
        for i in sorted({0, count - 1}):
            path, leaf = ref.tree_path(i, tree), tree[i]
            flipped = [bytes([h[0] ^ 1]) + h[1:] for h in path[:1]] + path[1:]
            cases += [(*case, root) for case in (
                (i, leaf, count, path + [other]), (i, leaf, count, path[:-1]),
                (i, leaf, count, flipped), (i, leaf, count, path[::-1]),
                (i, other, count, path), (i ^ 1, leaf, count, path),
                (count, leaf, count, path), (2 ** 64 - 1, leaf, count, path),
                (i, leaf, 0, path), (i, leaf, 2 * count, path),
                (i, leaf, 2 ** 64 - 1, path))]
    return [{"index": i, "leaf": leaf, "leaves": count, "path": path,
             "root": root}
            for i, leaf, count, path, root in cases
            if ref.root_from(i, count, leaf, path) != root]


def make_roster():
    members = roster_members()
    trees = []
    for n in range(1, len(members) + 1):
        order = sorted(range(n), key=lambda i: members[i]["id"])
        leaves = [members[i]["leaf"] for i in order]
        paths = [ref.tree_path(i, leaves) for i in range(n)]
        root = ref.tree_hash(leaves)
        assert all(ref.root_from(i, n, leaves[i], paths[i]) == root
                   for i in range(n))
        trees.append({"order": order, "root": root, "paths": paths})
    leaves = [m["leaf"] for m in sorted(members, key=lambda m: m["id"])]
    return {"members": members, "trees": trees,
            "refused": roster_refused(leaves)}
