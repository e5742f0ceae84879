"""Types of settings with their ranges, and the JSON schema of a function's settings.

Every range has two ends, so that no setting asks for memory or time without bounds. Upper ends are far beyond what the
field uses. `call_with` checks values against these types; `schema_of` writes them down for the check of a
configuration, which must not import the modules themselves.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema

from pcc.runtime.ranges import KEYWORDS

T = TypeVar("T")

# No conversion between text, numbers and booleans; no NaN, no infinity.
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?e[-+]?\d+", re.IGNORECASE)  # numbers that YAML 1.1 reads as text
STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def limits(unit: str | None = None, **given: Any) -> Any:
    """Limits as of `pydantic.Field`, with a unit for messages and documentation."""
    return Field(**given, json_schema_extra={"unit": unit} if unit else None)


@dataclass(frozen=True)
class Rule:
    """One of our `KEYWORDS`, on a value of the right type."""

    keyword: str
    wanted: Any = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), self.keyword: self.wanted}

    def _check(self, value: T) -> T:
        if not KEYWORDS[self.keyword](value, self.wanted):
            raise ValueError(self.keyword)
        return value


# Text
Name = Annotated[str, limits(min_length=1, max_length=64), Rule("oneLine")]
Text = Annotated[str, limits(min_length=1, max_length=1000), Rule("oneLine")]
File = Annotated[str, limits("path", min_length=1, max_length=4000), Rule("oneLine")]
Separator = Annotated[str, limits(min_length=1, max_length=16)]
ClassNames = Annotated[Sequence[Text], limits(min_length=1, max_length=254)]  # ids are bytes; 0 and 255 are taken

# Whole numbers
Seed = Annotated[int, limits(ge=0, le=2**32 - 1)]
Count = Annotated[int, limits(ge=1, le=65536)]
CountOrZero = Annotated[int, limits(ge=0, le=65536)]
ImageCount = Annotated[int, limits("images", ge=1, le=65536)]
Pixels = Annotated[int, limits("pixels", ge=1, le=8192)]
Channels = Annotated[int, limits("channels", ge=1, le=8192)]
Cells = Annotated[int, limits("cells", ge=2, le=32)]
Epochs = Annotated[int, limits("epochs", ge=1, le=100_000)]
EpochsOrZero = Annotated[int, limits("epochs", ge=0, le=100_000)]
Steps = Annotated[int, limits("steps", ge=1, le=1_000_000)]
Iterations = Annotated[int, limits("iterations", ge=0, le=1000)]
Blocks = Annotated[int, limits("blocks", ge=0, le=1000)]

# Numbers
Fraction = Annotated[float, limits(ge=0, le=1)]
Dropout = Annotated[float, limits(ge=0, lt=1)]
Positive = Annotated[float, limits(gt=0, le=1_000_000)]
Weight = Annotated[float, limits(ge=0, le=10_000)]
Factor = Annotated[float, limits(ge=0, le=1000)]
Exponent = Annotated[float, limits(gt=0, le=1000)]
Epsilon = Annotated[float, limits(ge=1e-12, le=10)]
Rate = Annotated[float, limits(gt=0, le=100)]
RateOrZero = Annotated[float, limits(ge=0, le=100)]
Scale = Annotated[float, limits(ge=0.05, le=8)]
Scales = Annotated[Sequence[Scale], limits(min_length=1, max_length=32)]


# What pydantic calls the limits of `int | float` in a schema.
LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
PAIR = limits(min_length=2, max_length=2)  # with Rule("ordered"): the smaller first
# Keyword arguments for another library, which knows their names.
PassedOn = Annotated[dict[str, Any], Rule("plain", 8192)]
Architecture = Annotated[dict[str, Any], Rule("architecture", 8192)]


@dataclass(frozen=True)
class SettingsOf:
    """Marks a parameter that holds the settings of another function or class, to check them with its own.

    Attributes:
        target: ``module:function``, by name: the module is loaded, and its code depended on, only where it is used.
        fixed: keywords that do not come from the configuration.
    """

    target: str
    fixed: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        """The function or class."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Signature:
    """What a function or class takes by keyword.

    Attributes:
        named: parameters.
        hints: their types.
        open_ended: whether any other keyword is taken too.
    """

    named: Mapping[str, inspect.Parameter]
    hints: Mapping[str, Any]
    open_ended: bool
    _adapters: dict[str, Any] = field(default_factory=dict)

    def convert(self, key: str, value: Any) -> Any:
        """The value as the type of ``key``.

        Raises:
            pydantic.ValidationError: not of this type.
        """
        if key not in self._adapters:
            self._adapters[key] = _adapter(self.hints[key]) if key in self.hints else None
        adapter = self._adapters[key]
        if adapter is None:
            return value
        try:
            return adapter.validate_python(value)
        except ValidationError:
            if isinstance(value, str) and EXPONENT.fullmatch(value):
                return adapter.validate_python(float(value))
            raise


