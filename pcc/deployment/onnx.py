"""A segmenter as an ONNX file: written for any batch and size where the network allows it, compared, and run.

The packages (extra ``onnx``) are imported where they are used, as nothing else needs them.
"""

import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from pcc.models.segmenter import Segmenter
from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path
from pcc.runtime.progress import log
from pcc.runtime.ranges import shown

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-3
WITHOUT = "--no-onnx leaves it out"
DOMAINS, LOOPS = ("", "ai.onnx"), ("Loop", "Scan")
SMALLEST = 64  # side of the images that a backbone is tried with when it is built
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Compared:
    """One comparison of the file with PyTorch: the batch, its sides, and the largest difference of any logit."""

    batch: int
    height: int
    width: int
    difference: float


def require_packages(packages: Sequence[str] = PACKAGES, otherwise: str = "leave ONNX out with --no-onnx") -> None:
    """Say in one line what to install.

    Raises:
        InputError: a package is not installed.
    """
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"ONNX needs packages that are not installed: {', '.join(missing)}; "
            f"pip install 'pcc[onnx]' or pip install {' '.join(missing)}, or {otherwise}"
        )


class OnnxNetwork:
    """An ONNX file that answers as its segmenter would, on the CPU.

    Args:
        path: what `write_onnx` wrote.
        multiple_of: what must divide the sides of an image.
        threads: CPU threads.
        num_classes: channels of the logits, where known.

    Raises:
        InputError: packages are not installed, onnxruntime cannot load the file, or it is no file of `write_onnx`.
    """

    def __init__(self, path: Path, multiple_of: int, threads: int = 1, *, num_classes: int | None = None) -> None:
        require_packages(["onnx", "onnxruntime"], "use --engine torch")
        import onnxruntime

        _check_contents(path)

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors come as exceptions; it would print them too
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no other base
            raise InputError(f"{path}: onnxruntime cannot load it ({_line(error)}); export it again") from error
        self.path, self.multiple_of = path, multiple_of
        for kind, name, channels, found in (
            ("input", INPUT, 3, self._session.get_inputs()),
            ("output", OUTPUT, num_classes, self._session.get_outputs()),
        ):
            there = [(one.name, one.type, list(one.shape)) for one in found]
            fits = len(there) == 1 and there[0][:2] == (name, "tensor(float)") and len(there[0][2]) == 4
            if not fits or (channels and isinstance(there[0][2][1], int) and there[0][2][1] != channels):
                wanted = f"{name}, float, 4 axes" + (f", {channels} channels" if channels else "")
                raise InputError(f"{path}: {kind} must be {wanted}, not {shown(there)}; export it again")

    def __call__(self, images: Tensor, /) -> Tensor:
        """Logits [B, C, h, w] of images [B, 3, H, W], RGB in 0..1.

        Raises:
            InputError: onnxruntime cannot compute them.
        """
        try:
            return torch.from_numpy(self._session.run([OUTPUT], {INPUT: images.cpu().numpy()})[0])
        except Exception as error:  # onnxruntime's errors share no other base
            sides = "x".join(map(str, images.shape[-2:]))
            raise InputError(f"{self.path}: onnxruntime fails at {sides} pixels ({_line(error)})") from error


