"""The prompts: templates from a file, and class names made safe to stand in them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from pcc.runtime.errors import InputError

PLACEHOLDERS = {
    "system": set[str](),
    "initial": {"count", "categories"},
    "extend": {"count", "categories", "clusters"},
    "repair": {"count", "faults"},
    "refine": {"count", "clusters"},
}
EXAMPLES = 5  # members by which an existing cluster is shown when more names are to be sorted in
Message = dict[str, str]
Clusters = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Prompts:
    """One file of templates.

    Attributes:
        version: as the file says.
        digest: SHA-256 of the file.
        templates: by the keys of `PLACEHOLDERS`.
        descriptions: class name → one line about it; may be empty.
    """

    version: int
    digest: str
    templates: Mapping[str, str]
    descriptions: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, descriptions: Mapping[str, str]) -> "Prompts":
        """Read templates.

        Raises:
            InputError: the file is missing or no such file, or a template lacks a placeholder or has an unknown one.
        """
        stored = read_yaml(path)
        faults = []
        for name, wanted in PLACEHOLDERS.items():
            text = stored.get(name)
            if not isinstance(text, str):
                faults.append(f"{path}: prompt '{name}' is missing")
            elif not Template(text).is_valid() or set(Template(text).get_identifiers()) != wanted:
                needed = ", ".join(f"${{{p}}}" for p in sorted(wanted)) or "no placeholder"
                faults.append(f"{path}: prompt '{name}' must hold {needed} and no other $ (write $$ for a dollar)")
        faults += [f"{path}: unknown prompt '{k}'" for k in stored if k not in {*PLACEHOLDERS, "version"}]
        if not isinstance(stored.get("version"), int):
            faults.append(f"{path}: 'version' must be a whole number")
        if faults:
            raise InputError(faults)
        templates = {name: stored[name] for name in PLACEHOLDERS}
        return cls(stored["version"], hashlib.sha256(path.read_bytes()).hexdigest(), templates, descriptions)

    def initial(self, names: Sequence[str]) -> list[Message]:
        """Ask for a grouping of ``names``."""
        return self._asked("initial", count=len(names), categories=self._categories(names))

    def extend(self, clusters: Clusters, names: Sequence[str]) -> list[Message]:
        """Ask to sort further ``names`` into ``clusters`` or new ones."""
        shown = as_data(listed({name: group[:EXAMPLES] for name, group in clusters.items()}))
        return self._asked("extend", count=len(names), categories=self._categories(names), clusters=shown)

    def refine(self, clusters: Clusters) -> list[Message]:
        """Ask to look at ``clusters`` again."""
        count = sum(map(len, clusters.values()))
        return self._asked("refine", count=count, clusters=as_data(listed(clusters)))

    def repair(self, faults: Sequence[str], count: int) -> Message:
        """What follows an answer that cannot be used."""
        text = Template(self.templates["repair"]).substitute(count=count, faults=as_data(list(faults)))
        return {"role": "user", "content": text}

    def _categories(self, names: Sequence[str]) -> str:
        told = self.descriptions
        return as_data([{"name": n, "description": told[n]} if n in told else n for n in names])

    def _asked(self, template: str, **values: Any) -> list[Message]:
        return [
            {"role": "system", "content": self.templates["system"]},
            {"role": "user", "content": Template(self.templates[template]).substitute(values)},
        ]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        InputError: missing, unreadable, or no mapping.
    """
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(stored, dict):
        raise InputError(f"{path}: holds {type(stored).__name__}, not 'key: value' lines; correct it")
    return stored


def listed(clusters: Clusters) -> list[dict[str, Any]]:
    """The form in which a model answers."""
    return [{"name": name, "members": list(group)} for name, group in clusters.items()]


def as_data(value: Sequence[Any]) -> str:
    """A JSON list, one item per line, in which nothing can close the data block or hide from a reader.

    JSON itself escapes quotes and line feeds; angle brackets and characters without a picture (line separators,
    direction marks) are escaped too.
    """
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in value)
    text = f"[\n{lines}\n]".translate({ord("<"): r"\u003c", ord(">"): r"\u003e"})
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)
