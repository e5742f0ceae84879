"""Class lists: given in the configuration, in a YAML file, or by the name of a packaged list (voc12, coco14)."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from pcc.runtime.errors import InputError
from pcc.runtime.resources import find_list

Taxonomy = dict[str, tuple[str, ...]]


def read_classes(classes: Sequence[str] | str) -> tuple[tuple[str, ...], Taxonomy | None]:
    """The foreground names in the order of their ids, and their taxonomy where one is given.

    Args:
        classes: the names themselves; the path of a YAML file with ``classes`` and, optionally, ``taxonomy``; or the
            name of a list that comes with the package, such as ``voc12``.

    Raises:
        InputError: the file is missing or holds something else.
    """
    if not isinstance(classes, str):
        return tuple(classes), None
    path = find_list(classes, ".yaml", "class list")
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        names, taxonomy = stored["classes"], stored.get("taxonomy")
        groups = (
            None if taxonomy is None else {str(g): _names(ns, f"{path}: taxonomy.{g}") for g, ns in taxonomy.items()}
        )
    except (yaml.YAMLError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a class list; it needs 'classes: [name, ...]'") from error
    return _names(names, f"{path}: classes"), groups


def _names(values: Any, where: str) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{where}: {values!r:.80} is not a list of names; write [name, ...]")
    for value in values:
        if isinstance(value, bool) or not isinstance(
            value, str | int | float
        ):  # YAML reads yes, no and null as its own
            raise InputError(f"{where}: {value!r:.80} is not a name; put it in quotes")
    return tuple(str(value) for value in values)


def unknown_class(name: str, classes: Iterable[str], where: str) -> str:
    """The one line about a name that no class has."""
    return f"{where}: unknown class '{name}'{did_you_mean(name, classes)}; correct it or add it to the classes"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``, did you mean 'dog'?`` where one of ``names`` is near, else nothing."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f", did you mean '{folded[near[0]]}'?" if near else ""
