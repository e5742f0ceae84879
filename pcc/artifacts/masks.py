"""Masks of class ids: palette PNG files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pcc.ids import IGNORE, palette
from pcc.runtime.errors import InputError
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
    """Read class ids from a palette or grey-scale PNG.

    Raises:
        InputError: unreadable, or an RGB image.
    """
    with opened(path, "mask", "restore the file", formats=["PNG"]) as image:
        if image.mode not in ("P", "L"):
            raise InputError(f"{path}: mask has mode {image.mode}; save class ids as an 8-bit palette or grey PNG")
        factor = LOW_DEPTHS.get(str(image.tile[0][3])) if image.tile else None
        values = np.array(image, dtype=np.uint8)
        return values if factor is None else values // factor


def mask_value_fault(values: Iterable[int], num_foreground: int) -> str | None:
    """Error message for invalid mask values, or None."""
    wrong = sorted(int(value) for value in values if num_foreground < value < IGNORE)
    listed = ", ".join(map(str, wrong))
    return f"mask holds {listed}; class ids are 0..{num_foreground} and {IGNORE} (ignore)" if wrong else None
