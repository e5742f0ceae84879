"""``python held.py WORDS…``: ``pcc WORDS…``, but a training says "held" after its fourth step and waits for a line.

Of several processes the first is held, and so are the others, which cannot end a step without it.
"""

import subprocess
import sys
from typing import Any

from pcc.cli import main
from pcc.training.losses import LossLog

STEP = 4
note, start = LossLog.add, subprocess.Popen


def add(log: LossLog, *told: Any) -> None:
    note(log, *told)
    if log.main and len(log.buffer) == STEP:
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.readline()


def popen(command: Any, *words: Any, **options: Any) -> "subprocess.Popen[bytes]":
    """The processes of one training are held like this one."""
    ours = command[:3] == [sys.executable, "-m", "pcc"]
    return start([sys.executable, __file__, *command[3:]] if ours else command, *words, **options)


LossLog.add = add  # type: ignore[method-assign]
subprocess.Popen = popen  # type: ignore[assignment,misc]
main()
