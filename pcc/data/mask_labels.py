"""Whether masks and image-level labels tell the same: masks of another order of classes, of 0 and 255, of colours.

One image may lack a label, or a mask miss an object. What many images have in common is a mistake of the whole set
(docs/decisions/0017-masks-against-labels.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pcc.data.manifest import Dataset, Record
from pcc.ids import IGNORE, palette
from pcc.runtime.errors import name_some

TOLERATED = 0.1  # share of contradicting images that may be oversights
FEWEST = 3  # contradicting images that stop a run, unless half do
MANY_VALUES = 8  # that are no ids
COLOURS = {tuple(palette()[3 * i : 3 * i + 3]): i for i in range(IGNORE)}


@dataclass(frozen=True)
class Seen:
    """What one image's label and mask say.

    Attributes:
        name: the image's id.
        labels: ids of its labels.
        values: the values in its mask.
        colours: the ids that these values' colours have in VOC's palette, where all are of it; None otherwise.
    """

    name: str
    labels: frozenset[int]
    values: frozenset[int]
    colours: tuple[tuple[int, int], ...] | None = None

    @property
    def present(self) -> frozenset[int]:
        """Ids of the classes in the mask."""
        return self.values - {0, IGNORE}

    @property
    def by_colour(self) -> frozenset[int]:
        """Ids of the classes in the mask, if its colours were meant."""
        return frozenset(meant for _, meant in self.colours or ()) - {0}


def see(record: Record, classes: Sequence[str], mask: np.ndarray, mask_palette: Sequence[int] | None) -> Seen:
    """Collect what a record's mask shows."""
    values = frozenset(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist())
    labels = frozenset(i for i, name in enumerate(classes, 1) if name in record.labels)
    met = [(v, COLOURS.get(tuple((mask_palette or ())[3 * v : 3 * v + 3]))) for v in sorted(values - {IGNORE})]
    colours = tuple((value, meant) for value, meant in met if meant is not None)
    return Seen(record.image_id, labels, values, colours if len(colours) == len(met) else None)


def value_hint(values: frozenset[int], num_foreground: int) -> str:
    """What masks with these values, which are no class ids, look like."""
    wrong = values - {0, IGNORE}
    greys = {round(0.299 * r + 0.587 * g + 0.114 * b) for (r, g, b), i in COLOURS.items() if 0 < i <= num_foreground}
    if wrong and wrong <= greys:
        return "; they look like a palette's colours turned to grey: save the ids themselves"
    if len(wrong) > MANY_VALUES:
        return "; so many values come from JPEG or from smooth resizing: save ids as PNG, resize with nearest neighbour"
    return f"; write 1 for the first class, not {min(wrong)}" if len(wrong) == 1 else ""


def compare(
    seen: Sequence[Seen], dataset: Dataset, advice: Callable[[Sequence[str]], str]
) -> tuple[list[str], list[str]]:
    """Compare all masks with the labels of their images.

    Args:
        seen: the images that have a mask, with valid values only.
        dataset: the classes.
        advice: says how to give the classes in another order.

    Returns:
        At most one problem, and otherwise at most one note for each kind.
    """
    judged = [s for s in seen if s.labels and s.values != {IGNORE}]
    against = [s for s in judged if _contradict(s.labels, s.present)]
    recoloured = [s for s in seen if any(value != meant for value, meant in s.colours or ())]
    if problem := _palette_problem(recoloured):
        return [problem], []
    many = _many(against, judged)
    if many or len(against) >= FEWEST:
        start = f"masks contradict the labels of {len(against)} of {len(judged)} images: "
        names = name_some([s.name for s in against])
        # What all have in common is no oversight, however few they are.
        if (what := _systematic(judged, against, dataset, advice)) or many:
            what = what or "check the labels, and the classes and ids that the masks were written with"
            return [f"data set {dataset.name}: {start}{names}; {what}"], []
    notes = []
    if recoloured:
        notes.append(
            f"{len(recoloured)} masks have VOC's colours in another order; their ids are used, as labels confirm"
        )
    if against:
        names = name_some([s.name for s in against])
        notes.append(f"masks contradict labels in {len(against)} of {len(judged)} images, check them: {names}")
    return [], [f"data set {dataset.name}: {note}" for note in notes]


