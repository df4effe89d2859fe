"""Cases of GF(2^16) and of sharing in it, for make_vectors.py."""

import reference as ref

DRAW = ref.Draw("edgetune secagg vectors")


def field_products():
    """a * b as a share weight: 1 and x = a / (1 + a) give a to the first."""
    cases = []
    for a in [2, 3, 0x8000, 0xFFFF, 0x100B, *(
            DRAW.integer(f"product {i}", 2, 0xFFFF) for i in range(11))]:
        x = ref.multiply(a, ref.invert(1 ^ a))
        assert ref.lagrange([0, x - 1])[0] == a
        b = ref.joined([1, 0, ref.invert(a), a, 0xFFFF, 0x8000] + ref.chunks(
            DRAW.bytes(f"factors of {a}", 32))[6:])
        cases.append({"a": a, "inverse": ref.invert(a), "holders": [0, x - 1],
                      "b": b, "product": ref.joined(
                          [ref.multiply(a, c) for c in ref.chunks(b)])})
    return cases


def field_shares():
    cases = []
    for label, threshold, n in (("a", 1, 3), ("b", 3, 4), ("c", 7, 10)):
        secret = DRAW.bytes(f"secret {label}", 32)
        coefficients = [DRAW.bytes(f"polynomial {label} {k}", 32)
                        for k in range(1, threshold)]
        cases.append({"secret": secret, "threshold": threshold,
                      "coefficients": coefficients,
                      "shares": ref.share(secret, coefficients, n)})
    return cases


def field_constant_shares():
    """Every random byte is the same: no order of drawing can matter."""
    cases = []
    for byte, threshold, n in ((0x00, 3, 4), (0x01, 3, 4), (0xA7, 7, 10)):
        secret = DRAW.bytes(f"constant {byte}", 32)
        cases.append({"secret": secret, "threshold": threshold, "byte": byte,
                      "shares": ref.share(secret, [bytes([byte]) * 32] *
                                          (threshold - 1), n)})
    return cases


def field_lagrange():
    return [{"holders": h, "weights": ref.lagrange(h)} for h in (
        [0], [4], [0, 1], [1, 0], [0, 2, 3], [9, 3, 5, 0, 7],
        [298, 299, 0, 150], list(range(11)), [65534, 0, 32767])]


def corrected(case, holders, bad, one_chunk=False):
    """Shares of `holders`, wrong at `bad`; checked against every subset."""
    name, threshold = case
    secret = DRAW.bytes(f"{name} secret", 32)
    shares = ref.share(secret, [DRAW.bytes(f"{name} x^{k}", 32)
                                for k in range(1, threshold)],
                       max(holders) + 1)
    for k, holder in enumerate(bad):
        text = bytearray(shares[holder])
        noise = DRAW.bytes(f"{name} noise {holder}", 32)
        for i in range(2 * k, 2 * k + 2) if one_chunk else range(32):
            text[i] ^= noise[i] | 1
        shares[holder] = bytes(text)
    held = [shares[h] for h in holders]
    found = len(bad) <= (len(holders) - threshold) // 2
    if len(holders) <= 10:
        want = (secret, [h for h in holders if h in bad]) if found else None
        assert ref.nearest(holders, held, threshold) == want
    return {"name": name, "threshold": threshold, "holders": holders,
            "shares": held, "secret": secret if found else None,
            "bad": sorted(bad) if found else None}


def field_corrected():
    """`secret` null: more are wrong than can be corrected."""
    return [
        corrected(("none wrong", 3), [0, 1, 2, 3], []),
        corrected(("no spare share", 3), [3, 1, 0], []),
        corrected(("one of five", 3), [0, 1, 2, 3, 4], [3]),
        corrected(("one of five, one chunk", 3), [6, 1, 4, 0, 5], [4], True),
        corrected(("two of ten", 7), [*range(8), 8, 9], [9]),
        corrected(("threshold one", 1), [2, 0, 1, 4, 3], [0, 3]),
        corrected(("two of nine, two chunks", 5), [0, 1, 2, 4, 5, 6, 7, 8, 9],
                  [1, 8], True),
        corrected(("ten of 54 at t 34", 34), list(range(54)),
                  [0, 5, 6, 17, 22, 30, 31, 47, 52, 53]),
        corrected(("one spare, one wrong", 3), [0, 1, 2, 3], [1]),
        corrected(("two of five", 3), [0, 1, 2, 3, 4], [0, 4]),
        corrected(("two of five, each another chunk", 3), [0, 1, 2, 3, 4],
                  [0, 4], True),
        corrected(("three of nine", 5), [0, 1, 2, 4, 5, 6, 7, 8, 9],
                  [1, 8, 5]),
    ]


def make_field():
    return {"products": field_products(), "shares": field_shares(),
            "constant": field_constant_shares(), "lagrange": field_lagrange(),
            "corrected": field_corrected()}
