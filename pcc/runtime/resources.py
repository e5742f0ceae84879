"""Files that come with the package: class lists, nouns, prompts."""

from importlib.resources import files
from pathlib import Path

from pcc.runtime.errors import InputError


def packaged(name: str) -> Path:
    """A file of `pcc/resources`."""
    return Path(str(files("pcc"))) / "resources" / name


def find_list(name: str, suffix: str, what: str) -> Path:
    """The file at a path or, by its bare name, a list that comes with the package.

    Args:
        name: a path, or such as ``voc12``.
        suffix: of the packaged lists of this kind.
        what: what the list is called in the message.

    Raises:
        InputError: neither; the message lists both possibilities.
    """
    lists = {path.stem: path for path in sorted(packaged("").glob(f"*{suffix}"))}
    path = Path(name) if Path(name).is_file() else lists.get(name)
    if path is None:
        raise InputError(f"{name}: {what} is missing; give the path of a {suffix} file or one of {', '.join(lists)}")
    return path
