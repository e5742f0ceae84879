"""What are clusters worth? The same PCC with other partitions, on 50, 100, 200 and all training images.

``python benchmarks/clusters.py``: the rows (methods) of config/clusters.yaml on its MSRC and on the data of
config/voc12_mini.yaml; docs/decisions/0020 has the protocol. The encoder is frozen, so its features are computed once
per image and mirrored image; rows are trained and localized by the package, as in the workflow. A seed draws the
images too. Recipes: ``short``, the epochs of the configuration; ``long``, the steps and the regularization that
`pcc init` writes. Besides: ``long`` at other learning rates, and the last two blocks of a ViT, on 100 images.

Writes a line per run to docs/results/clusters.csv, and draws the tables of clusters.md and clusters.png from it
(``--draw``: only that). ``--choose`` compares learning rates by the mean average precision of the labels of images
left out of training, without masks; `RATE` has what it chose.
"""

import argparse
import csv
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import yaml
from accelerate import Accelerator
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pcc.artifacts.masks import read_mask  # noqa: E402
from pcc.clusters.providers import Task  # noqa: E402
from pcc.data.manifest import Manifest, Record  # noqa: E402
from pcc.figures import canvas  # noqa: E402
from pcc.maps import to_mask  # noqa: E402
from pcc.methods.base import Method  # noqa: E402
from pcc.methods.loading import load_method  # noqa: E402
from pcc.methods.pcc import PCC  # noqa: E402
from pcc.metrics import cluster_confusion, confusion_matrix, mean_iou  # noqa: E402
from pcc.planning.proposal import FEW, OF_FEW, OF_MANY, PATCH_STEPS, WARMUP_STEPS, epochs  # noqa: E402
from pcc.pooling import resolve_k, top_k_pool  # noqa: E402
from pcc.reporting.tables import markdown  # noqa: E402
from pcc.runtime.errors import call_with  # noqa: E402
from pcc.runtime.hardware import keep_freed_memory, resolve_precision  # noqa: E402
from pcc.runtime.plugins import load_attribute  # noqa: E402
from pcc.trainable import Batch, Samples, Trainable, to_unit_range  # noqa: E402
from pcc.training.feature_cache import CachedSamples, cached_features  # noqa: E402
from pcc.training.loop import fit  # noqa: E402
from pcc.training.run import Training  # noqa: E402
from pcc.training.samples import Augmentation, TrainingSamples  # noqa: E402

os.chdir(ROOT)  # paths of the configurations
CONFIG = yaml.safe_load(Path("config/clusters.yaml").read_text())
OTHER = yaml.safe_load(Path("config/voc12_mini.yaml").read_text())
DATA = {"msrc": CONFIG["dataset"], "voc12_mini": OTHER["dataset"]}
LANGUAGE_MODEL = {"msrc": "msrc_things.json", "voc12_mini": "voc12.json"}
RESULTS = Path("docs/results")
CSV, PAGE = RESULTS / "clusters.csv", RESULTS / "clusters.md"
SEEDS = (1, 2, 3)
SIZES = {"short": (50, 100, 200, None), "long": (50, 100, None)}  # None: all images
OTHER_RATES = (7.5e-4,)  # of `long`, to see what the rate does
RECIPES = ("short", "long")
RATE = {"short": 1.5e-3, "long": 1.5e-3}  # by --choose
GRID = {"short": (1.5e-3, 3e-3, 6e-3, 1.2e-2), "long": (3.75e-4, 7.5e-4, 1.5e-3, 3e-3)}
CHOICE_SEEDS, CHOICE_SIZE, CHOICE_ROWS = (11, 12, 13), 100, ("none", "one", "taxonomy")
VIT_EPOCHS = 3


class Result(NamedTuple):
    """One run; scores in %, confusion in % of the true foreground pixels.

    Attributes:
        pseudo_masks: mIoU on the training images, labels given.
        val_tagged: mIoU on validation images, labels given.
        val: the same without labels.
        within: confusion inside the taxonomy's clusters, validation without labels.
        between: confusion between them.
        val_map: mean average precision of the labels of validation images.
        held_back_map: the same for the training images left out; only with --choose.
    """

    encoder: str
    data: str
    recipe: str
    lr: float
    images: int
    seed: int
    row: str
    pseudo_masks: float = math.nan
    val_tagged: float = math.nan
    val: float = math.nan
    within: float = math.nan
    between: float = math.nan
    val_map: float = math.nan
    held_back_map: float = math.nan


