"""The demo's own data set: textured objects on clutter, with exact masks that only scoring may look at.

A class is an outline *and* a surface ("dotted_flower"). Neither alone names it: three outlines share three surfaces,
colours are drawn at random, and the clutter holds plain objects of every outline and patterned bars of every surface.
The outline is the semantic group, so classes of one cluster look alike and are the ones to confuse. Classes keep
company: each has a partner of another group that it is seen with more often than chance.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from pcc.artifacts import write_mask
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.data.textures import (
    Outline,
    Surface,
    checks,
    dots,
    ellipse,
    petals,
    plain,
    polygon,
    smooth_noise,
    stripes,
)
from pcc.errors import InputError
from pcc.files import atomic_path
from pcc.progress import track

OUTLINES: dict[str, Outline] = {"pebble": ellipse, "kite": polygon, "flower": petals}
SURFACES: dict[str, Surface] = {"striped": stripes, "dotted": dots, "checked": checks}
CLASSES = tuple(f"{surface}_{outline}" for outline in OUTLINES for surface in SURFACES)
TAXONOMY = {outline: tuple(f"{surface}_{outline}" for surface in SURFACES) for outline in OUTLINES}

MOST_HIDDEN = 0.4  # an object may lose this share of its pixels to later ones
ATTEMPTS = 20  # placements tried before an object is left out

Picture = Float[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Scene:
    """How one image is composed.

    Attributes:
        image_size: height and width in pixels.
        objects: fewest and most objects.
        radius: smallest and largest object radius as a share of the image's size.
        partners: probability that a further object is of the first one's partner class rather than any class.
        clutter: number of distractors, which belong to no class.
        noise: standard deviation of the pixel noise, in 0..1 intensity.
    """

    image_size: int
    objects: tuple[int, int]
    radius: tuple[float, float]
    partners: float
    clutter: int
    noise: float


def read(
    output: Path,
    *,
    train: int = 800,
    val: int = 160,
    image_size: int = 96,
    objects: tuple[int, int] = (1, 3),
    radius: tuple[float, float] = (0.15, 0.26),
    partners: float = 0.4,
    clutter: int = 5,
    noise: float = 0.03,
    seed: int = 0,
) -> Manifest:
    """Draw the data set and write ``images/`` and ``masks/`` under ``output``.

    Args:
        output: folder of the data set; files of the same name are replaced.
        train: number of training images.
        val: number of validation images.
        image_size: height and width in pixels.
        objects: fewest and most objects in an image.
        radius: smallest and largest object radius as a share of ``image_size``.
        partners: how strongly classes keep company; 0 makes them independent.
        clutter: distractors in each image.
        noise: standard deviation of the pixel noise, in 0..1 intensity.
        seed: image i is drawn from (seed, i) alone, whatever else is drawn.

    Raises:
        InputError: settings that describe no image.
    """
    _check(train, val, image_size, objects, radius)
    scene = Scene(image_size, (objects[0], objects[1]), (radius[0], radius[1]), partners, clutter, noise)
    splits = ["train"] * train + ["val"] * val
    records = []
    for index, split in enumerate(track(splits, "drawing images")):
        image, mask = draw(scene, np.random.default_rng([seed, index]))
        records.append(_write(output, f"{split}_{index:05d}", split, image, mask))
    return Manifest(dataset=Dataset("shapes", CLASSES, TAXONOMY, CLASSES), records=tuple(records))


def draw(
    scene: Scene, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """One image and its mask of class ids; the same generator state gives the same picture."""
    size = scene.image_size
    picture = 0.5 * smooth_noise(rng, size, 2) + 0.5 * smooth_noise(rng, size, 8)
    for _ in range(scene.clutter):
        _distract(picture, scene, rng)
    mask = np.zeros((size, size), np.uint8)
    owner = np.zeros((size, size), np.int64)  # which object each pixel shows; 0 none
    areas: list[int] = [0]
    for index in _companions(scene, rng):
        outline, surface = (
            list(OUTLINES.values())[index // len(SURFACES)],
            list(SURFACES.values())[index % len(SURFACES)],
        )
        for _ in range(ATTEMPTS):
            radius = size * rng.uniform(*scene.radius)
            inside, x, y = _place(outline, radius, size, rng)
            kept = np.bincount(owner[~inside], minlength=len(areas)) >= (1 - MOST_HIDDEN) * np.array(areas)
            if kept[1:].all():
                picture[inside] = _paint(surface, x, y, radius, rng)[inside]
                mask[inside] = index + 1
                owner[inside] = len(areas)
                areas.append(int(inside.sum()))
                break
    noisy = picture + rng.normal(0, scene.noise, picture.shape)
    return np.round(255 * noisy.clip(0, 1)).astype(np.uint8), mask


def _companions(scene: Scene, rng: np.random.Generator) -> Iterator[int]:
    """Vector indices of the classes to draw: any first one, then often its partner in the next group."""
    first = int(rng.integers(len(CLASSES)))
    yield first
    for _ in range(int(rng.integers(scene.objects[0], scene.objects[1] + 1)) - 1):
        together = rng.random() < scene.partners
        yield (first + len(SURFACES) + 1) % len(CLASSES) if together else int(rng.integers(len(CLASSES)))


def _distract(picture: Picture, scene: Scene, rng: np.random.Generator) -> None:
    """Paint one thing of no class: a plain object, or a patterned bar."""
    radius = scene.image_size * rng.uniform(*scene.radius)
    if rng.random() < 0.5:
        outline, surface = list(OUTLINES.values())[rng.integers(len(OUTLINES))], plain
        inside, x, y = _place(outline, 0.8 * radius, scene.image_size, rng)
    else:
        surface = list(SURFACES.values())[rng.integers(len(SURFACES))]
        _, x, y = _place(ellipse, radius, scene.image_size, rng)
        inside = (np.abs(x) < radius) & (np.abs(y) < 0.22 * radius)
    picture[inside] = _paint(surface, x, y, radius, rng)[inside]


def _place(outline: Outline, radius: float, size: int, rng: np.random.Generator):
    """Put an outline somewhere, turned: which pixels lie inside, and each pixel's own-frame x and y in pixels."""
    centre = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
    turn, variant = rng.uniform(0, 2 * np.pi), int(rng.integers(6))
    rows, columns = np.mgrid[:size, :size] + 0.5
    dy, dx = rows - centre[0], columns - centre[1]
    x, y = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    return np.hypot(x, y) <= radius * outline(np.arctan2(y, x), variant), x, y


