"""Clusters as super-classes at localization, and soft labels for siblings that are often confused.

``python benchmarks/superclasses.py``: row `taxonomy` of config/clusters.yaml, recipe ``long``, 100 images, three seeds,
on the two data sets of clusters.py. Localization needs no training: the probabilities of a cluster's members are added
up, spread by the affinity of config/voc12_mini.yaml, and split between the members by their own evidence.

Soft labels: as label, an absent sibling of a present class has the mean probability that it gets on images held out
from training that show the class and not the sibling. Two folds; image-level labels only. For comparison: the same for
all absent classes.

Writes a line per run and variant to docs/results/superclasses.csv; prints the tables.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from clusters import (
    DATA,
    OTHER,
    RATE,
    RESULTS,
    SEEDS,
    Data,
    Job,
    drawn,
    entry,
    features,
    pooled,
    probabilities,
    read,
    train,
)
from torch import Tensor
from torch.nn import functional

from pcc.artifacts.masks import read_mask
from pcc.maps import resize, to_mask
from pcc.methods.pcc import PCC
from pcc.metrics import cluster_confusion, confusion_matrix, mean_iou
from pcc.refine.affinity import propagate
from pcc.reporting.tables import markdown
from pcc.runtime.hardware import keep_freed_memory
from pcc.trainable import Batch, Samples
from pcc.training.samples import Augmentation, TrainingSamples

CSV = RESULTS / "superclasses.csv"
AFFINITY = OTHER["localizations"]["affinity"]
IMAGES = 100
HIGHEST = 0.3  # soft label
SOFT = {"soft siblings": "taxonomy", "soft labels": "one"}  # for siblings, and for all absent classes
PARTITIONS = ("taxonomy", "one", "random_0", "random_1")  # the others: is it the groups, or any sum?
TINY = torch.finfo(torch.float32).tiny

Counts = dict[tuple[str, str], np.ndarray]


class Result(NamedTuple):
    """One network, variant of localization and partition into super-classes; scores as in clusters.py."""

    data: str
    lr: float
    seed: int
    network: str
    variant: str
    partition: str
    pseudo_masks: float
    val_tagged: float
    val: float = math.nan
    within: float = math.nan
    between: float = math.nan


class Softened:
    """Samples in which absent siblings of a present class have a soft label."""

    def __init__(self, samples: Samples, rates: Tensor) -> None:
        self.samples, self.rates, self.views = samples, rates, samples.views

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        sample = self.samples[key]
        of_siblings = (sample.labels[:, None] * self.rates).amax(dim=0)
        return sample._replace(labels=torch.maximum(sample.labels, of_siblings))


def maps(
    raw: Tensor, labels: Tensor, partitions: Mapping[str, Tensor], similar: Tensor, *, splits: bool
) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """Maps (C, h, w) of an image by variant and partition.

    ``drop``: absent classes are left out first. ``give``: the present members of a cluster have the absent ones' part.
    Without labels, all classes are present, and the two are the same. Members divide the sum by their evidence in the
    cell (``own``), in cells that look alike (``spread``) or in the whole image (``image``); ``winner``: the strongest
    takes all of it. Evidence spread with the power of the sum itself would be plain propagation: hence half of it.

    Args:
        raw: probabilities of all classes, background first, (C, h, w).
        labels: (K,).
        partitions: 1 where a class is in a super-class, (S, C).
        similar: features for the affinity, (D, g, v).
        splits: whether to try all ways to divide the sums; of other partitions than the taxonomy, two.
    """
    present = functional.pad(labels, (1, 0), value=1.0)
    plain = _normalized(raw * present[:, None, None])
    given = [
        _normalized(_sums(raw, members) * (members @ present > 0)[:, None, None]) for members in partitions.values()
    ]
    yield ("as is", ""), plain
    for (name, members), mass in zip(partitions.items(), given, strict=True):
        yield ("as is, give", name), _of_members(mass, members) * _shares(plain, members)
    values = torch.cat([plain, *given])[None]
    plain, *_ = parts = resize(values, (similar.shape[1], similar.shape[2]))[0].split([len(plain), *map(len, given)])
    spread, *given = propagate(torch.cat(parts), similar, AFFINITY["power"]).split([*map(len, parts)])
    yield ("affinity", ""), spread
    for (name, members), mass in zip(partitions.items(), given, strict=True):
        yield ("own, give", name), _of_members(mass, members) * _shares(plain, members)
    if not splits:
        return
    evidence = {
        "own": plain,
        "spread": propagate(plain, similar, AFFINITY["power"] / 2),
        "image": plain.mean(dim=(1, 2), keepdim=True).expand_as(plain),
    }
    for (name, members), mass in zip(partitions.items(), given, strict=True):
        dropped, with_absent = _of_members(_sums(spread, members), members), _of_members(mass, members)
        for how, values in evidence.items():
            share = _shares(values, members)
            strongest = _of_members((members[:, :, None, None] * share).amax(dim=1), members)
            winner = (share >= strongest) * present[:, None, None]
            if how != "own" or name == "taxonomy":
                yield (f"{how}, winner, drop", name), dropped * winner
            if name == "taxonomy":
                yield (f"{how}, drop", name), dropped * share
                yield (f"{how}, winner, give", name), with_absent * winner
                if how != "own":
                    yield (f"{how}, give", name), with_absent * share


def _sums(values: Tensor, members: Tensor) -> Tensor:
    return torch.einsum("sc,chw->shw", members, values)


def _of_members(values: Tensor, members: Tensor) -> Tensor:
    return torch.einsum("sc,shw->chw", members, values)


def _shares(values: Tensor, members: Tensor) -> Tensor:
    return values / _of_members(_sums(values, members), members).clamp_min(TINY)


def _normalized(values: Tensor) -> Tensor:
    return values / values.sum(dim=0).clamp_min(TINY)


@torch.inference_mode()
def confusions(
    method: PCC, data: Data, similar: Samples, split: str, chosen: Sequence[int], *, splits: bool
) -> tuple[Counts, Counts]:
    """Confusion by variant and partition, with labels given and (validation) without."""
    classes, records = data.manifest.dataset.num_classes, data.records(split)
    partitions = {name: super_classes(data, name) for name in PARTITIONS}
    tagged: Counts = {}
    untagged: Counts = {}
    for index in chosen:
        mask, grid = records[index].mask, similar[0, index].features
        if mask is None:
            continue
        assert grid is not None
        truth = read_mask(mask)
        raw, labels = probabilities(method, data.samples[split], index)
        for given, counts in ((labels, tagged), (torch.ones_like(labels), untagged)):
            if counts is untagged and split == "train":
                continue
            for key, values in maps(raw[0], given, partitions, grid, splits=splits):
                if counts is tagged or not key[0].endswith("give"):
                    # Classes add up to 1: one that is below the mean in every cell is the largest nowhere.
                    able = torch.nonzero(values.amax(dim=(1, 2)) > 0.99 / classes).flatten()
                    found = confusion_matrix(to_mask(values[able], able.tolist(), truth.shape), truth, classes)
                    counts[key] = counts.get(key, 0) + found
    return tagged, untagged


def super_classes(data: Data, partition: str) -> Tensor:
    """1 where a class is in a super-class, (S, C); background, first, is one of its own."""
    groups = [[0], *([1 + k for k in cluster] for cluster in data.partitions[partition])]
    members = torch.zeros(len(groups), data.manifest.dataset.num_classes)
    for row, group in enumerate(groups):
        members[row, group] = 1
    return members


def confusion_rates(data: Data, job: Job, chosen: Sequence[int]) -> Tensor:
    """The mean probability of class j on held-out images that show k and not j, (K, K), from image-level labels."""
    sums, counts = torch.zeros(2, data.manifest.dataset.num_classes - 1, data.manifest.dataset.num_classes - 1)
    folds = chosen[::2], chosen[1::2]
    for fold, held_out in (folds, folds[::-1]):
        method = train(data, job, fold)
        for index in held_out:
            with torch.inference_mode():
                raw, labels = probabilities(method, data.samples["train"], index)
                pairs = torch.outer(labels, 1 - labels)
                sums += pairs * pooled(method, raw)
                counts += pairs
    return sums / counts.clamp_min(1)


def soft_labels(rates: Tensor, members: Tensor) -> Tensor:
    """The rates of members of one super-class, at most `HIGHEST`; 0 for other pairs."""
    siblings = (members[1:, 1:].T @ members[1:, 1:]).fill_diagonal_(0)
    return (rates * siblings).clamp(max=HIGHEST)


def run(name: str, seed: int, folder: Path) -> list[Result]:
    """Train the networks, and score their maps."""
    torch.set_num_threads(1)
    keep_freed_memory()
    data, job = read(name, "lite0", folder), Job("lite0", name, "long", RATE["long"], IMAGES, seed, "taxonomy")
    similar, chosen = similar_cells(data, name, folder), drawn(data, job)[0]
    hard, rates = data.samples["train"], confusion_rates(data, job, chosen)
    networks: dict[str, Samples] = {"hard labels": hard}
    for network, partition in SOFT.items():
        labels = soft_labels(rates, super_classes(data, partition))
        print(name, seed, network, describe(labels, data.manifest.dataset.classes), file=sys.stderr, flush=True)
        networks[network] = Softened(hard, labels)
    taxonomy = [[1 + k for k in cluster] for cluster in data.partitions["taxonomy"]]
    ids = data.manifest.dataset.eval_ids
    results = []
    for network, samples in networks.items():
        method, splits = train(data, job, chosen, samples), network == "hard labels"
        made, _ = confusions(method, data, similar["train"], "train", chosen, splits=splits)
        everything = range(len(data.records("val")))
        tagged, untagged = confusions(method, data, similar["val"], "val", everything, splits=splits)
        for key, counts in made.items():
            found = [mean_iou(counts, ids), mean_iou(tagged[key], ids)]
            if key in untagged:
                found += [mean_iou(untagged[key], ids), *cluster_confusion(untagged[key], taxonomy)]
            results.append(Result(name, job.lr, seed, network, *key, *(100 * value for value in found)))
    return results


def describe(labels: Tensor, classes: Sequence[str]) -> str:
    """The mean soft label and the largest."""
    largest = labels.flatten().topk(5)
    pairs = (f"{classes[at // len(classes)]}: {classes[at % len(classes)]}" for at in largest.indices.tolist())
    listed = ", ".join(f"{pair} {value:.2f}" for pair, value in zip(pairs, largest.values.tolist(), strict=True))
    return f"mean soft label {float(labels[labels > 0].mean()):.3f}; {listed}"


def similar_cells(data: Data, name: str, folder: Path) -> dict[str, Samples]:
    """The features of the affinity, by split."""
    row = entry("lite0", "none")
    row["model"]["backbone"] = AFFINITY["features"]
    found: dict[str, Samples] = {}
    for split in ("train", "val"):
        size, records = AFFINITY["image_size"], data.records(split)
        images = TrainingSamples(data.manifest, records, size, Augmentation(flip=False), 0)
        found[split] = features(images, row, folder / name / f"affinity_{split}")
    return found


def measure(folder: Path) -> None:
    """Two runs at a time, one thread each."""
    jobs = [(name, seed, folder) for name in DATA for seed in SEEDS]
    results: list[Result] = []
    with ProcessPoolExecutor(2) as pool:
        for name in DATA:  # features once, before both need them
            pool.submit(cache, name, folder).result()
        for found in pool.map(run, *zip(*jobs, strict=True)):
            results += found
            pd.DataFrame(results).to_csv(CSV, index=False, float_format="%.6g", lineterminator="\n")


def cache(name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    similar_cells(read(name, "lite0", folder), name, folder)


def tables() -> str:
    """Mean ± standard deviation over seeds."""
    scores, found = list(Result._fields[6:]), []
    table = pd.read_csv(CSV).fillna({"partition": ""})
    for name, part in table.groupby("data", sort=False):
        by_variant = part.groupby(["network", "variant", "partition"], sort=False)[scores]
        mean, deviation = by_variant.mean(), by_variant.std()
        lines = [[*key, *map(_cell, mean.loc[key], deviation.loc[key])] for key in mean.index]
        heads = ["network", str(name), "super-classes", *(score.replace("_", " ") for score in scores)]
        found.append(markdown(heads, lines))
    return "\n".join(found)


def _cell(mean: float, deviation: float) -> str:
    return "" if math.isnan(mean) else f"{mean:.1f} ± {deviation:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder that keeps the features, 6 GB; a temporary one by default")
    parser.add_argument("--draw", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    if not arguments.draw:
        with tempfile.TemporaryDirectory(prefix="pcc-superclasses-") as temporary:
            measure(arguments.work or Path(temporary))
    print(tables())
