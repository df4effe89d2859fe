#!/usr/bin/env python3
"""The images of raster_test.cc, written by Pillow's encoders and, where Pillow
writes no such file, by hand with zlib; and what they decode to, by Pillow's
decoders or by arithmetic. Also what torch's antialiased bilinear interpolation
makes of one of them (resample_test.cc).

    pip install pillow numpy torch
    python3 make_image_vectors.py        # rewrites the folder vectors

vectors/NAME.png or .jpg and, beside it, NAME.pgm or .ppm: the pixels (netpbm,
binary). vectors/HxW-from-NAME.f32: interpolated values, planes, little-endian
float32. What was changed by hand into something bad is called bad-WHAT.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
import torch
from PIL import Image

OUT = pathlib.Path(__file__).parent / "vectors"
WIDTH, HEIGHT = 13, 9


def picture(channels):
    """Gradients, an edge and some noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [(x * 19 + y * 3 * (c + 1) + 60 * (x > 6 + c)) % 256
              for c in range(channels)]
    noisy = np.stack(planes, -1) + rng.integers(0, 12, (HEIGHT, WIDTH, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))


PNG = b"\x89PNG\r\n\x1a\n"


def head(width, height, depth, colour, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0,
                                      interlace))


def png(width, height, depth, colour, rows, before=b"", interlace=0):
    """Rows of bytes, each with filter 0."""
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return (PNG + head(width, height, depth, colour, interlace) + before
            + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def netpbm(pixels):
    height, width = pixels.shape[:2]
    kind = b"P5" if pixels.ndim == 2 or pixels.shape[2] == 1 else b"P6"
    return kind + b"\n%d %d\n255\n" % (width, height) + pixels.tobytes()


def write(name, data, pixels=None):
    (OUT / name).write_bytes(data)
    if pixels is not None:
        kind = ".pgm" if pixels.ndim == 2 or pixels.shape[2] == 1 else ".ppm"
        (OUT / name).with_suffix(kind).write_bytes(netpbm(pixels))


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(data, mode):
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def over_black(values, opacity):
    return ((values.astype(np.uint32) * opacity[..., None] + 127) // 255).astype(np.uint8)


def by_pillow():
    grey, colour = picture(1)[..., 0], picture(3)
    write("grey.png", encoded(Image.fromarray(grey), "png"), grey)
    write("colour.png", encoded(Image.fromarray(colour), "png"), colour)
    palette = Image.fromarray(colour).quantize(11)
    write("palette.png", encoded(palette, "png"), np.asarray(palette.convert("RGB")))
    for name, image, mode, options in (
            ("baseline-grey.jpg", grey, "L", {}),
            ("baseline.jpg", colour, "RGB", {"quality": 92, "subsampling": 0}),
            ("subsampled.jpg", colour, "RGB", {"quality": 75, "subsampling": 2}),
            ("progressive.jpg", colour, "RGB", {"progressive": True})):
        data = encoded(Image.fromarray(image), "jpeg", **options)
        write(name, data, decoded(data, mode))
    opacity = picture(4)[..., 3]
    four = np.dstack([colour, opacity])
    write("opacity.png", encoded(Image.fromarray(four, "RGBA"), "png"),
          over_black(colour, opacity))
    two = np.dstack([grey, opacity])
    write("grey-opacity.png", encoded(Image.fromarray(two, "LA"), "png"),
          over_black(grey[..., None], opacity))


def by_hand():
    rng = np.random.default_rng(3)
    deep = rng.integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    shallow = np.floor(deep.astype(np.float64) * 255 / 65535 + 0.5).astype(np.uint8)
    rows = [row.astype(">u2").tobytes() for row in deep]
    write("deep.png", png(WIDTH, HEIGHT, 16, 2, rows), shallow)
    rows = [row[:, 0].astype(">u2").tobytes() for row in deep]
    write("grey-deep.png", png(WIDTH, HEIGHT, 16, 0, rows), shallow[..., 0])
    bits = rng.integers(0, 2, (HEIGHT, 16)).astype(np.uint8)
    rows = [np.packbits(row).tobytes() for row in bits]
    write("bits.png", png(16, HEIGHT, 1, 0, rows), bits * 255)
    # One colour of a grey image is transparent.
    grey = picture(1)[..., 0]
    key = int(grey[4, 5])
    rows = [row.tobytes() for row in grey]
    write("keyed.png", png(WIDTH, HEIGHT, 8, 0, rows,
                           chunk(b"tRNS", struct.pack(">H", key))),
          np.where(grey == key, 0, grey).astype(np.uint8))
    # Adam7: seven images, one after the other.
    rows = []
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
                           (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = grey[y0::dy, x0::dx]
        rows += [row.tobytes() for row in part if row.size]
    write("interlaced.png", png(WIDTH, HEIGHT, 8, 0, rows, interlace=1), grey)


def segments(jpeg):
    """(marker, bytes) up to the end; a scan has its data behind it."""
    at = 2
    while jpeg[at + 1] != 0xd9:
        end = at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
        while jpeg[at + 1] == 0xda and (jpeg[end] != 0xff or jpeg[end + 1] == 0):
            end += 1
        yield jpeg[at + 1], jpeg[at:end]
        at = end


def many_scans(jpeg):
    """The first scan, then the second 120 times: full precision at once, so that
    it may come again."""
    out, scans = jpeg[:2], 0
    for marker, data in segments(jpeg):
        if marker != 0xda:
            out += data
            continue
        scans += 1
        if scans == 1:
            out += data
            continue
        first = bytearray(data)
        first[4 + data[4] * 2 + 3] = 0  # low bit of this scan, and of the last one
        return out + 120 * bytes(first) + b"\xff\xd9"


def bad():
    grey = (OUT / "grey.png").read_bytes()
    rows = [row.tobytes() for row in picture(1)[..., 0]]
    write("bad-animated.png", png(WIDTH, HEIGHT, 8, 0, rows,
                                  chunk(b"acTL", struct.pack(">II", 2, 0))))
    # As many pixels as the limit has, of almost nothing.
    write("bad-bomb.png", PNG + head(5000, 5000, 8, 2)
          + chunk(b"IDAT", zlib.compress(bytes(3000), 9)) + chunk(b"IEND", b""))
    write("bad-huge.png", PNG + head(2**31 - 1, 2**31 - 1, 8, 2)
          + chunk(b"IDAT", zlib.compress(bytes(3000), 9)) + chunk(b"IEND", b""))
    write("bad-short.png", png(WIDTH, HEIGHT, 8, 0, rows[:5]))
    damaged = bytearray(grey)
    damaged[grey.index(b"IEND") - 5] ^= 0x10  # of the chunk before
    write("bad-checksum.png", bytes(damaged))
    colour = Image.fromarray(picture(3))
    write("bad-cmyk.jpg", encoded(colour.convert("CMYK"), "jpeg"))
    jpeg = bytearray((OUT / "baseline.jpg").read_bytes())
    frame = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, frame + 5, 5000, 5000)
    write("bad-bomb.jpg", bytes(jpeg))
    struct.pack_into(">HH", jpeg, frame + 5, 65000, 65000)
    write("bad-huge.jpg", bytes(jpeg))
    struct.pack_into(">HH", jpeg, frame + 5, 0, WIDTH)
    write("bad-empty.jpg", bytes(jpeg))
    jpeg = bytearray((OUT / "baseline.jpg").read_bytes())
    jpeg[frame + 4] = 12
    write("bad-twelve-bits.jpg", bytes(jpeg))
    write("bad-scans.jpg", many_scans((OUT / "progressive.jpg").read_bytes()))
    jpeg = bytearray((OUT / "baseline-grey.jpg").read_bytes())
    jpeg[jpeg.index(b"\xff\xc0") + 1] = 0xc9
    write("bad-arithmetic.jpg", bytes(jpeg))


def interpolated():
    colour = torch.from_numpy(picture(3).astype(np.float64)).permute(2, 0, 1)[None]
    for height, width in ((4, 5), (9, 6), (20, 31), (1, 1), (7, 40)):
        out = torch.nn.functional.interpolate(
            colour, size=(height, width), mode="bilinear", antialias=True,
            align_corners=False)
        (OUT / f"{height}x{width}-from-colour.f32").write_bytes(
            out.numpy().astype("<f4").tobytes())


def main():
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    by_pillow()
    by_hand()
    bad()
    interpolated()


if __name__ == "__main__":
    main()
