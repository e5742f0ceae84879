"""Damaged image files of every format that is read, drawn from a seed."""

import io
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 24
# name → mode, Pillow's format and the options it is saved with
KINDS: dict[str, tuple[str, str, dict[str, object]]] = {
    "colour.jpg": ("RGB", "JPEG", {}),
    "progressive.jpeg": ("L", "JPEG", {"progressive": True}),
    "print.jpg": ("CMYK", "JPEG", {}),
    "colour.png": ("RGB", "PNG", {}),
    "palette.png": ("P", "PNG", {"transparency": 3}),
    "alpha.png": ("LA", "PNG", {}),
    "deep.png": ("I;16", "PNG", {}),
    "moving.png": ("RGB", "PNG", {"save_all": True}),
    "lossy.webp": ("RGB", "WEBP", {}),
    "lossless.webp": ("RGBA", "WEBP", {"lossless": True}),
    "moving.webp": ("RGB", "WEBP", {"save_all": True}),
    "colour.bmp": ("RGB", "BMP", {}),
    "palette.bmp": ("P", "BMP", {}),
    "plain.tif": ("RGB", "TIFF", {}),
    "deep.tiff": ("I;16", "TIFF", {"compression": "tiff_lzw"}),
    "deflate.tif": ("RGBA", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "jpeg.tif": ("RGB", "TIFF", {"compression": "jpeg"}),
    "fax.tif": ("1", "TIFF", {"compression": "group4"}),
    "moving.gif": ("P", "GIF", {"save_all": True}),
    "colour.ppm": ("RGB", "PPM", {}),
    "grey.pgm": ("L", "PPM", {}),
    "bits.pbm": ("1", "PPM", {}),
    "colour.jp2": ("RGB", "JPEG2000", {}),
    "colour.avif": ("RGB", "AVIF", {}),
    "alpha.avif": ("RGBA", "AVIF", {}),
}


def sound_file(kind: str) -> bytes:
    """A sound file with noise on it, turned by EXIF where the format can say so."""
    mode, name, options = KINDS[kind]
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 8, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0])
    else:
        image = Image.fromarray(pixels, "RGBA").convert("RGB").convert(mode)
    if name in ("JPEG", "PNG", "WEBP", "AVIF"):
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {**options, "exif": exif}
    if "save_all" in options:
        options = {**options, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def damaged_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """``count`` file names and contents: flipped bytes, cut ends, swapped headers, zeros, wrong suffixes, nothing."""
    drawn = random.Random(seed)
    sound = {kind: sound_file(kind) for kind in KINDS}
    names = sorted(sound)
    for number in range(count):
        name = names[number % len(names)]
        content = bytearray(sound[name])
        other = drawn.choice(names)
        how = drawn.choice(["flip", "flip header", "flip", "cut", "swap", "zeros", "repeat", "suffix", "empty"])
        if how.startswith("flip"):
            reach = min(len(content), 64 if how == "flip header" else len(content))
            for _ in range(drawn.randint(1, 8)):
                content[drawn.randrange(reach)] = drawn.choice([0, 1, 127, 128, 255, drawn.randrange(256)])
        elif how == "cut":
            del content[drawn.randrange(1, len(content)) :]
        elif how == "swap":
            length = drawn.randint(2, 64)
            content[:length] = sound[other][:length]
        elif how == "zeros":
            start = drawn.randrange(len(content))
            length = min(drawn.randint(1, 64), len(content) - start)
            content[start : start + length] = bytes(length)
        elif how == "repeat":
            start = drawn.randrange(len(content))
            content[start:start] = content[start : start + drawn.randint(1, 64)]
        elif how == "suffix":
            name = other
            if drawn.random() < 0.5:
                content = bytearray(sound[other][: drawn.randint(1, len(sound[other]))]) + content
        else:
            content = bytearray()
        yield f"{number}_{how.replace(' ', '_')}_{name}", bytes(content)
