"""Image ids: one safe file name each, because masks and maps are stored under them."""

from pathlib import PurePosixPath


def fault(image_id: str) -> str | None:
    """What is wrong with an image id, or None.

    An id is a plain file name without its suffix. Whatever could lead out of the folder it is written to is
    refused: ``/``, a backslash, a drive (``C:``), ``..``; so are blank ends, control characters and a leading
    dot.
    """
    if not image_id or image_id != image_id.strip() or not image_id.isprintable():
        return "is empty, or has blanks at its ends or control characters"
    if any(sign in image_id for sign in "/\\:"):
        return "has a path in it"
    return "starts with a dot" if image_id.startswith(".") else None


def from_file_name(name: str) -> str:
    """The id of an image given by its path inside the image folder: ``cats/1.jpg`` → ``cats__1``.

    A path that leads out of the folder stays as it is, so that `fault` refuses it.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return name
    return "__".join(path.with_suffix("").parts)
