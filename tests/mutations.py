"""Damaged and hostile image files, the same ones each time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

MUTATED = 1000
"""Files that ``mutated_images`` gives."""

_BOMB = zlib.compress(bytes(200 * 2**20), 9)
"""200 MB in 200 kB."""


def _png(
    width: int, height: int, *extra: tuple[bytes, bytes], colour: int = 2, depth: int = 8, rows: bytes = b""
) -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *extra,
        (
            b"IDAT",
            zlib.compress(rows or bytes(3 * width * height + height)) if width * height < 10_000 or rows else b"",
        ),
        (b"IEND", b""),
    ]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _tiff(*entries: tuple[int, int, int, int], data: bytes = b"", after: int = 0) -> bytes:
    """A little-endian TIFF of one directory; entries are tag, type, count and value; data lies behind them."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + struct.pack("<I", after) + data


def _strip(width: int, height: int, compression: int, offset: int, length: int) -> list[tuple[int, int, int, int]]:
    values = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: offset, 277: 1, 278: height, 279: length}
    return [(tag, 4, 1, value) for tag, value in values.items()]


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def hostile_images() -> dict[str, bytes]:
    """Files made by hand: more declared, packed or repeated than there is."""
    small = Image.new("RGB", (16, 12), (90, 120, 30))
    progressive = _saved(Image.new("L", (2048, 2048)), "JPEG", progressive=True)
    scan = progressive.rindex(b"\xff\xda")  # the last scan refines all of the image
    jpeg = _saved(small, "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    frames = [Image.new("P", (16, 12), i % 200) for i in range(300)]
    gif = _saved(small.convert("P"), "GIF")
    lone = gif.index(b"\x2c\0\0\0\0")
    one = bytes(10 + 2 + 12 * 9 + 4)
    return {
        "iccp.png": _png(16, 12, (b"iCCP", b"a\0\0" + _BOMB)),
        "ztxt.png": _png(16, 12, *[(b"zTXt", b"a\0\0" + _BOMB)] * 20),
        "itxt.png": _png(16, 12, *[(b"iTXt", b"a\0\1\0\0\0" + _BOMB)] * 20),
        "texts.png": _png(16, 12, *[(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))] * 100),
        "idat.png": _png(16, 12, rows=bytes(200 * 2**20)),
        "huge.png": _png(2**31 - 1, 2**31 - 1),
        "wide.png": _png(2**31 - 1, 1),
        "large.png": _png(13_000, 13_000),
        "nothing.png": _png(0, 0),
        "depth.png": _png(16, 12, depth=3),
        "colour.png": _png(16, 12, colour=5),
        "frames.png": _png(16, 12, (b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "frame.png": _png(
            16,
            12,
            (b"acTL", struct.pack(">II", 2, 0)),
            (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**30, 2**30, 2**30, 2**30, 0, 0, 0, 0)),
        ),
        "length.png": _png(16, 12)[:33] + b"\xff\xff\xff\xff" + b"IDAT",
        "scans.jpg": progressive[:scan] + progressive[scan:-2] * 20_000 + b"\xff\xd9",
        "huge.jpg": jpeg[: frame + 5] + b"\xff\xff\xff\xff" + jpeg[frame + 9 :],
        "none.jpg": jpeg[: frame + 5] + b"\0\0\0\0" + jpeg[frame + 9 :],
        "exif.jpg": b"\xff\xd8\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff" + jpeg[2:],
        "huge.gif": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "outside.gif": gif[:lone] + b"\x2c\xff\xff\xff\xff\xff\xff\xff\xff" + gif[lone + 9 :],
        "frames.gif": _saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "frames.webp": _saved(small, "WEBP", save_all=True, append_images=[f.convert("RGB") for f in frames]),
        "huge.webp": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xfe\x3f\0\xfe\x3f\0" + b"ANIM\x06\0\0\0\0\0\0\0\0\0",
        "loop.tif": _tiff(*_strip(16, 12, 1, len(one), 192), data=bytes(192), after=8),
        "huge.tif": _tiff(*_strip(2**31, 2**31, 1, len(one), 192), data=bytes(192)),
        "strip.tif": _tiff(*_strip(16, 12, 1, len(one), 2**32 - 1), data=bytes(192)),
        "deflate.tif": _tiff(*_strip(16, 12, 8, len(one), len(_BOMB)), data=_BOMB),
        "lzw.tif": _tiff(*_strip(13_000, 13_000, 5, len(one), 192), data=b"\xff" * 192),
        "count.tif": _tiff(*_strip(16, 12, 1, len(one), 192), (700, 7, 2**32 - 1, 0), data=bytes(192)),
        "huge.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
        "runs.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 13_000, 13_000, 1, 8, 1, 0, 0, 0, 0, 0),
        "text.ppm": b"P3 13000 13000 255 " + b"1 " * 1000,
        "long.ppm": b"P2 1" + b"0" * 100_000 + b" 1 255 ",
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n",
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\n",
        "inside.png": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\xff\xff\0\0\x16\0\0\0" + _png(20_000, 20_000),
        "page.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:9/a.png'/></svg>",
        "shader.png": b"DDS \x7c\0\0\0\x07\x10\0\0" + b"\xff" * 116,
        "archive.png": b"PK\3\4" + bytes(60),
        "empty.png": b"",
    }


def _intact_images() -> list[tuple[str, bytes]]:
    """Small pictures in each format and mode that is read."""
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    deep = Image.fromarray(random.integers(0, 65536, (20, 24), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [colour.rotate(90 * i) for i in range(3)]
    made = [("png", _saved(colour.convert(mode), "PNG")) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    made += [("png", _saved(deep, "PNG")), ("png", _saved(colour, "PNG", exif=turned))]
    made += [("png", _saved(colour, "PNG", save_all=True, append_images=frames))]
    made += [("jpg", _saved(colour.convert(mode), "JPEG")) for mode in ("L", "RGB", "CMYK")]
    made += [("jpg", _saved(colour, "JPEG", progressive=True)), ("jpg", _saved(colour, "JPEG", exif=turned))]
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "YCbCr", "LAB")
    made += [("tif", _saved(colour.convert(mode), "TIFF")) for mode in modes]
    kinds = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    made += [("tif", _saved(colour, "TIFF", compression=kind)) for kind in kinds]
    made += [("tif", _saved(deep, "TIFF")), ("tif", _saved(colour, "TIFF", save_all=True, append_images=frames))]
    made += [("bmp", _saved(colour.convert(mode), "BMP")) for mode in ("1", "L", "P", "RGB", "RGBA")]
    made += [("gif", _saved(colour, "GIF", save_all=True, append_images=frames))]
    made += [("webp", _saved(colour, "WEBP", lossless=lossless)) for lossless in (True, False)]
    made += [("webp", _saved(colour.convert("RGBA"), "WEBP", save_all=True, append_images=frames))]
    made += [("ppm", _saved(colour.convert(mode), "PPM")) for mode in ("1", "L", "RGB")]
    return made


def _cut(data: bytearray, random: np.random.Generator) -> bytes:
    return bytes(data[: random.integers(len(data))])


def _flipped(data: bytearray, random: np.random.Generator) -> bytes:
    for place in random.integers(len(data), size=random.integers(1, 12)):
        data[place] ^= 1 << random.integers(8)
    return bytes(data)


def _wrong_header(data: bytearray, random: np.random.Generator) -> bytes:
    place = random.integers(min(len(data), 64))
    wrong = random.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80"])
    return bytes(data[:place]) + wrong + bytes(data[place + 4 :])


def _shifted(data: bytearray, random: np.random.Generator) -> bytes:
    start, end = np.sort(random.integers(len(data), size=2))
    return bytes(data[:start]) + (bytes(data[start:end]) * 2 if random.random() < 0.5 else b"") + bytes(data[end:])


_MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], bytes], ...] = (_cut, _flipped, _wrong_header, _shifted)


def mutated_images() -> Iterator[tuple[str, bytes]]:
    """Yields ``MUTATED`` file names and contents: those made by hand, then intact ones that were altered."""
    yield from (hostile := hostile_images()).items()
    intact = _intact_images()
    for i in range(MUTATED - len(hostile)):
        random = np.random.default_rng(i)
        suffix, data = intact[i % len(intact)]
        yield f"{i:04d}.{suffix}", _MUTATIONS[i // len(intact) % len(_MUTATIONS)](bytearray(data), random)
