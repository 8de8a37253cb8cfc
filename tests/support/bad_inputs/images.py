"""Images: whole ones of every kind, and those that are cut, flipped, forged, too large, or none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

from support.bad_inputs import Case, canary, cuts, flipped, replaced
from support.bad_inputs.lies import NO_IMAGES

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # fmt: skip
END = b"IEND"


@cache
def pixels(width: int = 60, height: int = 44) -> np.ndarray:
    """(H, W, 3) uint8 with detail everywhere."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5 + c) + np.cos(y / 7 - c) for c in range(3)], -1)
    return np.clip(120 + 50 * waves + rng.normal(0, 12, waves.shape), 1, 255).astype(np.uint8)


def written(form: str, mode: str = "RGB", **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels()).convert(mode).save(data, form, **options)
    return data.getvalue()


def chunk(kind: bytes, content: bytes = b"", crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def header(width: int, height: int, depth: int = 8, colour: int = 2, *rest: int) -> bytes:
    return chunk(
        b"IHDR", struct.pack(">IIBB3B", width, height, depth, colour, *(rest or (0, 0, 0)))
    )


def png(head: bytes, *chunks: bytes, end: bytes = chunk(END)) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + end


def idat(raw: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(raw))


def scanlines(image: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in image)


def interlaced() -> bytes:
    image = pixels()
    raw = b"".join(scanlines(image[y::down, x::across]) for x, y, across, down in PASSES)
    return png(header(60, 44, 8, 2, 0, 0, 1), idat(raw))


def hollow(data: bytes, begin: float = 0.5, end: float = 0.7) -> bytes:
    """A JPEG without some of its pixels' data."""
    start = data.rindex(b"\xff\xda") if data.count(b"\xff\xda") == 1 else data.index(b"\xff\xda")
    size = len(data) - start
    return data[: start + int(begin * size)] + data[start + int(end * size) :]


def without_tables(data: bytes) -> bytes:
    """A JPEG as cameras put it into motion pictures."""
    return data[: data.index(b"\xff\xc4")] + data[data.index(b"\xff\xda") :]


def animated(form: str) -> bytes:
    data = io.BytesIO()
    frames = [Image.fromarray(np.roll(pixels(), n, axis=1)) for n in range(3)]
    frames[0].save(data, form, save_all=True, append_images=frames[1:])
    return data.getvalue()


def cases() -> Iterator[Case]:
    yield from _good()
    for name, data in NO_IMAGES:
        for field in ("png", "jpg"):
            yield Case(f"{name} as {field}", field, data, "bad_image")
    for field in ("webp", "gif", "tiff", "bmp", "avif", "jpeg"):
        yield Case(f"pickle as {field}", field, canary(), "bad_image", "pickle")
    for field, each in (("png", _png), ("jpg", _jpeg), ("png", _others)):
        for name, data, reason in each():
            yield Case(name, field, data, reason, bomb="bomb" in name)


def _good() -> Iterator[Case]:
    jpeg, whole = written("JPEG", quality=90), written("PNG")
    small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for file, form in zip(small, ("PNG", "JPEG", "GIF"), strict=True):
        Image.new("RGB", (1, 1), (200, 30, 30)).save(file, form)
    grey = pixels()[..., 0].astype(np.uint16) * 257
    deep = scanlines(grey.astype(">u2"))
    palette = chunk(b"PLTE", bytes(range(12)))
    good = {
        "png": whole,
        "png interlaced": interlaced(),
        "png of 16 bits": png(header(60, 44, 16, 0), idat(deep)),
        "png of 1 bit": written("PNG", "1"),
        "png with palette": written("PNG", "P"),
        "png with a clear colour": png(
            header(2, 2, 8, 3), palette, chunk(b"tRNS", b"\0\xff"), idat(b"\0\0\1\0\2\3")
        ),
        "png with alpha": written("PNG", "RGBA"),
        "png in small chunks": png(
            header(60, 44),
            *(
                chunk(b"IDAT", packed[i : i + 100])
                for packed in [zlib.compress(scanlines(pixels()))]
                for i in range(0, len(packed), 100)
            ),
        ),
        "png and bytes behind it": whole + b"more" * 40,
        "png with a chunk of someone's own": png(
            header(1, 1), chunk(b"prVt", b"x"), idat(b"\0abc"), chunk(b"tEXt", b"a\0b")
        ),
        "png with odd orientation data": png(header(1, 1), chunk(b"eXIf", b"odd"), idat(b"\0abc")),
        "png animated": animated("PNG"),
        "png of one pixel": small[0].getvalue(),
        "png 1 wide": png(header(1, 9000), idat(b"\0abc" * 9000)),
        "png 1 high": png(header(9000, 1), idat(b"\0" + b"abc" * 9000)),
        "jpeg": jpeg,
        "jpeg of one pixel": small[1].getvalue(),
        "jpeg progressive": written("JPEG", progressive=True),
        "jpeg cmyk": written("JPEG", "CMYK"),
        "jpeg grey": written("JPEG", "L"),
        "jpeg with restarts": written("JPEG", restart_marker_blocks=2),
        "jpeg and bytes behind it": jpeg + bytes(100) + b"more",
        "jpeg with odd metadata": jpeg[:2] + b"\xff\xe1\0\x0cExif\0\0MM\0\x2b" + jpeg[2:],
        "jpeg with zeros before its end": jpeg[:-2] + bytes(40) + jpeg[-2:],
        "jpeg with zeros between segments": jpeg[:2] + jpeg[2:20] + bytes(9) + jpeg[20:],
        "jpeg without tables, which are then the standard's": without_tables(written("JPEG")),
        "webp": written("WEBP"),
        "webp lossless": written("WEBP", lossless=True),
        "webp with alpha": written("WEBP", "RGBA"),
        "webp animated": animated("WEBP"),
        "webp and bytes behind it": written("WEBP") + b"more",
        "gif": written("GIF", "P"),
        "gif animated": animated("GIF"),
        "gif and bytes behind it": written("GIF", "P") + b"more",
        "gif of one pixel": small[2].getvalue(),
        "tiff": written("TIFF"),
        "tiff lzw": written("TIFF", compression="tiff_lzw"),
        "tiff deflate": written("TIFF", compression="tiff_deflate"),
        "bmp": written("BMP"),
        "avif": written("AVIF"),
    }
    for name, data in good.items():
        for field in ("png", "jpg") if name in ("png", "jpeg", "webp") else (name.split()[0],):
            yield Case(f"{name}, a good .{field}", field, data)


def _png() -> Iterator[tuple[str, bytes, str]]:
    whole, raw = written("PNG"), scanlines(pixels())
    packed = zlib.compress(raw)
    for name, data in cuts(whole, 0, 0.3, 0.6, 0.95, -1, -4, -8, -12, -16):
        yield f"png {name}", data, "bad_image"
    for share in (0.02, 0.2, 0.5, 0.8, 0.97):
        yield f"png flipped at {share}", flipped(whole, int(share * len(whole))), "bad_image"
    end = whole.rindex(END)
    forged = {
        "png of its signature": whole[:8],
        "png with a flipped signature": flipped(whole, 1),
        "png sent as text": whole.replace(b"\r\n", b"\n", 1),
        "png with a flipped end": flipped(whole, end + 5),
        "png whose end is renamed": replaced(whole, end, b"JEND"),
        "png with a header's bad checksum": flipped(whole, 30),
        "png without pixels": png(header(60, 44)),
        "png without a header": png(idat(raw)),
        "png without its palette": png(header(2, 1, 8, 3), idat(b"\0\1\1")),
        "png of 0 x 0": png(header(0, 0), idat(b"")),
        "png of 0 x 9": png(header(0, 9), idat(b"\0" * 9)),
        "png of 3 bits": png(header(60, 44, 3), idat(raw)),
        "png of 99 bits": png(header(60, 44, 99), idat(raw)),
        "png of colour type 1": png(header(60, 44, 8, 1), idat(raw)),
        "png of colour type 9": png(header(60, 44, 8, 9), idat(raw)),
        "png interlaced in an unknown way": png(header(60, 44, 8, 2, 0, 0, 7), idat(raw)),
        "png packed in an unknown way": png(header(60, 44, 8, 2, 1, 0, 0), idat(raw)),
        "png with an unknown filter": png(header(60, 44), idat(b"\x09" + raw[1:])),
        "png with half of its rows": png(header(60, 44), idat(raw[: len(raw) // 2])),
        "png without its last row": png(header(60, 44), idat(raw[:-181])),
        "png with half of its interlaced rows": png(
            header(60, 44, 8, 2, 0, 0, 1), idat(raw[: len(raw) // 2])
        ),
        "png whose pixels' checksum is wrong": png(
            header(60, 44), chunk(b"IDAT", flipped(packed, -1))
        ),
        "png whose pixels are not packed": png(header(60, 44), chunk(b"IDAT", raw)),
        "png whose pixels are cut": png(header(60, 44), chunk(b"IDAT", packed[:-200])),
        "png with a chunk of 2 GB": whole[:33] + struct.pack(">I", 0x7FFFFFFF) + whole[37:],
        "png with a chunk of 4 GB": whole[:33] + b"\xff" * 4 + whole[37:],
        "png with zeros inside": whole[:200] + bytes(300) + whole[500:],
        "png bomb of text": png(
            header(1, 1), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(30 << 20))), idat(b"\0abc")
        ),
    }
    for name, data in forged.items():
        yield name, data, "bad_image"
    rows = zlib.compressobj(9)
    black = b"".join(rows.compress(bytes(1126) * 900) for _ in range(10)) + rows.flush()
    bomb = png(header(9000, 9000, 1, 0), chunk(b"IDAT", black))
    yield "png bomb of 81 megapixels", bomb, "too_large"
    yield "png bomb of a lying header", png(header(60_000, 60_000), idat(raw)), "too_large"
    yield "png bomb of 2^31 x 2^31", png(header(2**31 - 1, 2**31 - 1), idat(raw)), "too_large"


def _jpeg() -> Iterator[tuple[str, bytes, str]]:
    kinds = {
        "": written("JPEG", quality=90),
        " progressive": written("JPEG", progressive=True, quality=90),
        " cmyk": written("JPEG", "CMYK", quality=90),
        " with restarts": written("JPEG", restart_marker_blocks=2, quality=90),
    }
    for kind, data in kinds.items():
        for name, cut in cuts(data, 0.01, 0.1, 0.5, 0.8, -40, -3, -2, -1):
            yield f"jpeg{kind} {name}", cut, "bad_image"
        yield f"jpeg{kind} without a middle", hollow(data), "bad_image"
    whole = kinds[""]
    frame = whole.index(b"\xff\xc0")
    scan, end = whole.index(b"\xff\xda"), len(whole) - 2
    forged = {
        "jpeg of its first bytes": whole[:3],
        "jpeg without a scan": whole[:scan] + whole[end:],
        "jpeg of 12 bits": replaced(whole, frame + 4, b"\x0c"),
        "jpeg 0 high": replaced(whole, frame + 5, b"\0\0"),
        "jpeg 0 wide": replaced(whole, frame + 7, b"\0\0"),
        "jpeg higher than its pixels": replaced(whole, frame + 5, struct.pack(">H", 88)),
        "jpeg with pixels left over": whole[:end] + whole[end - 50 : end] + whole[end:],
        "jpeg with pixels left over, and a bad word before": whole[:2]
        + bytes(5)
        + whole[2:end]
        + whole[end - 50 : end]
        + whole[end:],
        "jpeg without a middle, and a bad word before": whole[:2] + bytes(5) + hollow(whole)[2:],
        "jpeg with zeros inside": replaced(whole, scan + 200, bytes(500)),
        "jpeg whose segment is endless": replaced(whole, 4, b"\xff\xff"),
        "jpeg with another's end": hollow(whole, 0.3, 0.99),
    }
    for name, data in forged.items():
        yield name, data, "bad_image"
    wide = replaced(whole, frame + 5, struct.pack(">HH", 65_500, 65_500))
    yield "jpeg bomb of a lying header", wide, "too_large"
    passes = kinds[" progressive"]
    last = passes[passes.rindex(b"\xff\xda") : -2]
    yield "jpeg bomb of 500 scans", passes[:-2] + last * 500 + passes[-2:], "too_large"


def _others() -> Iterator[tuple[str, bytes, str]]:
    for form, options in (
        ("WEBP", {}), ("WEBP", {"lossless": True}), ("GIF", {}), ("BMP", {}), ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"}), ("AVIF", {}),
    ):  # fmt: skip
        data = written(form, **options)
        kind = " ".join([form.lower(), *map(str, options.values())])
        for name, cut in cuts(data, 0.02, 0.2, 0.5, 0.9, -1):
            yield f"{kind} {name}", cut, "bad_image"
    webp, gif, tiff, bmp = (written(f, "RGB") for f in ("WEBP", "GIF", "TIFF", "BMP"))
    moving = animated("WEBP")
    forged = {
        "webp that declares more": replaced(webp, 4, struct.pack("<I", len(webp))),
        "webp whose chunk declares more": replaced(webp, 16, struct.pack("<I", len(webp))),
        "webp without chunks": webp[:4] + struct.pack("<I", 4) + webp[8:12],
        "webp of another kind": replaced(webp, 12, b"ABCD"),
        "webp animated, and cut": moving[: len(moving) * 2 // 3],
        "gif without its trailer": gif[:-1],
        "gif with a block of no kind": gif[:-1] + b"\x77" + gif[-1:],
        "gif without a frame": b"GIF89a" + bytes(7) + b";",
        "gif with a frame whose pixels end early": short_gif(),
        "gif animated, and cut": animated("GIF")[:-400],
        "tiff whose directory is far away": replaced(tiff, 4, b"\xf0\xff\xff\x7f"),
        "bmp of 0 x 0": replaced(bmp, 18, bytes(8)),
        "bmp of 7 bits": replaced(bmp, 28, b"\x07\0"),
        "bmp packed in an unknown way": replaced(bmp, 30, b"\x09\0\0\0"),
    }  # fmt: skip
    for name, data in forged.items():
        yield name, data, "bad_image"
    yield "gif bomb of 65535 x 65535", replaced(gif, 6, b"\xff" * 4), "too_large"
    yield (
        "bmp bomb of 60000 x 60000",
        replaced(bmp, 18, struct.pack("<ii", 60_000, 60_000)),
        "too_large",
    )
    canvas = struct.pack("<I", 0) + (16_383).to_bytes(3, "little") * 2
    vp8x = b"VP8X" + struct.pack("<I", 10) + canvas
    body = b"WEBP" + vp8x + webp[12:]
    yield (
        "webp bomb of a lying canvas",
        b"RIFF" + struct.pack("<I", len(body)) + body,
        "bad_image",
    )


def short_gif() -> bytes:
    """A GIF whose frame ends after one code: a whole file without most of its pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", 20, 20, 0x80, 0, 0) + bytes(6)
    clear_pixel_end = 0b101_000_100  # codes of 3 bits, the first lowest
    frame = b"," + struct.pack("<HHHHB", 0, 0, 20, 20, 0) + b"\x02"
    return head + frame + b"\x02" + clear_pixel_end.to_bytes(2, "little") + b"\0;"
