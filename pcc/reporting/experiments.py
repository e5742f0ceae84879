"""Read a results folder: its steps, and the experiments they form."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pcc.reporting.tables import chain
from pcc.results import BY_MASKS, KINDS, choices_of, is_unfinished, shards
from pcc.runtime.files import read_as


@dataclass(frozen=True)
class Scored:
    """What is needed of a metrics.json."""

    kind: str
    mean_iou: float | None
    oracle: bool


@dataclass(frozen=True)
class Step:
    """One step of one or more experiments: a folder of maps, pseudo masks or predictions.

    Attributes:
        path: folder below the results, such as ``pcc/seed-0/cam/crf``.
        kind: ``maps``, ``pseudo_masks`` or ``predictions``.
        inputs: shards: files of maps or folders of masks.
        mean_iou: mIoU of the split, if metrics.json has it.
        oracle: whether ground-truth masks selected anything upstream, according to metrics.json.
    """

    path: str
    kind: str
    inputs: tuple[Path, ...]
    mean_iou: float | None
    oracle: bool

    @property
    def supervised(self) -> bool:
        """Whether it was trained on ground-truth masks."""
        return self.path.split("/")[0] == BY_MASKS


@dataclass(frozen=True)
class Experiment:
    """A chain of steps.

    Attributes:
        path: folder of the last step, below the results.
        name: ``pcc / cam / crf / light, seed 0``.
        steps: indices of its steps, in workflow order.
    """

    path: str
    name: str
    steps: tuple[int, ...]


def find_steps(results: Path) -> list[Step]:
    """Every step with at least one shard, scored or not, in folder order.

    Raises:
        InputError: an invalid metrics.json.
    """
    found = [
        (folder.parent, kind, found_shards)
        for seed in sorted(results.glob("*/seed-*/"))
        for kind in KINDS
        for folder in sorted(seed.rglob(kind))
        if (found_shards := shards(folder, kind)) and not is_unfinished(folder.relative_to(results))
    ]
    scores = {(home, kind): _score(home / "metrics.json", kind) for home, kind, _ in found}
    chosen_with_masks = {home for (home, _), (_, oracle) in scores.items() if oracle}
    return [
        Step(
            home.relative_to(results).as_posix(),
            kind,
            shards,
            scores[home, kind][0],
            not chosen_with_masks.isdisjoint((home, *home.parents)),
        )
        for home, kind, shards in found
    ]


def experiments_of(steps: Sequence[Step]) -> list[Experiment]:
    """One experiment per folder without a later step below it."""
    paths = dict.fromkeys(step.path for step in steps)
    leaves = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    return [
        Experiment(
            leaf,
            name_of(leaf),
            tuple(
                sorted(
                    (i for i, step in enumerate(steps) if f"{leaf}/".startswith(f"{step.path}/")),
                    key=lambda i: (steps[i].path.count("/"), KINDS.index(steps[i].kind)),
                )
            ),
        )
        for leaf in leaves
    ]


def name_of(path: str) -> str:
    """``pcc/seed-0/cam/crf`` → ``pcc / cam / crf, seed 0``; see `chain`."""
    choices = choices_of(path)
    return f"{chain(choices | {'oracle': False})}, seed {choices['seed']}"


def _score(path: Path, kind: str) -> tuple[float | None, bool]:
    """mIoU and oracle flag; (None, False) if this kind is not scored."""
    if not path.is_file():
        return None, False
    metrics = read_as(path, Scored, "pcc evaluate")
    return (metrics.mean_iou, metrics.oracle) if metrics.kind == kind else (None, False)