def _contradict(labels: frozenset[int], present: frozenset[int]) -> bool:
    """Most labels are not in the mask, or most of what is in it has no label."""
    return 2 * len(labels & present) < len(labels) or 2 * len(present - labels) > len(present)


def _many(against: Sequence[Seen], judged: Sequence[Seen]) -> bool:
    return len(against) > TOLERATED * len(judged) and (len(against) >= FEWEST or 2 * len(against) >= len(judged))


def _palette_problem(recoloured: Sequence[Seen]) -> str | None:
    """Masks whose colours fit the labels better than their ids do, or that nothing else tells about."""
    wrong = [
        s
        for s in recoloured
        if any((value == 0) != (meant == 0) for value, meant in s.colours or ())
        or len(s.by_colour ^ s.labels) < len(s.present ^ s.labels)
    ]
    if not wrong and any(s.labels for s in recoloured):
        return None
    wrong = wrong or list(recoloured)
    if not wrong:
        return None
    return (
        f"{len(wrong)} masks have the colours of VOC's palette in another order, so their ids are not the classes': "
        f"{name_some([s.name for s in wrong])}; save them with ids in VOC's order"
    )


def _systematic(
    judged: Sequence[Seen], against: Sequence[Seen], dataset: Dataset, advice: Callable[[Sequence[str]], str]
) -> str | None:
    """What the contradicting masks have in common, if anything, and what to do."""
    ids = f"class ids 1..{dataset.num_foreground}" if dataset.num_foreground > 1 else "class id 1"
    most = TOLERATED * len(judged)
    if 2 * sum(s.values == {0, IGNORE} for s in against) > len(against) > most:
        return f"they hold only 0 and 255, and white is 255 = ignore: write {ids}"
    if 2 * sum(s.values <= {0, IGNORE} for s in against) > len(against) > most:
        return f"they hold only background: write {ids}"
    # A wrong explanation leaves more contradictions than the right one.
    classes = _alike(judged, dataset.num_foreground)
    left = {0: _left(judged, [{classes[i] for i in s.present} for s in judged])}
    for shift in (1, -1):
        left[shift] = _left(judged, [{v + shift for v in s.values - {IGNORE}} - {0} for s in judged])
    best = min(left, key=lambda shift: (left[shift], abs(shift)))
    if 4 * left[best] > len(against):
        found = set[int]().union(*(s.present for s in judged))
        if len(found) == 1 and len(against) > most:
            return f"they hold no other id than {min(found)}: write {ids}"
        if 2 * sum(s.labels <= s.present for s in against) > len(against) > most:
            return (
                "they show classes without a label, hold ids of instances or were resized smoothly; label every class, "
                "write class ids, resize with nearest neighbour"
            )
        return None
    if best:
        return f"their ids are {'lower' if best > 0 else 'higher'} by one: write 0 for background, then {ids}"
    order = [dataset.classes[c - 1] for c in classes.values()]
    return f"they look as if written with classes: [{', '.join(order)}]; {advice(order)}"


def _left(judged: Sequence[Seen], present: Sequence[set[int]]) -> int:
    """The contradictions that are left if masks show these classes."""
    return sum(_contradict(s.labels, frozenset(ids)) for s, ids in zip(judged, present, strict=True))


def _alike(judged: Sequence[Seen], count: int) -> dict[int, int]:
    """The class of each id: images with that label and images with the id in their masks are most alike."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and seldom needed

    labels, present = np.zeros((len(judged), count)), np.zeros((len(judged), count))
    for row, s in enumerate(judged):
        labels[row, [i - 1 for i in s.labels]] = 1
        present[row, [i - 1 for i in s.present]] = 1
    both = present.T @ labels
    either = present.sum(0)[:, None] + labels.sum(0)[None] - both
    alike = both / np.maximum(either, 1) + 1e-6 * np.eye(count)  # ids that nothing tells about stay
    _, chosen = linear_sum_assignment(alike, maximize=True)
    return {i: int(c) + 1 for i, c in enumerate(chosen, 1)}
