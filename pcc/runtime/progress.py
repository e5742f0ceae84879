"""Progress of long work: a bar on a terminal, plain lines with an estimate of the time left elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger("pcc")
T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def track(
    iterable: Iterable[T], description: str, total: int | None = None, *, done: int = 0, status: Callable[[], str] = str
) -> Iterator[T]:
    """Yield from ``iterable`` while showing progress on standard error.

    Args:
        iterable: the items.
        description: the few words before the numbers.
        total: number of items, if ``iterable`` has no length.
        done: items finished by an earlier run, counted in ``total``.
        status: gives a few words after the numbers, such as the loss.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    show = _bar if sys.stderr.isatty() else _plain_lines
    yield from show(iterable, description, total, done, status)


def _bar(
    iterable: Iterable[T], description: str, total: int | None, done: int, status: Callable[[], str]
) -> Iterator[T]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[status]}")) as progress:
        task = progress.add_task(description, total=total, completed=done, status="")
        for item in iterable:
            yield item
            progress.update(task, advance=1, status=status())


def _plain_lines(
    iterable: Iterable[T], description: str, total: int | None, done: int, status: Callable[[], str]
) -> Iterator[T]:
    start = last = time.monotonic()
    count = done
    for count, item in enumerate(iterable, done + 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (
                "" if total is None else f"/{total}, {duration((now - start) / (count - done) * (total - count))} left"
            )
            log.info("%s: %d%s %s", description, count, left, status())
    log.info("%s: %d done in %s %s", description, count, duration(time.monotonic() - start), status())


def duration(seconds: float) -> str:
    """``3725`` → ``1h02m``, ``65`` → ``1m05s``, ``3.2`` → ``3.2s``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"