@cache
def signature_of(function: Callable[..., Any]) -> Signature:
    """Keywords of a function or class.

    A constructor that takes ``**settings`` hands them to that of its base class, so the base's keywords count as well.
    """
    named: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    bases = function.__mro__ if inspect.isclass(function) else ()
    for maker in [vars(base)["__init__"] for base in bases if "__init__" in vars(base)] or [function]:
        parameters = inspect.signature(maker).parameters
        keywords = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        named, hints = {**keywords, **named}, {**get_type_hints(maker, include_extras=True), **hints}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            named.pop("self", None)
            return Signature(named, hints, False)
    return Signature(named, hints, True)


def block_in(hint: Any) -> SettingsOf | type | None:
    """The dataclass, or the function marked by `SettingsOf`, whose settings a type holds: one block or a list."""
    for part in (hint, *getattr(hint, "__metadata__", ())):
        if isinstance(part, SettingsOf) or (isinstance(part, type) and is_dataclass(part)):
            return part
    inner = [block for part in get_args(hint) if (block := block_in(part))]
    return inner[0] if inner else None


def schema_of(function: Callable[..., Any], fixed: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of a function's settings.

    Args:
        function: what the settings configure.
        fixed: keywords that do not come from the configuration.
    """
    signature = signature_of(function)
    meanings = _meanings(function)
    free = {name: parameter for name, parameter in signature.named.items() if name not in fixed}
    properties = {}
    for name, parameter in free.items():
        properties[name] = schema_of_type(signature.hints.get(name, Any))
        if name in meanings:
            properties[name]["description"] = meanings[name]
        if parameter.default is not inspect.Parameter.empty:
            properties[name]["default"] = parameter.default
    required = [name for name, parameter in free.items() if parameter.default is inspect.Parameter.empty]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _meanings(function: Callable[..., Any]) -> dict[str, str]:
    """Descriptions of parameters, from the docstrings of a function, or of a class and its bases."""
    found: dict[str, str] = {}
    for owner in reversed(function.__mro__) if inspect.isclass(function) else [function]:
        section = re.search(r"\n(?:Args|Attributes):\n(.*?)(?=\n\S|\Z)", inspect.getdoc(owner) or "", re.DOTALL)
        entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE)
        found |= {name: " ".join(text.split()).rstrip(".") for name, text in entries}
    return found


def schema_of_type(hint: Any) -> dict[str, Any]:
    """The JSON schema of one setting."""
    block = block_in(hint)
    inner = None
    if isinstance(block, SettingsOf):
        inner = schema_of(block.load(), block.fixed)
    elif block is not None:
        inner = schema_of(block)
    rules: dict[str, Any] = {} if (adapter := _adapter(hint)) is None else adapter.json_schema()
    rules.pop("$defs", None)
    rules = _tidied(rules)
    return rules if inner is None else _with_block(rules, inner)


def _tidied(rules: dict[str, Any]) -> dict[str, Any]:
    """pydantic's schema with `int | float` as a number, and items last: the length of a list is looked at first."""
    choices = [_tidied(rule) for rule in rules.pop("anyOf", [])]
    numbers = [rule | {"type": "integer"} for rule in choices if rule.get("type") == "number"]
    match [rule for rule in choices if rule not in numbers]:
        case [only]:
            rules = only | {LIMITS.get(key, key): value for key, value in rules.items()}
        case [_, *_] as several:
            rules["anyOf"] = several
    if "items" in rules:
        rules["items"] = _tidied(rules.pop("items"))
    return rules


def _with_block(rules: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """``rules`` with ``inner`` in place of the block they hold."""
    if "anyOf" in rules:
        return {"anyOf": [rule if rule.get("type") == "null" else _with_block(rule, inner) for rule in rules["anyOf"]]}
    return {**rules, "items": inner} if rules.get("type") == "array" else inner


def _adapter(hint: Any) -> Any:
    """pydantic's validator of a type; None for types that it does not know, such as arrays."""
    try:
        own = block_in(hint) is hint
        return TypeAdapter(hint) if own else TypeAdapter(hint, config=STRICT)
    except PydanticSchemaGenerationError:
        return None