class Job(NamedTuple):
    """What is trained."""

    encoder: str
    data: str
    recipe: str
    lr: float
    images: int | None
    seed: int
    row: str
    choose: bool = False


@dataclass
class Data:
    """A data set, its partitions, and the samples of each split: features, or the images for a trained encoder."""

    manifest: Manifest
    partitions: dict[str, list[list[int]]]
    samples: Mapping[str, Samples]

    def records(self, split: str) -> list[Record]:
        return self.manifest.select(split)


class Chosen:
    """Some of the samples; every other epoch sees an image mirrored, as in training on these alone."""

    def __init__(self, samples: Samples, chosen: Sequence[int]) -> None:
        self.samples, self.chosen, self.views = samples, list(chosen), samples.views

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        return self.samples[epoch + index + self.chosen[index], self.chosen[index]]


class Encoder(Trainable):
    """The encoder alone, for `cached_features`."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method.eval()

    def encode(self, images: Tensor) -> Tensor:
        return self.method.encode(images)

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        raise NotImplementedError

    def parameter_groups(self, phase: str) -> list[Any]:
        raise NotImplementedError


def entry(encoder: str, row: str) -> dict[str, Any]:
    """A row of the configuration, with the other encoder if that is asked for."""
    settings = deepcopy(CONFIG["methods"][row])
    if encoder == "dinov2":
        backbone = deepcopy(OTHER["localizations"]["iscam"]["features"]) | {"settings": {"img_size": 224}}
        settings["model"] |= {"backbone": backbone, "unfrozen_blocks": 2, "backbone_lr": 0.1}
        settings["training"] |= {"image_size": 224}
        settings["training"]["phases"][1]["epochs"] = VIT_EPOCHS
    return settings


def read(name: str, encoder: str, folder: Path) -> Data:
    """A data set; features of the frozen encoder are kept in ``folder``."""
    settings = DATA[name]
    reader = load_attribute("pcc.readers", settings["format"], "read", "dataset.format")
    manifest = call_with(reader, settings["settings"], "dataset.settings", output=folder)
    scored = tuple(settings.get("eval_classes") or manifest.dataset.classes)
    manifest = replace(manifest, dataset=replace(manifest.dataset, eval_classes=scored))
    row = entry(encoder, "none")
    samples: dict[str, Samples] = {}
    for split in ("train", "val"):
        images = TrainingSamples(manifest, manifest.select(split), row["training"]["image_size"], Augmentation(), 0)
        samples[split] = images if encoder == "dinov2" else features(images, row, folder / name / split)
    return Data(manifest, dict(partitions(manifest, name)), samples)


def features(images: TrainingSamples, row: Mapping[str, Any], folder: Path) -> CachedSamples:
    folder.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(load_method("pcc", images.manifest.dataset.classes, [], row["model"]))
    accelerator = Accelerator(cpu=True, mixed_precision=resolve_precision(row["training"]["precision"]))
    return cached_features(encoder, images, folder, accelerator, 16, 0)


def partitions(manifest: Manifest, name: str) -> Iterator[tuple[str, list[list[int]]]]:
    """The members of each cluster, by entry of the configuration."""
    classes = manifest.dataset.classes
    for key, settings in CONFIG["clusters"].items():
        own = {k: v for k, v in settings.items() if k != "provider"}
        if "path" in own:
            own["path"] = str(Path(own["path"]).with_name(LANGUAGE_MODEL[name]))
        propose = load_attribute("pcc.clusters.providers", settings["provider"], "propose", "clusters")
        found = propose(Task(classes, manifest.dataset.taxonomy, Path()), **own).clusters.values()
        yield key, [[classes.index(member) for member in group] for group in found]


def train(data: Data, job: Job, chosen: Sequence[int], samples: Samples | None = None) -> PCC:
    """Train a row on some of the images; ``samples`` replace those of the data set."""
    settings = entry(job.encoder, job.row)
    model, training = settings["model"], settings["training"]
    frozen = job.encoder != "dinov2"
    if job.recipe == "long":
        model["top_k"], training["weight_decay"], _ = OF_FEW if len(chosen) < FEW else OF_MANY
    for phase, steps in zip(training["phases"], (WARMUP_STEPS, PATCH_STEPS), strict=True):
        phase["lr"] = job.lr
        if job.recipe == "long":
            phase["epochs"] = epochs(steps, len(chosen))
    recipe = call_with(Training, training | {"cache_features": not frozen}, "training")
    torch.manual_seed(job.seed)
    classes = data.manifest.dataset.classes
    method = load_method("pcc", classes, data.partitions[CONFIG["methods"][job.row]["clusters"]], model)
    assert isinstance(method, PCC)
    with tempfile.TemporaryDirectory() as work:
        fit(method, Chosen(samples or data.samples["train"], chosen), recipe, seed=job.seed, work=Path(work))
    return method


def drawn(data: Data, job: Job) -> tuple[list[int], list[int]]:
    """The training images that the seed chooses, and those left out."""
    total = len(data.records("train"))
    order = np.random.default_rng(job.seed).permutation(total).tolist()
    return order[: job.images or total], order[job.images or total :]


def run(data: Data, job: Job) -> Result:
    """Train a row on some of the images, and score it."""
    chosen, left_out = drawn(data, job)
    method = train(data, job, chosen)
    made = Result(job.encoder, job.data, job.recipe, job.lr, len(chosen), job.seed, job.row)
    if job.choose:
        return made._replace(held_back_map=100 * score(method, data, "train", left_out, masks=False)[2])
    tagged = score(method, data, "train", chosen)[0]
    val_tagged, val, precision = score(method, data, "val", range(len(data.records("val"))))
    taxonomy = [[1 + k for k in cluster] for cluster in data.partitions["taxonomy"]]
    ids = data.manifest.dataset.eval_ids
    ious = (mean_iou(confusion, ids) for confusion in (tagged, val_tagged, val))
    return Result(*made[:7], *(100 * value for value in (*ious, *cluster_confusion(val, taxonomy), precision)))


@torch.inference_mode()
def score(
    method: PCC, data: Data, split: str, chosen: Sequence[int], masks: bool = True
) -> tuple[np.ndarray, np.ndarray, float]:
    """Confusion of maps with labels given and without, and mean average precision of the labels.

    Maps are those of localization `cam`: probabilities averaged over the image and its mirror image.
    """
    samples, records, dataset = data.samples[split], data.records(split), data.manifest.dataset
    tagged, untagged = (np.zeros((dataset.num_classes,) * 2, np.int64) for _ in range(2))
    scores, labels = [], []
    for index in chosen:
        raw, of_image = probabilities(method, samples, index)
        scores.append(pooled(method, raw))
        labels.append(of_image)
        mask = records[index].mask
        if masks and mask is not None:
            truth = read_mask(mask)
            for given, counts in ((of_image, tagged), (torch.ones_like(of_image), untagged)):
                present = [0, *(torch.nonzero(given).flatten() + 1).tolist()]
                values = method.to_maps(raw, given[None])[0, present]
                np.add(
                    counts, confusion_matrix(to_mask(values, present, truth.shape), truth, dataset.num_classes), counts
                )
    truths = torch.stack(labels).int()
    scored = [k - 1 for k in dataset.eval_ids if k and truths[:, k - 1].any()]
    precision = multilabel_average_precision(torch.stack(scores)[:, scored], truths[:, scored], len(scored))
    return tagged, untagged, float(precision)


def probabilities(method: PCC, samples: Samples, index: int) -> tuple[Tensor, Tensor]:
    """Patch probabilities averaged over an image and its mirror image, and its labels."""
    plain, mirrored = (samples[view + index, index] for view in (0, 1))
    return (_probabilities(method, plain) + _probabilities(method, mirrored).flip(-1)) / 2, plain.labels


def pooled(method: PCC, raw: Tensor) -> Tensor:
    """Image-level probabilities of the foreground classes."""
    patches = raw.flatten(2).transpose(1, 2)
    return top_k_pool(patches, resolve_k(method.top_k, patches.shape[1]))[0, 1:]


def _probabilities(method: PCC, sample: Batch) -> Tensor:
    images = None if sample.images is None else to_unit_range(sample.images[None])
    given = None if sample.features is None else sample.features[None]
    return method.patch_logits(Batch(images, sample.labels[None], features=given)).softmax(dim=1)


_data: dict[tuple[str, str], Data] = {}


def _work(job: Job, folder: Path) -> Result:
    torch.set_num_threads(1)
    keep_freed_memory()
    key = (job.data, job.encoder)
    if key not in _data:
        _data[key] = read(*key, folder)
    return run(_data[key], job)


def run_all(jobs: Sequence[Job], write: Callable[[Result], None], work: Path) -> list[Result]:
    """Two jobs at a time, one thread each; features are kept in ``work``."""
    with ProcessPoolExecutor(2) as pool:
        for name in {job.data for job in jobs if job.encoder != "dinov2"}:  # once, before both need them
            pool.submit(read, name, "lite0", work).result()
        futures = [pool.submit(_work, job, work) for job in jobs]
        found = []
        for future in futures:
            found.append(future.result())
            write(found[-1])
        return found


def choose(work: Path) -> None:
    """Print the precision at each rate, and the rate of each recipe: the lowest within a standard error of the best.

    The standard error is that of the difference to the best rate, over pairs of data set and seed; each pair is a mean
    over rows.
    """
    jobs = [
        Job("lite0", data, recipe, lr, CHOICE_SIZE, seed, row, choose=True)
        for recipe in RECIPES
        for data in DATA
        for seed in CHOICE_SEEDS
        for lr in GRID[recipe]
        for row in CHOICE_ROWS
    ]
    table = pd.DataFrame(run_all(jobs, lambda result: print(result, file=sys.stderr, flush=True), work))
    table.to_csv(
        RESULTS / "clusters_choice.csv", index=False, float_format="%.6g", columns=[*table.columns[:7], "held_back_map"]
    )
    for recipe, part in table.groupby("recipe"):
        by_rate = part.groupby(["lr", "data", "seed"]).held_back_map.mean().unstack("lr")
        best = by_rate.mean().idxmax()
        worse = by_rate.rsub(by_rate[best], axis=0)
        allowed = worse.mean() <= worse.std() / math.sqrt(len(worse))
        print(recipe, by_rate.mean().round(2).to_dict(), "best", best, "chosen", min(allowed[allowed].index))


def measure(work: Path, *, resume: bool) -> None:
    """Score every row, and draw the page."""
    jobs = [
        Job("lite0", data, recipe, RATE[recipe], size, seed, row)
        for data in DATA
        for recipe in RECIPES
        for size in SIZES[recipe]
        for seed in SEEDS
        for row in CONFIG["methods"]
        if row != "attention" or (recipe == "long" and size == CHOICE_SIZE)
    ]
    jobs += [
        Job("dinov2", "msrc", "short", RATE["short"], CHOICE_SIZE, seed, row) for seed in SEEDS for row in CHOICE_ROWS
    ]
    jobs += [
        Job("lite0", data, "long", lr, CHOICE_SIZE, seed, row)
        for data in DATA
        for lr in OTHER_RATES
        for seed in SEEDS
        for row in CHOICE_ROWS
    ]
    done = [_key(*row[:7]) for row in pd.read_csv(CSV, keep_default_na=False).values.tolist()] if resume else []
    with CSV.open("a" if resume else "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not resume:
            writer.writerow(Result._fields[:-1])

        def write(result: Result) -> None:
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in result[:-1])
            file.flush()

        run_all([job for job in jobs if _key(*job[:7]) not in done], write, work)
    draw()


def _key(encoder: str, data: str, recipe: str, lr: float, images: int | None, seed: int, row: str) -> tuple[Any, ...]:
    """Equal for a job and its result: all images are None in one, and their number in the other."""
    return encoder, data, recipe, lr, images if images in SIZES["short"] else None, seed, row


def draw() -> None:
    """The tables of the page, between their markers, and the curves."""
    table = pd.read_csv(CSV, keep_default_na=False)
    text = PAGE.read_text(encoding="utf-8")
    for name, content in tables(table).items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n{content}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text, encoding="utf-8")
    canvas.save(curves(table), RESULTS / "clusters.png")


def tables(table: pd.DataFrame) -> dict[str, str]:
    frozen = table[table.encoder == "lite0"]
    chosen = frozen[frozen.lr == frozen.recipe.map(RATE)]
    at_100 = chosen[chosen.images == CHOICE_SIZE]
    found = {}
    for data, recipe in ((data, recipe) for data in DATA for recipe in RECIPES):
        part = chosen[(chosen.data == data) & (chosen.recipe == recipe)]
        found[f"{data} {recipe}"] = _table(part, "images", "pseudo_masks")
        found[f"{data} {recipe} differences"] = _differences(part)
        part = at_100[(at_100.data == data) & (at_100.recipe == recipe)]
        found[f"{data} {recipe} scores"] = _table(_melted(part), "score", "value")
    for data in DATA:
        rates = frozen[(frozen.data == data) & (frozen.recipe == "long") & (frozen.images == CHOICE_SIZE)]
        found[f"{data} rates"] = _table(rates[rates.row.isin(CHOICE_ROWS)], "lr", "pseudo_masks")
    found["vit"] = _table(_melted(table[table.encoder == "dinov2"]), "score", "value")
    return found


def _melted(part: pd.DataFrame) -> pd.DataFrame:
    scores = ("pseudo_masks", "val_tagged", "val", "within", "between", "val_map")
    return part.melt(["row", "seed"], scores, "score", "value")


def _table(part: pd.DataFrame, across: str, value: str) -> str:
    """Mean ± standard deviation over seeds; one line per row."""
    grouped = part.groupby(["row", across], sort=False)[value].agg(["mean", "std"])
    columns = list(dict.fromkeys(part[across]))
    columns = columns if across == "score" else sorted(columns)
    lines = [[row, *(_cell(grouped.loc[row], column) for column in columns)] for row in dict.fromkeys(part.row)]
    heads = [f"{c:g}" if isinstance(c, float) else str(c).replace("_", " ") for c in columns]
    return markdown(["row" if across == "score" else f"row, by {across}", *heads], lines)


def _cell(of_row: pd.DataFrame, column: Any) -> str:
    return f"{of_row['mean'][column]:.1f} ± {of_row['std'][column]:.1f}" if column in of_row.index else "–"


def _differences(part: pd.DataFrame) -> str:
    """The taxonomy's pseudo masks against other rows, seed by seed."""
    by_row = part.pivot_table(index=["images", "seed"], columns="row", values="pseudo_masks")
    by_row["random (mean of two)"] = by_row[["random_0", "random_1"]].mean(axis=1)
    lines = []
    for other in ("none", "one", "random (mean of two)", "llm"):
        gain = (by_row["taxonomy"] - by_row[other]).groupby("images")
        lines.append(
            [f"taxonomy - {other}", *(f"{m:+.1f} ± {d:.1f}" for m, d in zip(gain.mean(), gain.std(), strict=True))]
        )
    return markdown(["images", *map(str, sorted(set(part.images)))], lines)


