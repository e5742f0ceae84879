"""What the operating system refuses, in a line: a full disk, a forbidden file."""

import errno

from pcc.runtime.errors import reason

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


def explained(error: OSError) -> str | None:
    """One line for what the operating system refuses; None for a reader of our output that has gone."""
    if isinstance(error, BrokenPipeError) or not (error.errno or error.filename):
        return None
    what = (error.strerror or reason(error)).lower()  # Pillow's encoders keep the system's reason to themselves
    advice = ADVICE.get(error.errno or 0, f"see whether the disk is full or failing, {AGAIN}")
    return f"{error.filename}: {what}; {advice}" if error.filename else f"{what}; {advice}"
