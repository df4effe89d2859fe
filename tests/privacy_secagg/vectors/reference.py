"""A second implementation of edgetune secure aggregation v1, for test vectors.

Written from the specification alone (docs, and the comments of the C++
headers), slow and plain on purpose: what the C++ code and this file agree on
is not one author's misreading. X25519, Ed25519, HKDF and AES come from the
`cryptography` package, all else is spelled out here.
"""

import hashlib
import itertools
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Draw:
    """Bytes for a label: SHA-256(seed, label, counter 0, 1, ...)."""

    def __init__(self, seed):
        self.seed = seed.encode()

    def bytes(self, label, size):
        out = b""
        for counter in itertools.count():
            if len(out) >= size:
                return out[:size]
            out += hashlib.sha256(lp(self.seed) + lp(label.encode()) +
                                  struct.pack(">Q", counter)).digest()

    def integer(self, label, low, high):
        """In [low, high], near enough to uniform for a test."""
        span = high - low + 1
        return low + int.from_bytes(self.bytes(label, 16), "big") % span


# Canonical encoding.

def u8(value):
    return struct.pack(">B", value)


def u16(value):
    return struct.pack(">H", value)


def u32(value):
    return struct.pack(">I", value)


def u64(value):
    return struct.pack(">Q", value)


def lp(text):
    return u32(len(text)) + text


def listed(items):
    return u32(len(items)) + b"".join(items)


def encode(use, *fields):
    return lp(b"edgetune/secagg/1/" + use.encode()) + b"".join(map(lp, fields))


def digest(use, *fields):
    return hashlib.sha256(encode(use, *fields)).digest()


def session_id(manifest, members):
    """`members`: (id, c_pk, s_pk), in any order."""
    members = sorted(members)
    return digest("cohort", manifest, u32(len(members)),
                  listed([b"".join(member) for member in members]))


def canary_of(manifest):
    return int.from_bytes(digest("canary", manifest)[:2], "big")


def threshold_of(n):
    return 2 * n // 3 + 1


def bitmap(members):
    """`members`: one truth value an index."""
    value = sum(1 << i for i, member in enumerate(members) if member)
    return value.to_bytes((len(members) + 7) // 8, "little")


# Keys.

def x25519_public(secret):
    key = x25519.X25519PrivateKey.from_private_bytes(secret)
    return key.public_key().public_bytes_raw()


def agree(secret, public):
    """ValueError: the all-zero result."""
    key = x25519.X25519PrivateKey.from_private_bytes(secret)
    result = key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
    if result == bytes(32):
        raise ValueError("all-zero X25519 result")
    return result


def ed25519_public(secret):
    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    return key.public_key().public_bytes_raw()


def sign(secret, message):
    return ed25519.Ed25519PrivateKey.from_private_bytes(secret).sign(message)


def kdf(key, session, use, *fields):
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=session,
                info=encode(use, *fields)).derive(key)


def share_key(session, c_sk_u, id_u, c_pk_v, id_v):
    return kdf(agree(c_sk_u, c_pk_v), session, "enc", id_u, id_v)


def pair_key(session, s_sk_u, id_u, s_pk_v, id_v):
    return kdf(agree(s_sk_u, s_pk_v), session, "pair", min(id_u, id_v),
               max(id_u, id_v))


def self_key(session, b, id_u):
    return kdf(b, session, "self", id_u)


def share_aad(session, id_u, id_v, index_v, com_u):
    return encode("share", session, id_u, id_v, u16(index_v + 1), com_u)


def seal(key, nonce, plaintext, aad):
    """Nonce, ciphertext, tag."""
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


# GF(2^16): carry-less polynomials modulo x^16 + x^12 + x^3 + x + 1.

def multiply(a, b):
    product = 0
    for bit in range(16):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(30, 15, -1):
        if product >> bit & 1:
            product ^= 0x1100B << (bit - 16)
    return product


def invert(a):
    """a^(2^16 - 2)."""
    result = 1
    for _ in range(15):
        a = multiply(a, a)
        result = multiply(result, a)
    return result


def chunks(text):
    return list(struct.unpack(">16H", text))


def joined(values):
    return struct.pack(">16H", *values)


