"""Estimated run time and disk use of a configuration.

Time. Each distinct backbone runs forward three times (after a warm-up) on one image of at most 256 pixels, with random
weights; the processor's time of the quickest is taken to grow with the number of pixels. Then, for each experiment and
seed, shared jobs once,
  training     = images × epochs × forward at the training size × 3 (forward and backward); × 1 where
                 ``unfrozen_blocks`` is 0; with ``cache_features``, one forward pass per image and nothing else
  localization = images × forward × sum of the squared scales × 2 if mirrored, for each network involved
  refinement   = images × one measured call on noise of 500 × 375 pixels and three classes, grown with the pixels,
                 shared among the processes
  prediction   = as localization, plus the CRF where one is set
Heads, CLIP, reading and augmentation are left out, a GPU is measured on one image at a time, and mixed precision is not
counted: expect the order of magnitude, not the minute. A stage of which nothing could be measured has no time (NaN).

Disk. Maps take 2 bytes × grid cells (of the largest scale) × (classes per image + 1); a mask as PNG about 1 bit for
4 pixels; a network 4 bytes a parameter, three times that again as a checkpoint with Adam's moments while it trains;
cached features 2 bytes × grid cells × channels × images while it trains.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcc.configuration import CHAIN, encoder_of, methods_behind
from pcc.data.images import SUFFIXES, image_size
from pcc.data.manifest import Manifest
from pcc.planning.measuring import TYPICAL, Network
from pcc.results import MANIFEST
from pcc.runtime.errors import InputError

MASK_BYTES_PER_PIXEL = 1 / 32
CLASSES_PER_IMAGE = {"voc": 1.5, "coco": 2.9}
SIZES_READ = 20


@dataclass(frozen=True)
class Images:
    """How many images there are.

    Attributes:
        train: number of training images.
        val: number of validation images.
        classes: foreground classes per training image.
        pixels: per image.
        source: where the numbers are from.
    """

    train: int
    val: int
    classes: float
    pixels: float
    source: str


def count_images(config: Mapping[str, Any], given: tuple[int, int] | None = None) -> Images:
    """As ``given`` (train, val); else from the prepared manifest; else from the settings' own numbers; else from files.

    Files are the image files in the data's folders.
    """
    dataset = config["dataset"]
    classes = CLASSES_PER_IMAGE.get(dataset["format"], CLASSES_PER_IMAGE["voc"])
    if given is not None:
        return Images(*given, classes, float(math.prod(TYPICAL)), "as given; 500 × 375 pixels assumed")
    manifest = Path(config["results"]) / dataset["name"] / MANIFEST
    if manifest.is_file():
        records = Manifest.read(manifest).records
        train = [record for record in records if record.split == "train"]
        classes = sum(len(record.labels) for record in train) / max(1, len(train))
        pixels = mean_pixels([record.image for record in records])
        return Images(len(train), len(records) - len(train), classes, pixels, manifest.as_posix())
    settings = dataset["settings"]
    if isinstance(settings.get("train"), int) and isinstance(settings.get("val"), int):
        pixels = float(settings["image_size"] ** 2 if "image_size" in settings else math.prod(TYPICAL))
        return Images(settings["train"], settings["val"], classes, pixels, "dataset.settings")
    files = [
        file
        for folder in data_paths(config).values()
        if folder.is_dir()
        for file in sorted(folder.rglob("*"))
        if _is_image(file)
    ]
    split = {name: sum(name in file.parent.name for file in files) for name in ("train", "val")}
    train_count, val_count = (split["train"], split["val"]) if all(split.values()) else (len(files), len(files))
    source = "image files found: at most this many; exact after `pcc prepare`"
    return Images(train_count, val_count, classes, mean_pixels(files), source)


def data_paths(config: Mapping[str, Any]) -> dict[str, Path]:
    """Files and folders that dataset.settings name, by key."""
    settings = config["dataset"]["settings"]
    # The other paths of a data set that has a root are inside it.
    keys = ("root",) if "root" in settings else ("images", "tags", "masks")
    labels = settings.get("labels")
    named = {
        **{key: settings.get(key) for key in (*keys, "classes")},
        "labels.path": labels.get("path") if isinstance(labels, Mapping) else None,
    }
    return {f"dataset.settings.{key}": Path(path) for key, path in named.items() if isinstance(path, str)}


def _is_image(file: Path) -> bool:
    folder = file.parent.name.lower()
    return file.suffix.lower() in SUFFIXES and "mask" not in folder and "segmentation" not in folder


def mean_pixels(files: list[Path]) -> float:
    """Of a few of the images, by their headers."""
    try:
        sizes = [math.prod(image_size(file)) for file in files[:: max(1, len(files) // SIZES_READ)]]
    except InputError:  # a broken image is prepare's to report
        sizes = []
    return sum(sizes) / len(sizes) if sizes else float(math.prod(TYPICAL))


@dataclass
class Estimate:
    """A sum over all jobs of all experiments and seeds, each shared job once.

    Attributes:
        config: the whole configuration.
        images: counts.
        networks: measured backbones, by place in the configuration.
        refinements: seconds per image of 500 × 375 pixels, by place.
        processes: of a refinement.
        seconds: by stage; NaN where it is not known.
        stored: bytes that stay, by stage.
        passing: bytes needed besides while something trains, one training at a time.
    """

    config: Mapping[str, Any]
    images: Images
    networks: Mapping[str, Network]
    refinements: Mapping[str, float]
    processes: int
    seconds: dict[str, float] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)
    passing: float = 0.0

    def __post_init__(self) -> None:
        stages: tuple[Callable[..., None], ...] = (self._train_method, self._localize, self._refine, self._segment)
        done = set[tuple[Any, ...]]()
        for experiment in self._experiments():
            steps = [experiment.get(step) for step in CHAIN]
            for depth, stage in enumerate(stages, start=1):
                chain = (*steps[:depth],)
                if steps[depth - 1] is not None and chain not in done:
                    done.add(chain)
                    for _ in self.config["seeds"]:
                        stage(*(step for step in steps if step is not None))

    @property
    def kept(self) -> float:
        """Bytes that stay."""
        return sum(self.stored.values())

    def _add(self, stage: str, seconds: float, kept: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.stored[stage] = self.stored.get(stage, 0.0) + kept

    def _train_method(self, method: str, *_: str) -> None:
        self._train("train", f"methods.{encoder_of(self.config['methods'], method)}", self.config["methods"][method])

    def _experiments(self) -> list[Mapping[str, Any]]:
        """All experiments, and the trainings of methods that their methods start from."""
        names = [e["method"] for e in self.config["experiments"] if "method" in e]
        behind = [far for name in names for far in methods_behind(self.config["methods"], name)]
        return [*self.config["experiments"], *({"method": name} for name in dict.fromkeys(behind))]

    def _localize(self, method: str, localization: str, *_: str) -> None:
        entry = self.config["localizations"][localization]
        places = (f"methods.{encoder_of(self.config['methods'], method)}.", f"localizations.{localization}.")
        networks = [network for place in places for network in self._networks(place)]
        side = entry.get("image_size") or max(TYPICAL)
        finest = max(entry["scales"])  # whose grid is stored, unless a stride is set
        cells = (side / (entry.get("stride") or networks[0].stride / finest)) ** 2 if networks else 0.0
        seconds = self.images.train * _views(entry) * side**2 * _seconds_per_pixel(networks)
        self._add("localize", seconds, 2 * self.images.train * cells * (self.images.classes + 1))

    def _refine(self, _method: str, _localization: str, refinement: str, *_: str) -> None:
        seconds = self._refinement_seconds(f"refinements.{refinement}", self.images.train)
        self._add("pseudo_masks", seconds, self.images.train * self.images.pixels * MASK_BYTES_PER_PIXEL)

    def _segment(self, *steps: str) -> None:
        place = f"segmenters.{steps[-1]}"
        entry = self.config["segmenters"][steps[-1]]
        self._train("train_segmenter", place, entry)
        prediction = entry["prediction"]
        pixels = (prediction.get("image_size") or math.sqrt(self.images.pixels)) ** 2 * _views(prediction)
        seconds = self.images.val * pixels * _seconds_per_pixel(self._networks(f"{place}."))
        if prediction.get("crf"):
            seconds += self._refinement_seconds(f"{place}.prediction.crf", self.images.val)
        self._add("segment", seconds, self.images.val * self.images.pixels * MASK_BYTES_PER_PIXEL)

    def _train(self, stage: str, place: str, entry: Mapping[str, Any]) -> None:
        training, networks = entry["training"], self._networks(f"{place}.")
        side, cached = training.get("image_size") or max(TYPICAL), bool(training.get("cache_features"))
        epochs = sum(phase.get("epochs", 1) for phase in training.get("phases") or [])
        backward = 1 if entry["model"].get("unfrozen_blocks") == 0 else 3
        forward = self.images.train * side**2 * _seconds_per_pixel(networks)
        weights = 4.0 * sum(network.parameters for network in networks)
        features = sum(2.0 * (side / n.stride) ** 2 * n.channels * self.images.train for n in networks)
        self._add(stage, forward * (1 if cached else backward * epochs), weights)
        self.passing = max(self.passing, 3 * weights + (features if cached else 0.0))

    def _networks(self, place: str) -> list[Network]:
        return [network for where, network in self.networks.items() if where.startswith(place)]

    def _refinement_seconds(self, place: str, count: int) -> float:
        each = self.refinements.get(place, math.nan) * self.images.pixels / math.prod(TYPICAL)
        return count * each / self.processes


def _seconds_per_pixel(networks: list[Network]) -> float:
    return sum(network.seconds for network in networks) if networks else math.nan


def _views(entry: Mapping[str, Any]) -> float:
    """Pixels seen over all scales and mirrored views, for one of scale 1."""
    return sum(scale**2 for scale in entry["scales"]) * (2 if entry["flip"] else 1)
