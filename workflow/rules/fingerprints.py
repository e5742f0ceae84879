"""Fingerprints of code: `params: code=` reruns a stage if and only if its code has changed.

`Code.fingerprint` hashes the modules of a stage and all their imports in the package, without comments, docstrings and
formatting. Modules selected by name in the configuration (a method, a refinement) are passed explicitly.
See docs/decisions/0001-shell-and-fingerprints.md.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# Progress bars do not affect outputs.
SHOWS = "runtime.progress"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Code:
    """The source of one package.

    Args:
        root: parent folder of the package.
        package: name. Its `__init__.py` with the version is ignored.
    """

    def __init__(self, root: Path, package: str = "pcc") -> None:
        self.root, self.package = root, package
        self.ignored = {package, f"{package}.{SHOWS}"}
        # Called once per job; the code does not change during a run.
        self.fingerprint = cache(self._fingerprint)
        self._tree = cache(self._parse)

    def _fingerprint(self, *modules: str) -> str:
        """Twelve hex digits of the hash of these modules and their imports."""
        total = hashlib.sha256()
        for name in sorted(self.closure(*modules)):
            total.update(f"{name}\n{self._tree(name)[1]}\n".encode())
        return total.hexdigest()[:12]

    def closure(self, *modules: str) -> set[str]:
        """These modules and their direct and indirect imports in the package."""
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name in found or name in self.ignored or self._file(name) is None:
                continue
            found.add(name)
            # Importing a.b.c runs a.b as well.
            waiting += [*self._tree(name)[0], name.rpartition(".")[0]]
        return found

    def _file(self, name: str) -> Path | None:
        """File of a module; None for other names and packages."""
        if name.split(".")[0] != self.package:
            return None
        path = self.root.joinpath(*name.split("."))
        return next((p for p in (path.with_name(f"{path.name}.py"), path / "__init__.py") if p.is_file()), None)

    def _parse(self, name: str) -> tuple[tuple[str, ...], str]:
        """Imports of a module; its Python and C++ source without comments, docstrings and formatting."""
        file = self._file(name)
        assert file is not None
        tree = ast.parse(file.read_text(encoding="utf-8"))
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        imported = tuple(imports(tree, package))
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        return imported, "\n".join([ast.unparse(tree), *compiled_from(file)])


def compiled_from(file: Path) -> Iterator[str]:
    """The C++ sources beside a package's `__init__.py`, without comments and white space."""
    if file.name == "__init__.py":
        for source in sorted(p for p in file.parent.iterdir() if p.suffix in {".cpp", ".h"}):
            yield source.name + "".join(re.sub(r"//.*", "", source.read_text(encoding="utf-8")).split())


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that a module in `package` imports anywhere; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)
