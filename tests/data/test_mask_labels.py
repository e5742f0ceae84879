"""Masks of a whole set against its labels, each kind of mistake as its own line; what is sound raises none."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcc.artifacts.masks import read_mask, write_mask
from pcc.data.checks import find_problems
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.ids import palette
from pcc.runtime.errors import InputError

CLASSES = ("bird", "cat", "dog", "horse", "sheep")
LABELS = [(1,), (2,), (3,), (4,), (5,), (1, 2), (3, 4), (5, 1), (2, 4), (3,), (2,), (1,)]  # of twelve images
Write = Callable[[Path, np.ndarray], None]


def data_set(
    home: Path, labels: Sequence[tuple[int, ...]], masks: Sequence[tuple[int, ...]], write: Write = write_mask
) -> Manifest:
    """Grey images with labels and masks of these ids; two thirds of a mask are background."""
    records = []
    for number, (given, ids) in enumerate(zip(labels, masks, strict=True)):
        mask = np.zeros((6, 9), np.uint8)
        for place, value in enumerate(ids):
            mask[2 * (place // 9) % 2 + place // 18, place % 9] = value
        name = f"i{number:02d}"
        Image.new("L", (9, 6)).save(home / f"{name}.jpg")
        write(home / f"{name}.png", mask)
        split = "val" if number % 4 == 3 else "train"
        names = tuple(CLASSES[i - 1] for i in given)
        records.append(Record(name, home / f"{name}.jpg", names, home / f"{name}.png", split))
    return Manifest(Dataset("pets", CLASSES), tuple(records))


def recoloured(order: Sequence[int]) -> Write:
    """Masks whose value i has the colour of VOC's class ``order[i]``, as quantized RGB has it."""
    colours = [palette()[3 * i : 3 * i + 3] for i in order]

    def write(path: Path, mask: np.ndarray) -> None:
        image = Image.fromarray(mask).convert("P")
        image.putdata(mask.ravel().tolist())
        image.putpalette([channel for colour in colours for channel in colour])
        image.save(path)

    return write


def grey(path: Path, mask: np.ndarray) -> None:
    """What is left of a palette mask that was converted to grey."""
    image = Image.fromarray(mask)
    image.putpalette(palette())
    image.convert("RGB").convert("L").save(path)


def mapped(function: Callable[[int], int], labels: Sequence[tuple[int, ...]] = LABELS) -> list[tuple[int, ...]]:
    return [tuple(function(i) for i in ids) for ids in labels]


START = "data set pets: masks contradict the labels of "
MANY = [(i,) for i in (1, 2, 3, 4, 5) for _ in range(20)]
SWAPPED = {4: 5, 5: 4}


@pytest.mark.parametrize(
    ("labels", "masks", "write", "words"),
    [
        (
            LABELS,
            mapped(lambda _: 255),
            write_mask,
            ["12 of 12", "only 0 and 255", "255 = ignore: write class ids 1..5"],
        ),
        (LABELS, mapped(lambda _: 0), write_mask, ["12 of 12 images: i00, ", "hold only background"]),
        (
            LABELS,
            mapped(lambda i: 6 - i),
            write_mask,
            ["classes: [sheep, horse, dog, cat, bird]; set dataset.settings.c"],
        ),
        (
            LABELS,
            mapped(lambda i: i % 5 + 1),
            write_mask,
            ["with classes: [sheep, bird, cat, dog, horse]; set dataset"],
        ),
        # Two classes of five that are swapped, though eight in ten images are right.
        (
            [*MANY, (4,)],
            [*mapped(lambda i: SWAPPED.get(i, i), MANY), (5,)],
            write_mask,
            ["[bird, cat, dog, sheep, horse]"],
        ),
        (
            [(1,)] * 60 + [(4,)] * 3 + [(5,)] * 3,
            [(1,)] * 60 + [(5,)] * 3 + [(4,)] * 3,
            write_mask,
            ["6 of 66", "sheep, horse]"],
        ),
        (LABELS, mapped(lambda _: 1), write_mask, ["8 of 12 images", "hold no other id than 1: write class ids 1..5"]),
        (
            LABELS,
            mapped(lambda i: i - 1),
            write_mask,
            ["ids are lower by one: write 0 for background, then class ids 1"],
        ),
        (LABELS, [(1, 2, 3, 4, 5)] * 12, write_mask, ["12 of 12", "label every class, write class ids"]),  # instances
        (
            [(2,), (1,), (1,), (3,)],
            [(255,), (255,), (1,), (3,)],
            write_mask,
            ["2 of 4 images: i00, i01; they hold only 0"],
        ),
        ([(2,)], [(3,)], write_mask, ["1 of 1 images: i00; "]),
    ],
)
def test_a_mistake_of_all_masks_is_one_line(
    tmp_path: Path, labels: list[tuple[int, ...]], masks: list[tuple[int, ...]], write: Write, words: list[str]
) -> None:
    data = data_set(tmp_path, labels, masks, write)
    for verify in ("full", "headers"):
        found = [p for p in find_problems(data, verify=verify) if "is empty" not in p]
        assert len(found) == 1 and found[0].startswith(START), found
        assert all(word in found[0] for word in words), found


@pytest.mark.parametrize(
    ("order", "masks"),
    [
        ([0, 5, 4, 3, 2, 1], mapped(lambda i: 6 - i)),
        ([0, 2, 3, 4, 5, 1], mapped(lambda i: (i - 2) % 5 + 1)),
        ([1, 2, 3, 4, 5, 0], mapped(lambda i: i - 1)),  # background is not 0
    ],
)
def test_colours_of_voc_in_another_order(tmp_path: Path, order: list[int], masks: list[tuple[int, ...]]) -> None:
    data = data_set(tmp_path, LABELS, masks, recoloured(order))
    (problem,) = find_problems(data)
    assert "masks have the colours of VOC's palette in another order" in problem and "i00, i0" in problem