def curves(table: pd.DataFrame) -> Figure:
    """Pseudo-mask mIoU over the number of images."""
    figure, panels = canvas.new_figure(4, columns=2, row_gap=0.3)
    frozen = table[(table.encoder == "lite0") & (table.lr == table.recipe.map(RATE))]
    kinds = [(data, recipe) for data in DATA for recipe in RECIPES]
    for axes, (data, recipe) in zip(panels, kinds, strict=True):
        part = frozen[(frozen.data == data) & (frozen.recipe == recipe)]
        for place, row in enumerate(CONFIG["methods"]):
            line = part[part.row == row].groupby("images").pseudo_masks.agg(["mean", "std"])
            style = {"color": canvas.COLOURS[place], "label": row, "marker": "o", "markersize": 3, "linewidth": 1.2}
            beside = line.index * 1.02 ** (place - 3)  # bars of deviation would hide each other
            axes.errorbar(beside, line["mean"], line["std"], elinewidth=0.7, capsize=1.5, **style)
        axes.set_xscale("log")
        axes.set_xticks(ticks := sorted(set(part.images)), [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_title(f"{data}, {recipe}", loc="left", fontsize=canvas.LABEL)
        axes.set_xlabel("training images", fontsize=canvas.SMALL)
        canvas.tidy(axes)
    panels[0].legend(loc="lower right", **canvas.LEGEND)
    return canvas.finish(figure, "Pseudo masks with labels given: mIoU (%) by partition", 3.4, 2.3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--resume", action="store_true", help="keep the runs in clusters.csv")
    parser.add_argument("--work", type=Path, help="folder that keeps the features, 5 GB; a temporary one by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pcc-clusters-") as folder:
        place = arguments.work or Path(folder)
        if arguments.choose:
            choose(place)
        elif arguments.draw:
            draw()
        else:
            measure(place, resume=arguments.resume)
