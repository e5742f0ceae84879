"""Masks of class ids: palette PNG files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pcc.ids import IGNORE, palette
from pcc.runtime.errors import InputError, name_some
from pcc.runtime.files import atomic_path
from pcc.runtime.image_files import opened

LOW_DEPTHS = {"L;2": 85, "L;4": 17}  # grey of 2 and 4 bits, which Pillow multiplies so that white is 255


def write_mask(path: Path, mask: UInt8[np.ndarray, "H W"]) -> None:
    """Write a mask of class ids as a palette PNG (0 background, 255 ignore)."""
    height, width = mask.shape
    coloured = Image.frombytes("P", (width, height), np.ascontiguousarray(mask).tobytes())
    coloured.putpalette(palette())
    with atomic_path(path) as temporary:
        coloured.save(temporary)


def read_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Read class ids from a palette, grey-scale or 1-bit PNG.

    Raises:
        InputError: unreadable, or an RGB image.
    """
    return read_mask_and_palette(path)[0]


def read_mask_and_palette(path: Path) -> tuple[UInt8[np.ndarray, "H W"], list[int] | None]:
    """Read class ids as `read_mask` does, and the palette's RGB triples where there is one.

    Raises:
        InputError: see `read_mask`.
    """
    with opened(path, "mask", "restore the file", formats=["PNG"]) as image:
        if image.mode not in ("P", "L", "1"):
            raise InputError(f"{path}: mask has mode {image.mode}; save class ids as an 8-bit palette or grey PNG")
        factor = LOW_DEPTHS.get(str(image.tile[0][3]), 1) if image.tile else 1
        return np.array(image, dtype=np.uint8) // np.uint8(factor), image.getpalette()


def mask_value_fault(values: Iterable[int], num_foreground: int) -> str | None:
    """Error message for invalid mask values, or None."""
    wrong = sorted(int(value) for value in values if num_foreground < value < IGNORE)
    listed = name_some([str(value) for value in wrong])
    return f"mask holds {listed}; class ids are 0..{num_foreground} and {IGNORE} (ignore)" if wrong else None
