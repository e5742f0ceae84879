"""Image ids: one safe file name each, because masks and maps are stored under them."""

import unicodedata
from pathlib import PurePosixPath

MAX_BYTES = 200  # file systems end at 255, and temporary names and suffixes are longer than the id
RESERVED = ("__metadata__",)  # safetensors keeps it for itself


def fault(image_id: str) -> str | None:
    """What is wrong with an image id, or None.

    An id is a plain file name without its suffix. Whatever could lead out of the folder it is written to is
    refused: ``/``, a backslash, a drive (``C:``), ``..``; so are blank ends, control characters, a leading dot, and
    what files or artifacts cannot be named.
    """
    if not is_utf8(image_id):
        return "is not UTF-8"
    if not image_id or image_id != image_id.strip() or not image_id.isprintable():
        return "is empty, or has blanks at its ends or control characters"
    if any(sign in image_id for sign in "/\\:"):
        return "has a path in it"
    if image_id.startswith("."):
        return "starts with a dot"
    if len(image_id.encode()) > MAX_BYTES:
        return f"is longer than {MAX_BYTES} bytes"
    return "is reserved" if image_id in RESERVED else None


def is_utf8(name: str) -> bool:
    """Whether a name can be written to a table; one of another encoding holds Python's stand-ins for its bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def on_disk(image_id: str) -> str:
    """What file systems make of an id that tell neither cases nor ways to write an accent apart; results travel."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", image_id).casefold())


def from_file_name(name: str) -> str:
    """The id of an image given by its path inside the image folder: ``cats/1.jpg`` → ``cats__1``.

    A path that leads out of the folder stays as it is, so that `fault` refuses it.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return name
    return "__".join(path.with_suffix("").parts)
