"""Names and other people's words made safe to stand in Markdown. Applied where they are written, and only there."""

import re
from urllib.parse import quote

# What marks something up; a bar ends a cell of a table, addresses become links. An underscore within a word marks
# nothing, and image ids are full of them.
MARKS = re.compile(r"[&<>|@\\`*\[\]#~$]|(?<![^\W_])_|_(?![^\W_])|(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE)
NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
TICKS = re.compile("`+")


def one_line(value: object) -> str:
    """Text on one line: control characters, line separators and direction marks are shown, not obeyed.

    Examples:
        >>> one_line("a\\nb\\t\\x1b[31m")
        'a b \\\\x1b[31m'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(value).split()))


def inline(value: object) -> str:
    """Text for a paragraph, a heading, a cell of a table or a link: shown as it is.

    Signs become entities, as renderers disagree on what a backslash may stand before.

    Examples:
        >>> inline("im_01 <b> | *x")
        'im_01 &lt;b&gt; &#124; &#42;x'
    """
    return MARKS.sub(lambda match: NAMED.get(match[0], f"&#{ord(match[0])};"), one_line(value))


def code(value: object) -> str:
    """Text as inline code, whatever backticks it holds."""
    text = one_line(value)
    fence = "`" * (1 + max((len(run) for run in TICKS.findall(text)), default=0))
    space = " " if len(fence) > 1 or text != text.strip() or not text else ""
    return f"{fence}{space}{text}{space}{fence}"


def block(text: str, language: str = "") -> str:
    """Lines as a block of code, whatever backticks they hold."""
    fence = "`" * max(3, 1 + max((len(run) for run in TICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}"


def picture(alt: object, file: str) -> str:
    """An image of a file beside the text."""
    return f"![{inline(alt)}]({quote(file)})"
