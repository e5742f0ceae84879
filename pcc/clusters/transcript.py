"""Every exchange with a model, one JSON line each. What was answered once is not asked, or paid for, again."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pcc.runtime.errors import InputError
from pcc.runtime.files import write_text

WORDS = ("model", "messages", "options")
QUESTION = (*WORDS, "server", "response_format")


class Reply(BaseModel):
    """What came back: text, model and tokens as the server reports them, and why it stopped (``stop``, ``length``)."""

    text: str
    model: str
    usage: dict[str, int] = {}
    finish: str | None = None


class Transcript:
    """The exchanges behind one answer, the replies of earlier runs among them.

    Equal questions take the recorded replies in order, since several samples may begin with the same question.

    Args:
        path: the file; it grows by one line per exchange, whatever ends the run.
        replay: the transcript to repeat instead: nobody is asked, nothing is written, and any server's replies do.

    Raises:
        InputError: the transcript to repeat is missing or no transcript.
    """

    def __init__(self, path: Path, replay: Path | None = None) -> None:
        self.path, self.replay = path, replay
        self.used: list[dict[str, Any]] = []
        self._waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
        source = replay or path
        if replay and not replay.is_file():
            raise InputError(f"{replay}: transcript is missing; check the path")
        stored = (source.is_file() and source.read_bytes()) or b"\n"
        self._torn = not stored.endswith(b"\n")  # killed within a line
        for number, line in enumerate(stored.splitlines(), 1):
            try:
                self._keep(json.loads(line))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                if replay:
                    fault = f"{replay}: line {number} is no exchange with a model; restore it"
                    raise InputError(fault) from error

    @property
    def replies(self) -> list[Reply]:
        """The replies so far, new ones and kept ones."""
        return [Reply(**entry["reply"]) for entry in self.used]

    def kept(self, question: Mapping[str, Any]) -> Reply | None:
        """The next recorded reply to a question; None: it must be asked.

        Args:
            question: a value for each of `QUESTION`.

        Raises:
            InputError: in a replay, the question has no (further) reply.
        """
        if waiting := self._waiting[self._key(question)]:
            self.used.append(waiting.pop(0))
            return Reply(**self.used[-1]["reply"])
        if self.replay:
            raise InputError(
                f"{self.replay}: holds no (further) reply to what would be asked now; replay needs the class names, "
                "prompts and settings it was recorded with"
            )
        return None

    def add(self, question: Mapping[str, Any], **outcome: Any) -> None:
        """Append one exchange, on disk before the next begins."""
        entry = {"digest": self._key(question), **question, **outcome}
        self._append(entry)
        if "reply" in entry:
            self.used.append(entry)

    def give_up(self, count: int) -> None:
        """Note that the last ``count`` replies led nowhere: a later run asks for them again."""
        if not self.replay:
            self._append({"given_up": [self._key(entry) for entry in self.used[-count:]]})

    def finish(self) -> None:
        """Leave what led to the answer, in order; the file with all the rest stays as ``*.previous.jsonl``."""
        text = "".join(json.dumps(entry) + "\n" for entry in self.used)
        if not self.replay and self.path.read_bytes() != text.encode():
            self.path.with_suffix(".previous.jsonl").write_bytes(self.path.read_bytes())
            write_text(self.path, text)

    def _keep(self, entry: dict[str, Any]) -> None:
        if entry.get("reply") is not None:
            Reply(**entry["reply"])
            self._waiting[self._key(entry)].append(entry)
        elif not self.replay:
            for key in entry.get("given_up", ()):
                del self._waiting[key][-1:]

    def _key(self, entry: Mapping[str, Any]) -> str:
        return digest([entry.get(part) for part in (WORDS if self.replay else QUESTION)])

    def _append(self, entry: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._torn + json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._torn = False


def digest(value: Any) -> str:
    """SHA-256 of a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
