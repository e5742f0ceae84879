"""Keys and passwords, taken out of whatever is written or printed."""

import base64
import html
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[key]"
RUN = 8  # characters of a secret that give it away
SHORTEST = 4  # a shorter secret is a dummy, for servers that want none
SIXTH = (RUN * 8) // 6  # base64 characters that depend on nothing but a run
# How one character may stand in JSON, in an address and in HTML.
ESCAPED = re.compile(r"\\u00([0-9a-f]{2})|\\x([0-9a-f]{2})|%([0-9a-f]{2})|\\([^ux])|(&#?\w{1,8};)", re.IGNORECASE)
LOWER = {ord(c): c.lower() for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}  # str.lower changes the length of some texts


class Secrets:
    """Hides secrets, whole or in runs of at least `RUN` characters: as they are, escaped, in base64 or hexadecimal.

    A secret of fewer characters is hidden where it is a word of its own.

    Examples:
        >>> Secrets("sk-0123456789").hide({"sk-01234567": ["key=%73k-0123456789!", 1]})
        {'[key]': ['key=[key]!', 1]}
    """

    def __init__(self, *secrets: str) -> None:
        runs: set[str] = set()
        words: set[str] = set()
        for secret in secrets:
            if SHORTEST <= len(secret) < RUN:
                words.add(secret.translate(LOWER))
            for form, length in _forms(secret) if len(secret) >= RUN else ():
                runs |= {form[at : at + length] for at in range(len(form) - length + 1)}
        self._runs, self._words = sorted(run.translate(LOWER) for run in runs), sorted(words)

    def hide(self, value: Any) -> Any:
        """A value of JSON, or a text, without the secrets: neither in texts nor in keys."""
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        return value

    def _hidden(self, text: str) -> str:
        plain, starts = _unescaped(text)
        found = [re.escape(run) for run in self._runs if run in plain]
        found += [rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])" for word in self._words if word in plain]
        if not found:
            return text
        parts: list[str] = []
        end = 0
        for match in re.finditer(f"(?=({'|'.join(found)}))", plain):
            first, last = starts[match.start(1)], starts[match.end(1)]
            if first > end or not parts:
                parts += [text[end:first], HIDDEN]
            end = max(end, last)
        return "".join([*parts, text[end:]])


def _forms(secret: str) -> list[tuple[str, int]]:
    """How a secret may be written, and the length of a run in each."""
    content = secret.encode()
    forms = [(secret, RUN), (content.hex(), 2 * RUN)]
    for before in range(3):  # base64 depends on how many bytes, modulo 3, stand before
        whole = base64.b64encode(bytes(before) + content).decode().rstrip("=")
        own = whole[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
        forms += [(own, SIXTH), (own.replace("+", "-").replace("/", "_"), SIXTH)]
    return forms


def _unescaped(text: str) -> tuple[str, range | list[int]]:
    """A text in lower case without escapes, and where each of its characters (and its end) stands in the original."""
    if not any(sign in text for sign in "\\%&"):
        return text.translate(LOWER), range(len(text) + 1)
    parts: list[str] = []
    starts: list[int] = []
    end = 0
    for match in ESCAPED.finditer(text):
        code, name = match[1] or match[2] or match[3], match[5]
        sign = chr(int(code, 16)) if code else html.unescape(name) if name else match[4]
        if len(sign) == 1:
            parts += [text[end : match.start()], sign]
            starts += [*range(end, match.start()), match.start()]
            end = match.end()
    parts.append(text[end:])
    starts += range(end, len(text) + 1)
    return "".join(parts).translate(LOWER), starts
