"""Encode images, masks and maps for the gallery page."""

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image

from pcc.figures.pictures import HEAT, borders
from pcc.ids import palette

THUMBNAIL, PHOTO = 192, 1280  # longer sides, pixels
ALPHA = bytes([0, *[255] * 255])  # by class id: background is transparent


def photo_bytes(image: UInt8[np.ndarray, "H W 3"], side: int, quality: int = 85) -> bytes:
    """JPEG with a longer side of at most ``side`` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _encoded(picture, "JPEG", quality=quality, optimize=True)


def overlay_bytes(mask: UInt8[np.ndarray, "H W"], side: int = THUMBNAIL) -> bytes:
    """Small PNG overlay in class colours: background is transparent, borders are white."""
    height, width = mask.shape
    shrink = min(1.0, side / max(mask.shape))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    ids = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    colours = palette()
    unused = np.setdiff1d(np.arange(1, 256), ids)
    if unused.size:  # white needs an unused id
        white = int(unused[0])
        ids[borders(ids)] = white
        colours[3 * white : 3 * white + 3] = (255, 255, 255)
    coloured = Image.frombytes("P", size, ids.tobytes())
    coloured.putpalette(colours)
    return _encoded(coloured, "PNG", transparency=ALPHA)


def grey_address(values: UInt8[np.ndarray, "H W"]) -> str:
    """Values 0..255, such as class ids, as a grey PNG in a ``data:`` URL.

    Pages opened from the file system can read the pixels of ``data:`` URLs, but not of files.
    """
    png = _encoded(Image.fromarray(values), "PNG")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def quantized(values: Float[np.ndarray, "k h w"]) -> tuple[UInt8[np.ndarray, "k h w"], float, float]:
    """Maps in 8 bits and their range: 0 to 1, or wider if values lie outside; non-finite values are the minimum."""
    finite = values[np.isfinite(values)]
    low, high = min(0.0, float(finite.min(initial=0))), max(1.0, float(finite.max(initial=0)))
    steps = (np.where(np.isfinite(values), values, low) - low) / (high - low) * 255
    return np.rint(steps).astype(np.uint8), low, high


def heat_colours() -> list[str]:
    """The 256 colours of the heat map as ``#rrggbb``."""
    table = (colormaps[HEAT](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return [f"#{row.tobytes().hex()}" for row in table]


def class_colours() -> list[str]:
    """Colours of the 256 class ids as ``#rrggbb``."""
    table = bytes(palette())
    return [f"#{table[i : i + 3].hex()}" for i in range(0, len(table), 3)]


def _encoded(picture: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()