def test_colours_that_labels_do_not_confirm_are_noted_only(tmp_path: Path) -> None:
    notes: list[str] = []
    data = data_set(tmp_path, LABELS, LABELS, recoloured([0, 5, 4, 3, 2, 1]))
    assert find_problems(data, notes=notes) == []
    assert notes == [
        "data set pets: 10 masks have VOC's colours in another order; their ids are used, as labels confirm"
    ]


@pytest.mark.parametrize(
    "write",
    [write_mask, lambda path, mask: Image.fromarray(mask).save(path), recoloured([0, 130, 131, 132, 133, 134])],
    ids=["VOC's palette", "grey", "some palette"],
)
def test_sound_masks_raise_nothing(tmp_path: Path, write: Write) -> None:
    notes: list[str] = []
    assert find_problems(data_set(tmp_path, LABELS, LABELS, write), notes=notes) == []
    assert [note for note in notes if "palette" not in note and "VOC's colours" not in note] == []


@pytest.mark.parametrize("forgotten", [{3: (1,)}, {0: (), 7: (2,)}, {0: (1, 2, 3, 4)}])
def test_an_annotator_s_oversights_are_counted_and_stop_nothing(
    tmp_path: Path, forgotten: dict[int, tuple[int, ...]]
) -> None:
    notes: list[str] = []
    masks = [forgotten.get(number, ids) for number, ids in enumerate(LABELS)]
    assert find_problems(data_set(tmp_path, LABELS, masks), notes=notes) == []
    (note,) = notes
    assert note.startswith(f"data set pets: masks contradict labels in {len(forgotten)} of 12 images, check them: i0")


def test_images_without_labels_or_with_ignored_masks_are_not_compared(tmp_path: Path) -> None:
    data = data_set(tmp_path, [(1,), (), (2,), ()], [(1,), (3,), (2,), (4,)])
    notes: list[str] = []
    write_mask(tmp_path / "i02.png", np.full((6, 9), 255, np.uint8))
    assert find_problems(data, allow_unlabelled=True, notes=notes) == notes == []


@pytest.mark.parametrize(
    ("write", "masks", "words"),
    [
        (
            grey,
            LABELS,
            "holds 38; class ids are 0..5 and 255 (ignore); they look like a palette's colours turned to grey",
        ),
        (
            write_mask,
            mapped(lambda _: 128),
            "mask holds 128; class ids are 0..5 and 255 (ignore); write 1 for the first",
        ),
        (write_mask, mapped(lambda _: 75), "; they look like a palette's colours turned to grey"),
        (
            write_mask,
            mapped(lambda _: 254),
            "holds 254; class ids are 0..5 and 255 (ignore); write 1 for the first class, n",
        ),
        (
            lambda path, mask: Image.fromarray(mask).convert("RGB").save(path),
            LABELS,
            "mask has mode RGB; save class ids",
        ),
        (
            lambda path, mask: Image.fromarray(mask).convert("RGBA").save(path),
            LABELS,
            "mask has mode RGBA; save class ids",
        ),
        (
            lambda path, mask: Image.fromarray(mask.astype(np.uint16)).save(path),
            LABELS,
            "mask has mode I;16; save class ids",
        ),
    ],
)
def test_masks_of_other_values_and_modes(
    tmp_path: Path, write: Write, masks: list[tuple[int, ...]], words: str
) -> None:
    problems = find_problems(data_set(tmp_path, LABELS, masks, write))
    assert len(problems) == 12 and words in problems[0]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_holds_the_ids_that_were_written(tmp_path: Path, bits: int) -> None:
    mask = np.arange(2**bits, dtype=np.uint8)[None].repeat(4, axis=0)
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.ravel().tolist())
    image.putpalette([0] * 3 * 2**bits)
    image.save(tmp_path / "palette.png", bits=bits)
    assert read_mask(tmp_path / "palette.png").tolist() == mask.tolist()
    # The same file with colour type 0, grey, in place of 3, palette.
    content = bytearray((tmp_path / "palette.png").read_bytes())
    content[25] = 0
    assert content[24] == bits
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4)
    (tmp_path / "grey.png").write_bytes(content)
    assert read_mask(tmp_path / "grey.png").tolist() == mask.tolist()


def test_damaged_masks_are_one_line_each(tmp_path: Path) -> None:
    """Cut ends, flipped bytes, damaged headers: unreadable, or read as something of the right kind."""
    rng = np.random.default_rng(0)
    path = tmp_path / "mask.png"
    write_mask(path, np.arange(54, dtype=np.uint8).reshape(6, 9) % 6)
    sound, refused = path.read_bytes(), 0
    for number in range(600):
        content = bytearray(sound[: rng.integers(8, len(sound))] if number % 3 == 0 else sound)
        for place in rng.integers(8, 60 if number % 2 else len(content), 1 + number % 3):
            content[place % len(content)] = rng.integers(256)
        path.write_bytes(content)
        with suppress(InputError):
            refused += 1
            refused -= read_mask(path).dtype == np.uint8
    assert refused > 300


def test_masks_that_went_through_jpeg(tmp_path: Path) -> None:
    blurred = np.linspace(0, 200, 54).astype(np.uint8).reshape(6, 9)
    data = data_set(tmp_path, [(1,)], [(1,)])
    Image.fromarray(blurred).save(tmp_path / "i00.png")
    problem = find_problems(data)[0]
    assert "so many values come from JPEG" in problem and len(problem) < 350
