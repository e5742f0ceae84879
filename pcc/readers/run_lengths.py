"""COCO's shapes, polygons and run-length codes: checked, then turned into the run lengths of a mask.

A run-length code lists the lengths of runs along the columns, background first. Compressed, each number is five bits
per character, and from the fourth on it is the difference to the last but one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from pycocotools import mask as polygons

from pcc.runtime.ranges import shown

MAX_CHARACTERS = 7  # of one number: 35 bits
MAX_OUTLINE = 2**23  # pixels; pycocotools asks for memory by a length, and does not look whether it got it


class ShapeFault(ValueError):
    """What is wrong with a shape."""


def run_lengths(shape: Any, size: tuple[int, int]) -> Int64[np.ndarray, " n"]:
    """The run lengths of a shape, which cover an image of ``size`` (height, width) exactly.

    Raises:
        ShapeFault: see `check`.
    """
    check(shape, size)
    if isinstance(shape, list):
        return _of_text(polygons.merge(polygons.frPyObjects(shape, *size))["counts"])
    return _of_code(shape["counts"])


def check(shape: Any, size: tuple[int, int]) -> None:
    """Check a shape without painting it.

    Args:
        shape: polygons, or a run-length code, compressed or not, as in COCO's JSON.
        size: the image's (height, width).

    Raises:
        ShapeFault: another type, a polygon with too few or impossible coordinates, or a code for another image.
    """
    if isinstance(shape, list):
        _check_polygons(shape, size)
        return
    if not isinstance(shape, Mapping) or "counts" not in shape:
        raise ShapeFault(f"its segmentation is {shown(shape)}; it must be polygons or a run-length code")
    if shape.get("size") not in (list(size), size):
        raise ShapeFault(f"its run-length code is for {shown(shape.get('size'))}, its image is {list(size)}")
    runs = _of_code(shape["counts"])
    pixels = size[0] * size[1]
    if wrong := runs[(runs < 0) | (runs > pixels)].tolist():
        raise ShapeFault(f"its run-length code holds a length of {wrong[0]}, its image has {pixels} pixels")
    if runs.sum() != pixels:
        raise ShapeFault(f"its run-length code covers {runs.sum()} pixels, its image has {pixels}")


def fill(columns: UInt8[np.ndarray, " n"], runs: Int64[np.ndarray, " m"], value: int) -> None:
    """Set a shape's pixels in an image whose columns lie one after the other."""
    inside = runs[1 : len(runs) // 2 * 2]  # without the background before and after
    start = int(runs[0]) if len(inside) else 0
    columns[start : start + int(inside.sum())][np.repeat(np.arange(len(inside)) % 2 == 0, inside)] = value


def _check_polygons(shape: list[Any], size: tuple[int, int]) -> None:
    if not shape or not all(isinstance(polygon, list) for polygon in shape):
        raise ShapeFault(f"its polygons are {shown(shape)}; they must be lists of coordinates, [[x, y, x, y, ...]]")
    for polygon in shape:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ShapeFault("its polygons need at least three points (x, y) each")
        if not set(map(type, polygon)) <= {int, float}:
            wrong = next(value for value in polygon if type(value) not in (int, float))
            raise ShapeFault(f"its polygon holds {shown(wrong)}; coordinates must be numbers")
        for values, side in ((polygon[::2], size[1]), (polygon[1::2], size[0])):
            # False for NaN as well. A point far outside is no shape of this image, and costs time and memory.
            if not all(-side <= value <= 2 * side for value in values):
                wrong = next(value for value in values if not -side <= value <= 2 * side)
                raise ShapeFault(f"its polygon has a coordinate {shown(wrong)}, its image is {list(size)}")
        if 3 * len(polygon) * max(size) > MAX_OUTLINE and (length := _outline(polygon)) > MAX_OUTLINE:
            raise ShapeFault(f"its polygon is {length} pixels long")


def _outline(polygon: list[float]) -> int:
    points = np.array(polygon).reshape(-1, 2)
    return int(np.abs(points - np.roll(points, 1, axis=0)).max(1).sum())


def _of_code(counts: Any) -> Int64[np.ndarray, " n"]:
    return _of_list(counts) if isinstance(counts, list) else _of_text(counts)


def _of_list(counts: list[Any]) -> Int64[np.ndarray, " n"]:
    if not set(map(type, counts)) <= {int} or (counts and max(map(abs, counts)) >= 2**40):
        raise ShapeFault("its run-length code must be a list of whole numbers")
    return np.array(counts, np.int64)


def _of_text(counts: Any) -> Int64[np.ndarray, " n"]:
    """The numbers of a compressed code."""
    if isinstance(counts, str):
        counts = counts.encode(errors="surrogatepass")
    bits = np.frombuffer(counts, np.uint8).astype(np.int64) - 48 if isinstance(counts, bytes) else np.array([-1])
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        raise ShapeFault("its run-length code is empty, cut off, or no compressed code")
    last = np.flatnonzero(bits & 32 == 0)
    lengths = np.diff(last, prepend=-1)
    if lengths.max() > MAX_CHARACTERS:
        raise ShapeFault("its run-length code holds a number that is too large")
    starts = last - lengths + 1
    places = np.arange(len(bits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((bits & 31) << (5 * places), starts)
    numbers -= (bits[last] >> 4 & 1) << (5 * lengths)  # the last character's fifth bit is the sign
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
