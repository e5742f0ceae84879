"""``python killed.py PATTERN NUMBER WORDS…``: ``pcc WORDS…``, killed as it is about to add a file to NUMBER others.

PATTERN is the absolute path that all these files match. They appear by being renamed, so the kill comes at the last
moment before one more is whole, on any machine.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

pattern, number = Path(sys.argv.pop(1)), int(sys.argv.pop(1))
MAIN = os.getpid()  # a process of a pool, which may be the one to rename, kills this one and itself


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "os.rename":
        return
    target = Path(os.fsdecode(arguments[1]))
    there = target.parent == pattern.parent and target.match(pattern.name)
    if there and len(list(pattern.parent.glob(pattern.name))) >= number:
        os.kill(MAIN, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(watch)

from pcc.cli import main  # noqa: E402 - watched too

main()