def _check_contents(path: Path) -> None:
    """Refuse what no file of `write_onnx` has: weights in other files, operators of no standard, endless loops.

    Raises:
        InputError: there is any of these, or the file is no ONNX.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors share no other base
        raise InputError(f"{path}: cannot be read as ONNX ({_line(error)}); export it again") from error
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto) and (message.external_data or message.data_location):
            raise InputError(f"{path}: tensor {shown(message.name)} is in another file; export it again")
        if isinstance(message, onnx.NodeProto) and (message.domain not in DOMAINS or message.op_type in LOOPS):
            operator = ".".join(filter(None, (message.domain, message.op_type)))
            raise InputError(f"{path}: operator {shown(operator)} is not allowed; export it again")


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that it holds."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "__len__") else [value]:
                yield from _messages(part)


def write_onnx(network: Segmenter, path: Path, side: int) -> tuple[list[Compared], int | None]:
    """Write the network's logits as ONNX and compare the file with PyTorch.

    Batch, height and width are free. A network that does not allow this is exported for one size, with a log line.

    Args:
        network: in evaluation mode, on the CPU.
        path: the file; nothing is left there unless it computes what the network does.
        side: of the square that a file of one size takes, pixels; rounded up to what the network takes.

    Returns:
        What was compared, and the side of the square where the size is fixed, else None.

    Raises:
        InputError: packages are missing, PyTorch cannot export the network, or the file computes something else.
    """
    require_packages()
    network = network.cpu().eval()
    try:
        return _write(network, path, _any_size(network), _sizes(network)), None
    except InputError as error:
        side = _fitting(side, network.multiple_of)
        reason = str(error).removesuffix(f"; {WITHOUT}")
        log.info("cannot export ONNX of any size (%s); trying %dx%d pixels only", reason, side, side)
    free = {0: Dim("batch")}
    return _write(network, path, free, [(batch, side, side) for batch in (1, 3)]), side


def _any_size(network: Segmenter) -> dict[int, Any]:
    step = network.multiple_of
    if step == 1:
        sides = [Dim(name, min=SMALLEST) for name in ("height", "width")]
    else:
        sides = [step * Dim(name, min=-(-SMALLEST // step)) for name in ("rows", "columns")]
    return {0: Dim("batch"), 2: sides[0], 3: sides[1]}


def _sizes(network: Segmenter) -> list[Size]:
    """Batches and sides to compare at: odd ones, tall and wide ones, and one smaller than any seen in tracing."""
    wanted = [(1, 64, 64), (3, 97, 130), (2, 150, 71), (1, 223, 201), (1, 40, 56)]
    fit = network.multiple_of
    return [(batch, _fitting(height, fit), _fitting(width, fit)) for batch, height, width in wanted]


def _fitting(side: int, multiple_of: int) -> int:
    return -(-side // multiple_of) * multiple_of


def _write(network: Segmenter, path: Path, free: dict[int, Any], sizes: Sequence[Size]) -> list[Compared]:
    """Write the file with the ``free`` dimensions, and keep it if it agrees at all ``sizes``."""
    _, height, width = sizes[1]
    example = torch.zeros(2, 3, height, width)
    with atomic_path(path) as temporary:
        try:
            with _quietly(), _same_padding() as translations:
                program = torch.onnx.export(
                    network,
                    (example,),
                    dynamo=True,
                    dynamic_shapes=(free,),
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    custom_translation_table=translations,
                    verbose=False,
                )
                assert program is not None
                for node in program.model.graph.all_nodes():
                    node.metadata_props.clear()  # paths and lines of this machine's Python files
                program.save(temporary, external_data=False)
        except Exception as error:  # anything can come out of torch.export
            raise InputError(
                f"onnx: {type(network).__name__} cannot be exported ({_line(error)}); {WITHOUT}"
            ) from error
        return _compare(network, temporary, sizes)


def _compare(network: Segmenter, path: Path, sizes: Sequence[Size]) -> list[Compared]:
    """PyTorch's logits against the file's on the same noise.

    Raises:
        InputError: they differ by more than `TOLERANCE` anywhere.
    """
    other = OnnxNetwork(path, network.multiple_of)
    noise, found = torch.Generator().manual_seed(0), []
    for size in sizes:
        images = torch.rand(size[0], 3, *size[1:], generator=noise)
        with torch.inference_mode():
            expected = network(images)
        try:
            with _quietly():
                logits = other(images)
        except Exception as error:  # onnxruntime's errors share no other base
            raise InputError(f"onnx: onnxruntime fails at {_shown(size)} ({_line(error)}); {WITHOUT}") from error
        same_shape = logits.shape == expected.shape
        difference = float((logits - expected).abs().max()) if same_shape else float("inf")
        if not difference <= TOLERANCE:  # NaN too
            raise InputError(
                f"onnx: the file computes something else than PyTorch (logits differ by {difference:.3g} "
                f"at {_shown(size)}, allowed {TOLERANCE:g}) and was not kept; {WITHOUT}"
            )
        found.append(Compared(*size, difference))
    return found


@contextmanager
def _same_padding() -> Iterator[dict[Any, Any]]:
    """TensorFlow's padding (timm's ``tf_`` networks) as ONNX's own SAME_UPPER.

    Written out, it depends on the size in a way that nests at every layer: tracing MobileNet-like networks would take
    minutes.
    """
    import timm.layers  # noqa: F401 - the module is not an attribute: a function of its name hides it
    from onnxscript import opset18

    timm_module = sys.modules["timm.layers.conv2d_same"]
    computed = timm_module.conv2d_same

    def traced(
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, _padding: Any, dilation: Any, groups: int
    ) -> Tensor:
        return torch.ops.pcc.conv_same(x, weight, bias, stride, dilation, groups)

    def translated(x: Any, weight: Any, bias: Any, stride: Any, dilation: Any, groups: int) -> Any:
        return opset18.Conv(x, weight, bias, auto_pad="SAME_UPPER", strides=stride, dilations=dilation, group=groups)

    timm_module.conv2d_same = traced  # type: ignore[attr-defined]
    try:
        yield {torch.ops.pcc.conv_same.default: translated}
    finally:
        timm_module.conv2d_same = computed  # type: ignore[attr-defined]


@torch.library.custom_op("pcc::conv_same", mutates_args=())
def _conv_same(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    raise NotImplementedError("for tracing only")


@_conv_same.register_fake
def _(x: Any, weight: Any, _bias: Any, stride: Any, _dilation: Any, _groups: int) -> Tensor:
    height, width = ((side - 1) // step + 1 for side, step in zip(x.shape[-2:], stride, strict=True))
    return x.new_empty(x.shape[0], weight.shape[0], height, width)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the pages that torch's exporter and onnxruntime log; what matters comes as an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _shown(size: Size) -> str:
    return f"{size[0]} x {size[1]}x{size[2]} pixels"


def _line(error: Exception) -> str:
    """The reason alone: torch puts pages of advice before it."""
    text = str(error).split("## Exception summary")[-1].split("(Refer to")[0]
    words = " ".join(text.split()) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:200]}…"
