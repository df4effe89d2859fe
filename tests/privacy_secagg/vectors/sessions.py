"""Whole masking sessions for make_vectors.py, with every message in them."""

import hashlib
from fractions import Fraction

import reference as ref

NLL, WEIGHT, CLAMPED = 2, 1, 4  # of LaneUse
LANES = [(WEIGHT, 1.0), (NLL, 100.0), (CLAMPED, 1.0)]


def largest(bits, n_max):
    """Largest honest integer: floor(B * S_q) + 1, whatever B is."""
    return int(Fraction(2 ** (bits - 1) - 1 - n_max, n_max)) + 1


class Member:
    """Secrets and input of one member; `lost`: the step it did not reach."""

    def __init__(self, draw, name, lost):
        self.name, self.lost = name, lost
        self.id = ref.client_id(name)
        self.secret = draw.bytes(name + " identity", 32)
        self.c_sk = draw.bytes(name + " c_sk", 32)
        self.s_sk = draw.bytes(name + " s_sk", 32)
        self.nonce = draw.bytes(name + " nonce", 16)
        self.b = draw.bytes(name + " b", 32)
        self.c_pk = ref.x25519_public(self.c_sk)
        self.s_pk = ref.x25519_public(self.s_sk)

    def sign(self, use, *fields):
        return ref.sign(self.secret, ref.encode(use, *fields))


