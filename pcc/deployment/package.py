"""A model to take away: the folder that `pcc export` writes and `pcc predict` reads, or a segmenter of the results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, read_description, rebuilt
from pcc.deployment.model_config import CONFIG, MODEL, ONNX, REMEDY, OnnxFile, read_config
from pcc.deployment.onnx import OnnxNetwork
from pcc.deployment.predictor import Network, Prediction, Predictor
from pcc.ids import BACKGROUND
from pcc.models.segmenter import Segmenter, build_segmenter, load_segmenter
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import digest, read_object
from pcc.runtime.hardware import device as best_device
from pcc.runtime.ownership import check_unchanged
from pcc.runtime.progress import log

DEFAULTS = vars(Prediction())
REPREDICT, REEVALUATE = "rerun segment", "rerun evaluate"


@dataclass(frozen=True)
class Model:
    """A trained segmenter, wherever it lies.

    Attributes:
        folder: where it lies.
        classes: names by class id, background first.
        prediction: how it predicts: ``image_size``, ``scales``, ``flip``, ``merge``, ``crf``, ``precision``.
        load: builds the network, in evaluation mode.
        weights: file of the weights.
        onnx: what config.json says of model.onnx; None where there is none.
        multiple_of: what must divide the sides of an image; None: ask the loaded network.
    """

    folder: Path
    classes: tuple[str, ...]
    prediction: Mapping[str, Any]
    load: Callable[[], Segmenter]
    weights: Path
    onnx: OnnxFile | None = None
    multiple_of: int | None = None

    def predictor(self, *, engine: str = "torch", device: str = "auto", threads: int = 1, **settings: Any) -> Predictor:
        """The model, ready to predict; see `Predictor.load`."""
        chosen = call_with(Prediction, {**self.prediction, **settings}, "prediction")
        return Predictor(self._network(chosen, engine, device, threads), chosen, self.classes)

    def _network(self, settings: Prediction, engine: str, device: str, threads: int) -> Network:
        """The network in the engine asked for, on the device asked for.

        Raises:
            InputError: no such engine or device here, or settings that the ONNX file cannot have.
        """
        if engine == "onnx":
            return self._onnx_network(settings, device, threads)
        if device == "cuda" and best_device() != "cuda":
            raise InputError("--device cuda: torch finds no GPU here; use --device auto")
        if device == "cpu" and best_device() != "cpu":
            raise InputError("--device cpu: torch has a GPU in use already; set CUDA_VISIBLE_DEVICES= before starting")
        return self.load().to(best_device())

    def _onnx_network(self, settings: Prediction, device: str, threads: int) -> OnnxNetwork:
        if self.onnx is None:
            raise InputError(f"{self.folder}: no {ONNX} here; run `pcc export` with --onnx, or use --engine torch")
        if device == "cuda":
            raise InputError("--engine onnx computes on the CPU; leave --device out")
        side = self.onnx.size
        if side != "any" and (settings.image_size, list(settings.scales)) != (side, [1.0]):
            raise InputError(
                f"{self.folder / ONNX}: takes images of {side}x{side} pixels only, and these settings ask for others; "
                "use --engine torch"
            )
        assert self.multiple_of is not None
        return OnnxNetwork(self.folder / ONNX, self.multiple_of, threads, num_classes=len(self.classes))


def open_model(folder: Path) -> Model:
    """The model of an exported folder, or of a segmenter's folder in results or the folder above it.

    Raises:
        InputError: neither is there, or files are missing, damaged or not those that were exported together.
    """
    return _exported(folder) if (folder / CONFIG).is_file() else _from_results(find_segmenter(folder))


def find_segmenter(folder: Path) -> Path:
    """The folder itself or its ``segmenter`` folder, whichever holds a trained segmenter.

    Raises:
        InputError: neither does.
    """
    for candidate in (folder, folder / "segmenter"):
        if (candidate / DESCRIPTION).is_file() and (candidate / WEIGHTS).is_file():
            if "supervision" not in read_description(candidate):
                raise InputError(f"{candidate}: a trained network, but no segmenter; name a segmenter's folder")
            return candidate
    raise InputError(
        f"{folder}: no model here; name a folder of `pcc export`, or results/…/SEGMENTER/segmenter or the one above it"
    )


def prediction_settings(segmenter: Path) -> tuple[dict[str, Any], str]:
    """How the experiment of ``segmenter`` predicts, and the file that says so.

    Args:
        segmenter: a segmenter's folder in results.

    Returns:
        The settings of `Prediction`, and the file's path below the folder above, or ``defaults``.

    Raises:
        InputError: the records beside the segmenter are damaged.
    """
    above = segmenter.parent
    if not is_predicted_with(segmenter):
        log.warning("%s: predictions and scores beside it are of other weights; not used", segmenter)
        return dict(DEFAULTS), "defaults"
    for file in _prediction_records(segmenter):
        stored = read_object(file, REPREDICT).get("settings")
        return _known(stored, file, REPREDICT), file.relative_to(above).as_posix()
    metrics = above / "metrics.json"
    if metrics.is_file():
        settings = read_object(metrics, REEVALUATE).get("settings")
        if not isinstance(settings, dict):
            raise InputError(f"{metrics}: settings are missing; {REEVALUATE}")
        if settings.get("segmenter") is not None:
            return _known(settings["segmenter"], metrics, REEVALUATE), "metrics.json"
    return dict(DEFAULTS), "defaults"


def is_predicted_with(segmenter: Path) -> bool:
    """Whether the predictions beside the segmenter, where there are any, were made with its weights as they are."""
    records = _prediction_records(segmenter)
    if not records:
        return True
    inputs = read_object(records[0], REPREDICT).get("inputs")
    if not isinstance(inputs, dict):
        raise InputError(f"{records[0]}: inputs are missing; {REPREDICT}")
    return digest(segmenter / WEIGHTS) in inputs.values()


def _prediction_records(segmenter: Path) -> list[Path]:
    return sorted(segmenter.parent.glob("predictions/*/provenance.json"))


def _known(stored: Any, file: Path, remedy: str) -> dict[str, Any]:
    """The settings of `Prediction` among those that a stage stored."""
    if not isinstance(stored, dict):
        raise InputError(f"{file}: settings of the prediction are missing; {remedy}")
    settings = {key: value for key, value in stored.items() if key in DEFAULTS}
    try:
        return vars(call_with(Prediction, settings, f"{file}: settings"))
    except InputError as error:
        raise InputError(f"{error.problems[0]}; {remedy}") from error


def _from_results(folder: Path) -> Model:
    check_unchanged(folder / WEIGHTS)
    made = read_description(folder, "type", "classes", "model")
    settings, source = prediction_settings(folder)
    if source == "defaults":
        log.info("%s: no predictions beside it say how it predicts; taking the defaults", folder)
    return Model(folder, (BACKGROUND, *made["classes"]), settings, lambda: load_segmenter(folder), folder / WEIGHTS)


def _exported(folder: Path) -> Model:
    config = read_config(folder)
    for name, expected in config.digests.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: file is missing; copy the whole folder, or export again")
        if digest(folder / name) != expected:
            raise InputError(f"{folder / name}: not the file that {CONFIG} was written with; export again")

    def build() -> Segmenter:
        network = build_segmenter(config.type, len(config.classes), config.model, f"{CONFIG}: model")
        if network.multiple_of != config.multiple_of:
            raise InputError(f"{CONFIG}: multiple_of must be {network.multiple_of}, not {config.multiple_of}; {REMEDY}")
        return network

    return Model(
        folder,
        tuple(config.classes),
        config.prediction,
        lambda: rebuilt(build, folder / MODEL, REMEDY),
        folder / MODEL,
        config.onnx,
        config.multiple_of,
    )