def share(secret, coefficients, n):
    """`coefficients`: those of x, x^2, ..., 32 bytes each, chunk by chunk."""
    polynomials = list(zip(*map(chunks, [secret, *coefficients])))
    shares = []
    for x in range(1, n + 1):
        values = []
        for polynomial in polynomials:
            value = 0
            for coefficient in reversed(polynomial):
                value = multiply(value, x) ^ coefficient
            values.append(value)
        shares.append(joined(values))
    return shares


def lagrange(holders, at=0):
    """Weight of each holder's share in the value at `at`."""
    weights = []
    for i in holders:
        above, below = 1, 1
        for j in holders:
            if j != i:
                above = multiply(above, at ^ (j + 1))
                below = multiply(below, (i + 1) ^ (j + 1))
        weights.append(multiply(above, invert(below)))
    return weights


def combine(holders, shares, at=0):
    values = [0] * 16
    for weight, text in zip(lagrange(holders, at), shares):
        values = [v ^ multiply(weight, c) for v, c in zip(values, chunks(text))]
    return joined(values)


def nearest(holders, shares, threshold):
    """What Berlekamp-Welch must find, by trying every subset of `threshold`.

    (secret, holders whose whole share differs), or None when no polynomial is
    within floor((m - t) / 2) wrong shares.
    """
    most = (len(holders) - threshold) // 2
    for subset in itertools.combinations(range(len(holders)), threshold):
        held = [holders[i] for i in subset]
        given = [shares[i] for i in subset]
        bad = [h for h, s in zip(holders, shares)
               if combine(held, given, h + 1) != s]
        if len(bad) <= most:
            return combine(held, given), bad
    return None


# Masks and vectors.

def mask(key, first_word, count):
    """AES-256-CTR under a zero IV, from word `first_word` on."""
    block, skip = divmod(first_word, 4)
    cipher = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big")))
    stream = cipher.encryptor().update(bytes(4 * (skip + count)))
    return list(struct.unpack(f"<{count}I", stream[4 * skip:]))


def with_masks(bits, lanes, terms):
    """`terms`: (key, +1 or -1)."""
    result = [lane % (1 << bits) for lane in lanes]
    for key, sign_of in terms:
        words = mask(key, 0, len(lanes))
        result = [(r + sign_of * w) % (1 << bits)
                  for r, w in zip(result, words)]
    return result


def pack(bits, lanes):
    value = sum((lane % (1 << bits)) << (bits * i)
                for i, lane in enumerate(lanes))
    return value.to_bytes((len(lanes) * bits + 7) // 8, "little")


def unpack(bits, count, packed):
    value = int.from_bytes(packed, "little")
    return [value >> (bits * i) & ((1 << bits) - 1) for i in range(count)]


def lift(bits, lane):
    return lane - (1 << bits) if lane >> (bits - 1) else lane


# Roster (RFC 6962, section 2.1).

def client_id(name):
    return hashlib.sha256(lp(b"edgetune/identity/1/client") +
                          lp(name.encode())).digest()[:16]


def leaf_hash(member_id, key, enrolled_ms, status):
    return hashlib.sha256(b"\0" + member_id + key + u64(enrolled_ms) +
                          u8(status)).digest()


def split_of(n):
    """Largest power of two below n."""
    return 1 << ((n - 1).bit_length() - 1)


def tree_hash(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = split_of(len(leaves))
    return hashlib.sha256(b"\1" + tree_hash(leaves[:k]) +
                          tree_hash(leaves[k:])).digest()


def tree_path(index, leaves):
    if len(leaves) == 1:
        return []
    k = split_of(len(leaves))
    if index < k:
        return tree_path(index, leaves[:k]) + [tree_hash(leaves[k:])]
    return tree_path(index - k, leaves[k:]) + [tree_hash(leaves[:k])]


def root_from(index, count, leaf, path):
    """The root that a path leads to; None: it cannot be one of this leaf."""
    if index >= count or (count == 1) != (not path):
        return None
    if count == 1:
        return leaf
    k = split_of(count)
    if index < k:
        left = root_from(index, k, leaf, path[:-1])
        return left and hashlib.sha256(b"\1" + left + path[-1]).digest()
    right = root_from(index - k, count - k, leaf, path[:-1])
    return right and hashlib.sha256(b"\1" + path[-1] + right).digest()
