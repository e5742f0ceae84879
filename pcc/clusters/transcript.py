"""Every word between us and a model, as JSON Lines; and the same words again, without the model."""

import hashlib
import json
import os
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pcc.runtime.errors import InputError

FINISHED = "finished"


@dataclass(frozen=True)
class Request:
    """What a model is asked; equal requests have equal digests, whatever server they go to."""

    model: str
    messages: Sequence[Mapping[str, str]]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the request."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        text: the model's words.
        model: the model's id as the server reports it.
        usage: tokens as the server counts them.
        finish: why the server stopped: ``stop``, ``length``, …
    """

    text: str
    model: str
    usage: Mapping[str, Any] = field(default_factory=dict)
    finish: str | None = None


class Transcript:
    """A file that grows by one line per exchange; the one of the run before stays as ``*.previous.jsonl``.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            path.replace(path.with_suffix(".previous.jsonl"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def add(self, request: Request, **outcome: Any) -> None:
        """Append one exchange, on disk before the next begins."""
        self._append({"digest": request.digest, **asdict(request), **outcome})

    def finish(self, purpose: str) -> None:
        """Note that the conversation led to an answer.

        Args:
            purpose: digest of all that the answer depends on.
        """
        self._append({FINISHED: purpose})

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


def is_finished(path: Path, purpose: str) -> bool:
    """Whether the transcript at ``path`` led to an answer for the same purpose: nobody need be asked again."""
    if not path.is_file():
        return False
    return path.read_bytes().endswith(f"{json.dumps({FINISHED: purpose})}\n".encode())


class Replay:
    """The replies of a transcript, each given once, in order, to the request that it answered.

    Raises:
        InputError: the file is missing or no transcript.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, deque[Reply]] = defaultdict(deque)
        if not path.is_file():
            raise InputError(f"{path}: transcript is missing; check the path")
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                entry = json.loads(line)
                if FINISHED not in entry and entry.get("reply") is not None:
                    self.replies[entry["digest"]].append(Reply(**entry["reply"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{path}: line {number} is no exchange with a model; restore it") from error

    def ask(self, request: Request) -> Reply:
        """The recorded reply.

        Raises:
            InputError: this was not asked.
        """
        waiting = self.replies[request.digest]
        if not waiting:
            raise InputError(
                f"{self.path}: holds no (further) reply to what would be asked now; replay needs the class names, "
                "prompts and settings it was recorded with"
            )
        return waiting.popleft()