class Session:
    """`lost`: {name: "R2", "R3" or "R5"}."""

    def __init__(self, label, bits, n, lost, coordinates):
        self.draw = ref.Draw("edgetune secagg vectors: " + label)
        self.bits, self.n_max = bits, n + 3
        self.coordinates = coordinates
        self.manifest = self.draw.bytes("manifest", 32)
        self.canary = ref.canary_of(self.manifest)
        self.round_secret = self.draw.bytes("round key", 32)
        names = [f"device-{i}" for i in range(1, n + 1)]
        self.members = sorted(
            (Member(self.draw, name, lost.get(name)) for name in names),
            key=lambda member: member.id)
        self.id = ref.session_id(
            self.manifest, [(m.id, m.c_pk, m.s_pk) for m in self.members])
        self.threshold = ref.threshold_of(n)
        self.u2 = [m.lost != "R2" for m in self.members]
        self.u3 = [m.lost not in ("R2", "R3") for m in self.members]

    def among(self, which):
        return [i for i, member in enumerate(which) if member]

    def deal(self):
        """R2: shares of b and s_sk, commitments, ciphertexts."""
        for m in self.members:
            for kind, secret in (("b", m.b), ("s", m.s_sk)):
                polynomial = [
                    self.draw.bytes(f"{m.name} {kind} x^{k}", 32)
                    for k in range(1, self.threshold)]
                setattr(m, kind + "_shares",
                        ref.share(secret, polynomial, len(self.members)))
            m.commitment = ref.digest("bcom", self.id, m.id, m.b)
            m.ciphertexts = [
                ref.seal(ref.share_key(self.id, m.c_sk, m.id, v.c_pk, v.id),
                         self.draw.bytes(f"{m.name} to {v.name}", 12),
                         m.s_shares[j] + m.b_shares[j],
                         ref.share_aad(self.id, m.id, v.id, j, m.commitment))
                for j, v in enumerate(self.members) if v is not m]

    def plain(self, m):
        """Canaries, lanes, coordinates; the extremes among them."""
        most = largest(self.bits, self.n_max)
        lanes = [self.draw.integer(f"{m.name} lane {j}", 0, most)
                 for j in range(len(LANES))]
        lanes += [most, -most] + [
            self.draw.integer(f"{m.name} coordinate {j}", -most, most)
            for j in range(2, self.coordinates)]
        return [1, self.canary] + lanes

    def mask_terms(self, u):
        """R3: what member `u` adds (+1) and subtracts (-1)."""
        m = self.members[u]
        terms = [(ref.self_key(self.id, m.b, m.id), 1)]
        for v in self.among(self.u2):
            peer = self.members[v]
            if v != u:
                terms.append((ref.pair_key(self.id, m.s_sk, m.id, peer.s_pk,
                                           peer.id), 1 if v < u else -1))
        return terms

    def mask(self):
        for u, m in enumerate(self.members):
            m.x = self.plain(m)
            m.y = ref.pack(self.bits, ref.with_masks(self.bits, m.x,
                                                     self.mask_terms(u)))

    def answer(self, holder):
        """R5: b shares of U3, s shares of the others in U2."""
        b_shares = [(v, self.members[v].b_shares[holder])
                    for v in self.among(self.u3)]
        s_shares = [(v, self.members[v].s_shares[holder])
                    for v in self.among(self.u2) if not self.u3[v]]
        return b_shares, s_shares

    def open(self):
        """The coordinator's side of R5, from the answers and `y` alone."""
        holders = [i for i in self.among(self.u3)
                   if self.members[i].lost != "R5"][:self.threshold]
        assert len(holders) == self.threshold
        secrets = {}
        for kind in (0, 1):
            answers = [self.answer(h)[kind] for h in holders]
            for column in zip(*answers):
                secrets[column[0][0]] = ref.combine(
                    holders, [text for _, text in column])
        terms = []
        for v, secret in sorted(secrets.items()):
            dealer = self.members[v]
            if self.u3[v]:
                assert ref.digest("bcom", self.id, dealer.id,
                                  secret) == dealer.commitment
                terms.append((ref.self_key(self.id, secret, dealer.id), -1))
                continue
            assert ref.x25519_public(secret) == dealer.s_pk
            for u in self.among(self.u3):
                peer = self.members[u]
                terms.append((ref.pair_key(self.id, secret, dealer.id,
                                           peer.s_pk, peer.id),
                              -1 if v < u else 1))
        return holders, secrets, terms

    def run(self):
        self.deal()
        self.mask()
        holders, secrets, terms = self.open()
        survivors = [self.members[i] for i in self.among(self.u3)]
        count = len(survivors[0].x)
        masked = [sum(lanes) for lanes in zip(
            *(ref.unpack(self.bits, count, m.y) for m in survivors))]
        opened = ref.with_masks(self.bits, masked, terms)
        total = [sum(lanes) for lanes in zip(*(m.x for m in survivors))]
        assert opened[0] == len(survivors)
        assert opened[1] == len(survivors) * self.canary % 2 ** self.bits
        assert [ref.lift(self.bits, lane) for lane in opened[2:]] == total[2:]
        return self.document(holders, secrets, total)

    def member_document(self, u):
        """What the member sent, as far as it came, and its secrets."""
        m = self.members[u]
        out = {"name": m.name, "id": m.id, "identity_secret": m.secret,
               "identity_key": ref.ed25519_public(m.secret), "c_sk": m.c_sk,
               "c_pk": m.c_pk, "s_sk": m.s_sk, "s_pk": m.s_pk,
               "nonce": m.nonce, "lost": m.lost,
               "adv_signature": m.sign("adv", self.manifest, m.id, m.c_pk,
                                       m.s_pk, m.nonce)}
        if not self.u2[u]:
            return out
        joined = hashlib.sha256(b"".join(m.ciphertexts)).digest()
        out |= {"b": m.b, "commitment": m.commitment,
                "ciphertexts": m.ciphertexts,
                "shares_signature": m.sign("shares", self.id, m.id,
                                           m.commitment, joined),
                "ack_signature": m.sign("ack", self.id, m.id, ref.listed([]))}
        if not self.u3[u]:
            return out
        sha = hashlib.sha256(m.y).digest()
        sets = ref.bitmap(self.u2), ref.bitmap(self.u3)
        out |= {"x": m.x, "y": m.y, "y_sha256": sha,
                "input_signature": m.sign("input", self.id, m.id,
                                          ref.u64(len(m.y)), sha),
                "u3_signature": m.sign("u3", self.id, *sets)}
        if m.lost == "R5":
            return out
        b_shares, s_shares = self.answer(u)
        lists = [ref.listed([ref.u16(v) + text for v, text in shares])
                 for shares in (b_shares, s_shares)]
        return out | {"b_shares": b_shares, "s_shares": s_shares,
                      "unmask_signature": m.sign("unmask", self.id, m.id,
                                                 *lists)}

    def document(self, holders, secrets, total):
        u2, u3 = ref.bitmap(self.u2), ref.bitmap(self.u3)
        return {
            "bits": self.bits, "n_max": self.n_max, "bound": 0.25,
            "lanes": LANES, "coordinates": self.coordinates,
            "manifest": self.manifest, "canary": self.canary,
            "session": self.id, "threshold": self.threshold,
            "round_key": ref.ed25519_public(self.round_secret),
            "u2": u2, "u2_signature": ref.sign(
                self.round_secret, ref.encode("u2", self.id, u2)),
            "u3": u3, "freeze_signature": ref.sign(
                self.round_secret, ref.encode("freeze", self.id, u2, u3)),
            "members": [self.member_document(u)
                        for u in range(len(self.members))],
            "holders": holders,
            "opened": [{"index": v, "kind": "b" if self.u3[v] else "s",
                        "secret": secret}
                       for v, secret in sorted(secrets.items())],
            "sum": total[2:],
        }
