"""The field's ``cls_labels.npy``: a pickled dictionary, read without letting the pickle run anything.

A pickle is a program: opening one with ``numpy.load(allow_pickle=True)`` runs whatever its author put in.
Here only the names needed to rebuild arrays can be looked up, so a file from the network holds arrays or is
refused.
"""

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from pcc.runtime.errors import InputError

ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype")} | {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")  # before and after numpy 2
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


class ForbiddenName(pickle.UnpicklingError):
    """The pickle asked for something that is no part of an array."""


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows numpy arrays, scalars, dtypes and the built-in containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up an allowed name.

        Raises:
            ForbiddenName: any other name.
        """
        if (module, name) not in ALLOWED:
            raise ForbiddenName(f"{module}.{name}")
        return super().find_class(module, name)


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
        return {_image_id(key): np.asarray(vector) for key, vector in content.items()}
    except ForbiddenName as error:
        raise InputError(
            f"{path}: refused, because its pickle asks for '{error}', which is no part of an array; "
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
    content = ArrayUnpickler(file).load().item()
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} instead of a dictionary")
    return content


def _image_id(key: str | int | np.integer[Any]) -> str:
    return f"{str(key)[:4]}_{str(key)[4:]}" if isinstance(key, int | np.integer) else str(key)
