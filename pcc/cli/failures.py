"""What a machine refuses, in a line: a full disk, a forbidden file, too little memory."""

import errno
import re
import sys

AGAIN = "then run the same again: finished work is kept"
ADVICE = {
    errno.ENOSPC: f"free some space, {AGAIN}",
    errno.EDQUOT: f"free some of your quota, {AGAIN}",
    errno.EFBIG: f"raise the limit for the size of files (ulimit -f), {AGAIN}",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOTDIR: "a file lies where a folder should be; move it, or name another place",
    errno.EEXIST: "a file lies where a folder should be; move it, or name another place",
    errno.EISDIR: "a folder lies where a file should be; name another place",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit for open files (ulimit -n)",
    errno.ENOMEM: "close other programs, or use fewer --threads or smaller images",
}
OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory|cannot allocate memory|failed to map segment", re.I)


def explained(error: BaseException) -> str | None:
    """One line for an error of the operating system or of memory; None for any other, which is a fault of ours."""
    if isinstance(error, BrokenPipeError):  # whoever read the output has gone
        return None
    if isinstance(error, OSError) and (error.errno or error.filename):
        what = (error.strerror or first_line(error)).lower()  # Pillow's encoders keep the system's reason to themselves
        advice = ADVICE.get(error.errno or 0, f"see whether the disk is full or failing, {AGAIN}")
        return f"{error.filename}: {what}; {advice}" if error.filename else f"{what}; {advice}"
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return f"out of memory; {ADVICE[errno.ENOMEM]}"
    if isinstance(error, RuntimeError | ImportError) and OUT_OF_MEMORY.search(str(error)):
        return f"out of memory ({first_line(error)}); {ADVICE[errno.ENOMEM]}"
    return None


def first_line(error: BaseException) -> str:
    """The start of an error's text."""
    return str(error).strip().splitlines()[0][:120]
