"""Masks of class ids: palette PNG files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from pcc.ids import IGNORE, palette
from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path


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
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise InputError(f"{path}: mask has mode {image.mode}; save class ids as an 8-bit palette or grey PNG")
            return np.array(image, dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: mask cannot be read ({error}); restore the file") from error


def mask_value_fault(values: Iterable[int], num_foreground: int) -> str | None:
    """Error message for invalid mask values, or None."""
    wrong = sorted(int(value) for value in values if num_foreground < value < IGNORE)
    listed = ", ".join(map(str, wrong))
    return f"mask holds {listed}; class ids are 0..{num_foreground} and {IGNORE} (ignore)" if wrong else None
