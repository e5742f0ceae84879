"""Ranges of settings as a JSON schema writes them: in words, and what the standard's own keywords do not cover.

Read by the workflow's rules too, so it imports the standard library only.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 60  # characters of a value that a message shows
DEEPEST = 5  # levels of a block that is passed on
STRIDES = (4, 8, 16, 32)
# Arguments of timm.create_model that open files, fetch weights, or make something else than an encoder.
NOT_OF_A_NETWORK = {
    "cache_dir", "checkpoint_path", "exportable", "features_only", "in_chans", "model_name", "no_jit", "num_classes",
    "out_indices", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "scriptable",
}  # fmt: skip


def is_one_line(text: Any, _: bool) -> bool:
    """Whether text has no line break or other control character."""
    return not isinstance(text, str) or text.isprintable()


def is_ordered(pair: Any, _: bool) -> bool:
    """Whether the second of two numbers is no smaller than the first."""
    numbers = isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(end, int | float) for end in pair)
    return not numbers or pair[0] <= pair[1]


def are_distinct(items: Any, key: str) -> bool:
    """Whether no two blocks, or objects, have the same value under ``key``."""
    if not isinstance(items, list | tuple):
        return True
    values = [item.get(key) if isinstance(item, Mapping) else getattr(item, key, None) for item in items]
    return all(value not in values[:number] for number, value in enumerate(values))


def is_plain(value: Any, largest: int, deep: int = DEEPEST) -> bool:
    """Whether a block passed on to another library holds only short text, small finite numbers, and lists of them."""
    match value:
        case None | bool():
            return True
        case int() | float():
            return math.isfinite(value) and abs(value) <= largest
        case str():
            return len(value) <= 1000 and value.isprintable()
        case Mapping():
            texts = all(isinstance(key, str) for key in value)
            return texts and is_plain([*value, *value.values()], largest, deep)
        case list() | tuple():
            return len(value) <= 200 and deep > 0 and all(is_plain(item, largest, deep - 1) for item in value)
    return False


def is_architecture(settings: Any, largest: int) -> bool:
    """Whether settings of a timm network are plain and not negative, and neither load a file nor set a bad stride."""
    if not isinstance(settings, Mapping):
        return True
    numbers = [n for value in settings.values() for n in (value if isinstance(value, list | tuple) else [value])]
    negative = any(isinstance(number, int | float) and number < 0 for number in numbers)
    stride = settings.get("output_stride", 32)
    loads = NOT_OF_A_NETWORK & {key for key in settings if isinstance(key, str)}
    return is_plain(settings, largest) and not negative and not loads and type(stride) is int and stride in STRIDES


# Keywords of the schema that JSON schema does not have: whether a value of the right type fulfils them.
KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    "oneLine": is_one_line,
    "ordered": is_ordered,
    "distinct": are_distinct,
    "plain": is_plain,
    "architecture": is_architecture,
}


def refusal(where: str, value: Any, rules: Mapping[str, Any]) -> str:
    """The line about a value that is not allowed.

    Examples:
        >>> refusal("training.batch_size", 0, {"type": "integer", "minimum": 1, "maximum": 8})
        'training.batch_size: 0 is not allowed; a whole number from 1 to 8'
    """
    return f"{where}: {shown(value)} is not allowed; {in_words(rules)}"


def shown(value: Any) -> str:
    """A value as YAML would have it, on one line, shortened in the middle."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits; a block that holds itself
        text = type(value).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]} … ({_size(value)})"


def _size(value: Any) -> str:
    if isinstance(value, str):
        return f"{len(value)} characters"
    return f"{len(value)} items" if isinstance(value, list | tuple | dict) else "shortened"


def in_words(rules: Mapping[str, Any]) -> str:
    """What a JSON schema allows.

    Examples:
        >>> in_words({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 4}, {"type": "null"}]})
        'a number above 0, at most 4, or null'
        >>> in_words({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2, "ordered": True})
        'a list of 2 items in ascending order, each a whole number'
    """
    if "anyOf" in rules:
        return _either([in_words(rule) for rule in rules["anyOf"]])
    if "enum" in rules:
        return "one of " + ", ".join(map(_plain, rules["enum"])) if len(rules["enum"]) > 1 else _plain(rules["enum"][0])
    if "const" in rules:
        return _plain(rules["const"])
    if isinstance(kinds := rules.get("type"), list):
        return _either([in_words({**rules, "type": kind}) for kind in kinds])
    unit = f" ({rules['unit']})" if "unit" in rules else ""
    match kinds:
        case "integer" | "number":
            number = "a whole number" if kinds == "integer" else "a number"
            factor = f", a multiple of {rules['multipleOf']}" if "multipleOf" in rules else ""
            return number + _interval(rules) + factor + unit
        case "array":
            items = in_words(rules["items"]) if rules.get("items") else ""
            order = " in ascending order" if rules.get("ordered") else ""
            distinct = "all different" if rules.get("uniqueItems") else ""
            if "distinct" in rules:
                distinct = f"each with another {rules['distinct']}"
            parts = [f"a list{_length(rules, 'Items', 'item')}{order}", distinct, items and f"each {items}"]
            return ", ".join(filter(None, parts))
        case "string":
            if rules.get("unit") == "path":
                return f"a path{_length(rules, 'Length', 'character')}"
            line = " on one line" if rules.get("oneLine") else ""
            return f"text{_length(rules, 'Length', 'character')}{line}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "object":
            if "architecture" in rules:
                return (
                    f"a block of text, numbers from 0 to {rules['architecture']} and lists of them, for timm; "
                    f"output_stride one of {', '.join(map(str, STRIDES))}, and nothing that loads a file"
                )
            plain = f" of text, numbers up to {_number(rules['plain'])} and lists of them" if "plain" in rules else ""
            return "a block of settings" if "properties" in rules else f"a block{plain}"
    return "any value"


def _either(parts: list[str]) -> str:
    *first, last = parts
    comma = "," if any("," in part for part in first) else ""
    return f"{', '.join(first)}{comma} or {last}" if first else last


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _interval(rules: Mapping[str, Any]) -> str:
    low, above = rules.get("minimum"), rules.get("exclusiveMinimum")
    high, below = rules.get("maximum"), rules.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    ends = [("of at least", low), ("above", above), ("at most", high), ("below", below)]
    found = [f"{word} {_number(end)}" for word, end in ends if end is not None]
    return " " + ", ".join(found) if found else ""


def _number(value: int | float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _length(rules: Mapping[str, Any], of: str, what: str) -> str:
    least, most = rules.get(f"min{of}", 0), rules.get(f"max{of}")
    if most is None:
        return f" of at least {least} {what}{'s' * (least != 1)}" if least else ""
    if least == most:
        return f" of {most} {what}{'s' * (most != 1)}"
    return f" of {least} to {most} {what}s" if least else f" of at most {most} {what}s"