def _paint(
    surface: Surface, x: np.ndarray, y: np.ndarray, radius: float, rng: np.random.Generator
) -> Picture:
    """A surface in two random colours that differ enough to be told apart, with the pattern's scale and phase drawn."""
    first = rng.random(3)
    second = rng.random(3)
    while np.abs(first - second).mean() < 0.3:
        second = rng.random(3)
    period = rng.uniform(6, 9)
    phase = rng.random(2)
    share = surface(x / period + phase[0], y / period + phase[1])[..., None]
    return share * first + (1 - share) * second


def _write(output: Path, image_id: str, split: str, image: np.ndarray, mask: np.ndarray) -> Record:
    image_path, mask_path = output / "images" / f"{image_id}.png", output / "masks" / f"{image_id}.png"
    with atomic_path(image_path) as temporary:
        Image.fromarray(image).save(temporary)
    write_mask(mask_path, mask)
    labels = tuple(CLASSES[class_id - 1] for class_id in np.unique(mask) if class_id)
    return Record(image_id, image_path, labels, mask_path, split, "000", True)


def _check(
    train: int, val: int, image_size: int, objects: tuple[int, int], radius: tuple[float, float]
) -> None:
    """Refuse settings that describe no image, all faults at once."""
    faults = {
        f"train is {train} and val is {val}; give at least 1 of each": train < 1 or val < 1,
        f"image_size is {image_size} pixels; give at least 32": image_size < 32,
        f"objects is {list(objects)}; give [fewest, most] with 1 <= fewest <= most": len(objects) != 2
        or not 1 <= objects[0] <= objects[1],
        f"radius is {list(radius)}; give [smallest, largest] with 0 < smallest <= largest <= 0.5": len(radius)
        != 2
        or not 0 < radius[0] <= radius[1] <= 0.5,
    }
    if problems := [f"dataset.settings: {fault}" for fault, found in faults.items() if found]:
        raise InputError(problems)
