"""The field's ``cls_labels.npy``: a pickled dictionary, read without letting the pickle run anything.

A pickle is a program: opening one with ``numpy.load(allow_pickle=True)`` runs whatever its author put in.
Here the few names that rebuild arrays stand for functions of this module, and nothing else can be looked up, so a file
from the network holds arrays of numbers or is refused. numpy's own functions would do with sizes, types and addresses
of memory as the pickle says.
"""

import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from pcc.runtime.errors import InputError


class StoredType:
    """The stand-in for ``numpy.dtype``: numbers and, around the dictionary, objects."""

    def __init__(self, code: str, *_: bool) -> None:
        if not re.fullmatch("b1|[iu][1248]|f[248]|O8", code):
            raise ValueError(f"entries of type {code:.20}")
        self.code, self.is_big_endian = code, False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.is_big_endian = state[1] == ">"

    def values(self, content: bytes | bytearray) -> Shaped[np.ndarray, " n"]:
        """The numbers that are stored in ``content``."""
        if self.code == "O8":
            raise ValueError("addresses instead of numbers")
        return np.frombuffer(content, f"{'>' if self.is_big_endian else '<'}{self.code}")


class StoredArray:
    """The stand-in for ``numpy.ndarray``.

    Attributes:
        value: the array; of an array that holds one object, the object.
    """

    value: Any

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, stored_type, fortran, content = state
        if shape == () and isinstance(content, list) and len(content) == 1:
            (self.value,) = content
        else:
            self.value = stored_type.values(content).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: Any) -> StoredArray:
    """An array whose content follows."""
    return StoredArray()


def _from_buffer(
    content: bytes | bytearray, stored_type: StoredType, shape: tuple[int, ...], order: str
) -> StoredArray:
    made = StoredArray()
    made.__setstate__((1, shape, stored_type, order == "F", content))
    return made


def _scalar(stored_type: StoredType, content: bytes | bytearray) -> Any:
    (value,) = stored_type.values(content)
    return value


STAND_INS = {("numpy", "ndarray"): StoredArray, ("numpy", "dtype"): StoredType} | {
    (f"numpy.{core}.{module}", name): stand_in
    for core in ("core", "_core")  # before and after numpy 2
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    )
}


class ForbiddenName(pickle.UnpicklingError):
    """The pickle asked for something that is no part of an array."""


class ArrayUnpickler(pickle._Unpickler):
    """An unpickler that knows arrays, numpy's scalars, types of numbers and the built-in containers, and nothing else.

    It is the one in Python: the one in C asks for as much memory as a pickle says.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for an allowed name.

        Raises:
            ForbiddenName: any other name.
        """
        if (module, name) not in STAND_INS:
            raise ForbiddenName(f"{module}.{name}")
        return STAND_INS[module, name]


def read_label_arrays(path: Path) -> dict[str, Shaped[np.ndarray, " K"]]:
    """Read ``{image_id: vector[K]}``.

    Ids stored as numbers, as some peers do for VOC (``2007000032``), become ``2007_000032``.

    Raises:
        InputError: missing file, another kind of content, or a pickle that asks for anything but arrays.
    """
    if not path.is_file():
        raise InputError(f"{path}: file of labels is missing; check the path")
    try:
        with path.open("rb") as file:
            content = _unpickle(file)
        return {_image_id(key): np.asarray(getattr(vector, "value", vector)) for key, vector in content.items()}
    except ForbiddenName as error:
        raise InputError(
            f"{path}: refused, because its pickle asks for {str(error)!r}, which is no part of an array; "
            "do not trust this file, and give labels as CSV, XML or masks"
        ) from error
    except Exception as error:  # a hostile or damaged pickle may fail in any way at all
        raise InputError(
            f"{path}: not a pickled dictionary of image ids and label vectors "
            f"({' '.join(str(error).split()) or type(error).__name__})"
        ) from error


def _unpickle(file: BinaryIO) -> dict[Any, Any]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if shape != () or dtype != np.dtype(object):
        raise ValueError(f"an array of shape {shape} and type {dtype} instead of one dictionary")
    stored = ArrayUnpickler(file).load()
    content = getattr(stored, "value", stored)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} instead of a dictionary")
    return content


def _image_id(key: str | int | np.integer[Any]) -> str:
    return f"{str(key)[:4]}_{str(key)[4:]}" if isinstance(key, int | np.integer) else str(key)
