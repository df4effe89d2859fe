"""Cases of encodings, signatures and keys, for make_vectors.py."""

import hashlib

import reference as ref

DRAW = ref.Draw("edgetune secagg vectors")

# Points that lead every X25519 secret to zero (RFC 7748, section 6.1): orders
# 1, 2, 4 and 8, with the encodings that are not reduced.
P = 2 ** 255 - 19
ORDER_8 = (
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F)


def signed(secret, use, fields, *encoded):
    message = ref.encode(use, *encoded)
    return {"use": use, "fields": fields, "bytes": message,
            "signature": ref.sign(secret, message)}


def signed_uses(secret, manifest, session, member):
    """Every message that is signed, with the fields that its bytes are of."""
    c_pk, s_pk = DRAW.bytes("c_pk", 32), DRAW.bytes("s_pk", 32)
    nonce, com = DRAW.bytes("nonce", 16), DRAW.bytes("com", 32)
    y_sha256 = DRAW.bytes("y", 32)
    texts = [DRAW.bytes(f"ciphertext {i}", 92) for i in range(3)]
    shares = [(i, DRAW.bytes(f"share {i}", 32)) for i in (0, 2, 299, 7)]
    u2, u3 = bytes.fromhex("ff03"), bytes.fromhex("bd02")

    def pairs(items):
        return ref.listed([ref.u16(i) + text for i, text in items])

    def unmask(b, s):
        return signed(secret, "unmask", {"b_shares": b, "s_shares": s},
                      session, member, pairs(b), pairs(s))

    def ack(bad):
        return signed(secret, "ack", {"bad": bad}, session, member,
                      ref.listed([ref.u16(i) for i in bad]))

    joined = hashlib.sha256(b"".join(texts)).digest()
    return [
        signed(secret, "adv", {"c_pk": c_pk, "s_pk": s_pk, "nonce": nonce},
               manifest, member, c_pk, s_pk, nonce),
        signed(secret, "shares", {"commitment": com, "ciphertexts": texts},
               session, member, com, joined),
        signed(secret, "u2", {"u2": u2}, session, u2),
        ack([]), ack([1, 299]),
        signed(secret, "input", {"total_length": 4000016, "digest": y_sha256},
               session, member, ref.u64(4000016), y_sha256),
        signed(secret, "freeze", {"u2": u2, "u3": u3}, session, u2, u3),
        signed(secret, "u3", {"u2": u2, "u3": u3}, session, u2, u3),
        unmask(shares[:3], shares[3:]), unmask(shares, []),
    ]


def make_encoding():
    secret = DRAW.bytes("signer", 32)
    payload = b"any bytes\0of a manifest"
    manifest = ref.digest("manifest", payload)
    members = sorted((ref.client_id(f"m{i}"), DRAW.bytes(f"c {i}", 32),
                      DRAW.bytes(f"s {i}", 32)) for i in range(5))
    session = ref.session_id(manifest, members)
    b = DRAW.bytes("b", 32)
    sets = [[True], [False], [True] * 8, [True] * 9, [False] * 8 + [True],
            [i % 3 == 0 for i in range(13)], [False] * 20]
    return {
        "signer": secret, "signer_public": ref.ed25519_public(secret),
        "payload": payload, "manifest": manifest,
        "canary": ref.canary_of(manifest),
        "canary_of_zero": ref.canary_of(bytes(32)),
        "members": members, "session": session,
        "session_of_first_four": ref.session_id(manifest, members[:4]),
        "b": b, "commitment": ref.digest("bcom", session, members[0][0], b),
        "id": members[0][0],
        "signed": signed_uses(secret, manifest, session, members[0][0]),
        "bitmaps": [{"members": s, "bitmap": ref.bitmap(s)} for s in sets],
        "bad_bitmaps": [[1, "02"], [1, ""], [1, "0100"], [9, "ff"],
                        [9, "0002"], [13, "ff20"], [16, "ffff00"], [0, "00"]],
    }


def make_kdf():
    session = DRAW.bytes("S", 32)
    u, v = sorted(DRAW.bytes(f"id {i}", 16) for i in (0, 1))
    keys = {name: DRAW.bytes(name, 32)
            for name in ("c_sk_u", "c_sk_v", "s_sk_u", "s_sk_v")}
    public = {name.replace("sk", "pk"): ref.x25519_public(secret)
              for name, secret in keys.items()}
    b, com = DRAW.bytes("kdf b", 32), DRAW.bytes("kdf com", 32)
    enc = ref.share_key(session, keys["c_sk_u"], u, public["c_pk_v"], v)
    pair = ref.pair_key(session, keys["s_sk_u"], u, public["s_pk_v"], v)
    assert pair == ref.pair_key(session, keys["s_sk_v"], v, public["s_pk_u"],
                                u)
    aad = ref.share_aad(session, u, v, 299, com)
    nonce = DRAW.bytes("gcm nonce", 12)
    text = DRAW.bytes("share_s", 32) + DRAW.bytes("share_b", 32)
    points = [k.to_bytes(32, "little")
              for k in (0, 1, P - 1, P, P + 1, *ORDER_8)]
    for point in points:
        try:
            ref.agree(keys["c_sk_u"], point)
        except ValueError:
            continue
        raise AssertionError(point.hex())
    return {
        "session": session, "id_u": u, "id_v": v, **keys, **public, "b": b,
        "commitment": com, "index_v": 299,
        "agreed_c": ref.agree(keys["c_sk_u"], public["c_pk_v"]),
        "agreed_s": ref.agree(keys["s_sk_u"], public["s_pk_v"]),
        "enc_u_to_v": enc,
        "enc_v_to_u": ref.share_key(session, keys["c_sk_v"], v,
                                    public["c_pk_u"], u),
        "pair": pair, "self_u": ref.self_key(session, b, u),
        "aad": aad, "nonce": nonce, "plaintext": text,
        "ciphertext": ref.seal(enc, nonce, text, aad), "zero_points": points,
    }
