"""Parts found by name: the ``type`` of a config entry is the name of the module that holds the part."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any, TypeVar

from pcc.runtime.errors import InputError

T = TypeVar("T")


def load_attribute(package: str, name: str, attribute: str, where: str) -> Any:
    """``package.name.attribute``: the function or class that every module of the package calls so.

    Raises:
        InputError: no module of that name defines it; ``where`` says which setting asked for it.
    """
    part = _attributes(package, name).get(attribute)
    if part is None:
        allowed = _modules_with(package, rf"^(def|class) {attribute}\b")
        raise InputError(f"{where}: no type '{name}'; allowed: {', '.join(allowed)}")
    return part


def load_class(package: str, name: str, base: type[T], where: str) -> type[T]:
    """The one subclass of ``base`` that module ``package.name`` defines.

    Raises:
        InputError: no module of that name defines one; ``where`` says which setting asked for it.
    """
    for part in _attributes(package, name).values():
        is_own = inspect.isclass(part) and part.__module__ == f"{package}.{name}"
        if is_own and issubclass(part, base) and part is not base:
            return part
    allowed = _modules_with(package, rf"^class \w+\({base.__name__}\)")
    raise InputError(f"{where}: no type '{name}'; allowed: {', '.join(allowed)}")


def _attributes(package: str, name: str) -> dict[str, Any]:
    if not name.isidentifier() or name not in _modules_with(package, ""):
        return {}
    return vars(importlib.import_module(f"{package}.{name}"))


def _modules_with(package: str, pattern: str) -> list[str]:
    folders = importlib.import_module(package).__path__
    files = sorted(file for folder in folders for file in Path(folder).glob("[a-z]*.py"))
    return [file.stem for file in files if re.search(pattern, file.read_text(encoding="utf-8"), re.M)]
