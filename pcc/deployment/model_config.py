"""Validation of config.json, the description of an exported model, before any of it is used.

A stranger may have written it, so it names no file but those beside it, and no setting that opens one.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pcc.deployment.predictor import Prediction
from pcc.ids import BACKGROUND, IGNORE
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import read_object
from pcc.runtime.ranges import shown

MODEL, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
FORMAT = "pcc segmenter 1"
REMEDY = "export the model again, or ask who made it"

# Arguments of timm's and segmentation-models-pytorch's networks that describe their layers and nothing else. Not among
# them: whatever names weights, files, classes, other outputs or code.
_NAMES = (
    "act_layer aspect_ratio attn_drop_rate attn_ratio avg_down base_width block_args cardinality channels class_token "
    "conv_mlp decoder_aspp_dropout decoder_aspp_separable decoder_atrous_rates decoder_attention_type "
    "decoder_channels decoder_dropout decoder_interpolation decoder_merge_policy decoder_out_channels "
    "decoder_pyramid_channels decoder_segmentation_channels decoder_use_batchnorm decoder_use_norm depth depths dims "
    "drop_path_rate drop_rate dynamic_img_pad dynamic_img_size embed_dim encoder_depth encoder_output_stride fc_norm "
    "global_pool img_size init_values kernel_sizes layers ls_init_value mlp_ratio no_embed_class num_heads "
    "output_stride patch_size pos_embed proj_drop_rate qk_norm qkv_bias reg_tokens replace_stem_pool stem_chs "
    "stem_type stem_width strict_img_size upsampling use_abs_pos window_size"
)
SETTINGS = frozenset(_NAMES.split())
# Read as numbers or as names of layers, never as code.
WORD = re.compile(r"[A-Za-z0-9_.\-]{0,100}", re.ASCII)
LARGEST_NUMBER, LONGEST_LIST, DEEPEST = 2**16, 1000, 8
C = TypeVar("C", bound=BaseModel)
HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, surrogates, separators of lines


def _one_line(text: str) -> str:
    if not text.strip() or any(unicodedata.category(sign) in HIDDEN for sign in text):
        raise ValueError("must be text on one line, without control characters")
    return text


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must be distinct")
    return values


def _layers(model: dict[str, Any]) -> dict[str, Any]:
    if fault := _fault(model):
        raise ValueError(fault)
    return model


def _fault(value: Any, key: str = "", depth: int = 0) -> str | None:
    """What is wrong with a value of ``model``: more than names and bounded numbers, weights, or unknown settings."""
    if depth > DEEPEST:
        return f"{shown(key)} is nested too deep"
    if isinstance(value, Mapping):
        if key == "settings" and (unknown := sorted(set(value) - SETTINGS)):
            return f"setting {shown(unknown[0])} is not allowed in an exported model"
        if strange := [name for name in value if not WORD.fullmatch(name)]:
            return f"{shown(strange[0])} is no name of a setting"
        if value.get("weights", "random") != "random":
            return f"weights must be 'random', not {shown(value['weights'])}: they are in {MODEL}"
        return _first(_fault(item, name, depth + 1) for name, item in value.items())
    if isinstance(value, list):
        if len(value) > LONGEST_LIST:
            return f"{shown(key)} is a list of {len(value)} values"
        return _first(_fault(item, key, depth + 1) for item in value)
    if isinstance(value, str):
        return None if WORD.fullmatch(value) else f"{shown(key)} must be a plain name, not {shown(value)}"
    if value is None or isinstance(value, bool) or abs(value) <= LARGEST_NUMBER:
        return None
    return f"{shown(key)} must be at most {LARGEST_NUMBER}, not {shown(value)}"


def _prediction(settings: dict[str, Any]) -> dict[str, Any]:
    """All settings of `Prediction`, those that are not given by default."""
    try:
        return vars(call_with(Prediction, settings, "prediction"))
    except InputError as error:
        raise ValueError(error.problems[0]) from error


def _first(faults: Iterable[str | None]) -> str | None:
    return next((fault for fault in faults if fault), None)


Line = Annotated[str, Field(max_length=10_000), AfterValidator(_one_line)]
Side = Annotated[int, Field(ge=1, le=16_384)]
Multiple = Annotated[int, Field(ge=1, le=1024)]
Batch = Annotated[int, Field(ge=1, le=1024)]
Positive = Annotated[float, Field(gt=0)]
Byte = Annotated[int, Field(ge=0, le=255)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Classes = Annotated[list[Line], Field(min_length=2, max_length=IGNORE), AfterValidator(_distinct)]
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Tensor(_Checked):
    """An input or output of model.onnx."""

    name: Literal["images", "logits"]
    shape: Annotated[list[Side | Line], Field(min_length=4, max_length=4)]
    meaning: Line


class Comparison(_Checked):
    """One comparison of model.onnx with PyTorch."""

    batch: Batch
    height: Side
    width: Side
    difference: Annotated[float, Field(ge=0)]


class OnnxFile(_Checked):
    """What model.onnx takes and gives; ``size`` is the side of the only square that it takes, or ``any``."""

    file: Literal["model.onnx"]
    input: Tensor
    output: Tensor
    size: Side | Literal["any"]
    tolerance: Annotated[float, Field(gt=0, le=1)]
    compared_with_pytorch: Annotated[list[Comparison], Field(max_length=100)]


class Normalisation(_Checked):
    """What the network does to images itself."""

    mean: Channels | None
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)] | None
    where: Line


class ModelConfig(_Checked):
    """config.json of an exported model."""

    format: Literal["pcc segmenter 1"]
    pcc: Line
    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
    model: Annotated[dict[str, Any], AfterValidator(_layers)]
    supervision: Line
    classes: Classes
    palette: Annotated[list[Annotated[list[Byte], Field(min_length=3, max_length=3)]], Field(max_length=256)]
    multiple_of: Multiple
    normalisation: Normalisation
    prediction: Annotated[dict[str, Any], AfterValidator(_prediction)]
    prediction_from: Line
    onnx: OnnxFile | None
    digests: dict[str, Sha256]

    @model_validator(mode="after")
    def _agrees(self) -> "ModelConfig":
        if self.classes[0] != BACKGROUND:
            raise ValueError(f"classes must begin with {BACKGROUND}")
        if len(self.palette) != len(self.classes):
            raise ValueError(f"palette has {len(self.palette)} colours for {len(self.classes)} classes")
        files = {MODEL} if self.onnx is None else {MODEL, ONNX}
        if set(self.digests) != files:
            raise ValueError(f"digests must be those of {' and '.join(sorted(files))}")
        if self.onnx and (self.onnx.input.name, self.onnx.input.shape[1]) != ("images", 3):
            raise ValueError("onnx.input must be images of 3 channels")
        if self.onnx and (self.onnx.output.name, self.onnx.output.shape[1]) != ("logits", len(self.classes)):
            raise ValueError(f"onnx.output must be logits of {len(self.classes)} classes")
        return self


def read_config(folder: Path) -> ModelConfig:
    """The config.json of an exported folder.

    Raises:
        InputError: it is damaged, or of another program or version.
    """
    path = folder / CONFIG
    config = read_object(path, REMEDY)
    if (stated := config.get("format")) != FORMAT:
        raise InputError(f"{path}: format is {shown(stated)}, not {FORMAT!r}; export with this version of pcc")
    return checked(ModelConfig, config, str(path), REMEDY)


def checked(kind: type[C], values: Any, where: str, remedy: str) -> C:
    """The values as a ``kind``.

    Raises:
        InputError: they are not; one line names the first fault and counts the others.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        place = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        given = "" if first["type"] in ("missing", "value_error") else f", not {shown(first['input'])}"
        fault = first["msg"].removeprefix("Value error, ").removeprefix(f"{place}.")
        more = f" ({len(others)} more faults)" if others else ""
        raise InputError(f"{where}: {f'{place:.100}: ' if place else ''}{fault}{given}{more}; {remedy}") from error
