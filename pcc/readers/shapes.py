"""The demo's own data set: textured objects on clutter, with exact masks that only scoring may look at.

A class is an outline *and* a surface ("dotted_flower"): three outlines share three surfaces, and no colour belongs to
any class. An outline comes with a grain (pebbles have a coarse surface, flowers a fine one), as a tiger's stripes are
wider than a zebra's. Clutter wears the same surfaces in the same grains on bars and rings, which are of no class.
The outline is the semantic group. Classes keep company: each has a partner in the next group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.readers.textures import (
    Field,
    Outline,
    Place,
    Surface,
    checks,
    dots,
    ellipse,
    meadow,
    petals,
    polygon,
    sky,
    smooth_noise,
    stripes,
    water,
)
from pcc.runtime.files import atomic_path
from pcc.runtime.progress import track
from pcc.runtime.settings import PAIR, Rule, Seed, limits


class Group(NamedTuple):
    """What the classes of one group share; ``grain`` scales their surfaces' period."""

    name: str
    outline: Outline
    grain: float


GROUPS = (Group("pebble", ellipse, 1.35), Group("kite", polygon, 1.0), Group("flower", petals, 0.65))
SURFACES: dict[str, Surface] = {"striped": stripes, "dotted": dots, "checked": checks}
TAXONOMY = {group.name: tuple(f"{surface}_{group.name}" for surface in SURFACES) for group in GROUPS}
CLASSES = tuple(name for names in TAXONOMY.values() for name in names)
# Where the classes of a group are at home, for data in which places and classes go together.
PLACES: dict[str, Place] = {"water": water, "sky": sky, "meadow": meadow}
HOMES = dict(zip(TAXONOMY, PLACES, strict=True))
KINDS = [(group, surface) for group in GROUPS for surface in SURFACES.values()]  # in the order of CLASSES

PERIOD = (0.094, 0.115)  # of a surface of grain 1, as a share of the image's size
CONTRAST = 0.35  # least difference in brightness between a surface's two colours
SHADING = 0.4  # range of the soft light and shade on a surface
GROUND = 0.8  # range of the background's colours
BRIGHTNESS = np.array([0.299, 0.587, 0.114])
MOST_HIDDEN = 0.4  # an object may lose this share of its pixels to later ones
ATTEMPTS = 20  # placements tried before an object is left out

Images = Annotated[int, limits("images", ge=1, le=100_000)]
Radius = Annotated[int | float, limits("share of image_size", ge=0.01, le=0.5)]
Share = Annotated[int | float, limits(ge=0, le=1)]
Picture = Float[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Scene:
    """How one image is composed.

    Attributes:
        image_size: height and width in pixels.
        objects: fewest and most objects.
        radius: smallest and largest radius of an object as a share of the image's size.
        partners: probability that a further object is of the first one's partner class rather than of any class.
        clutter: number of bars and rings, which are of no class.
        noise: standard deviation of the pixel noise, in 0..1 intensity.
        at_home: probability that the ground is the place of the first object's group, rather than any place; None: no
            place at all, but coloured noise.
        place: the ground, whatever is at home there.
    """

    image_size: int
    objects: tuple[int, int]
    radius: tuple[float, float]
    partners: float
    clutter: int
    noise: float
    at_home: float | None = None
    place: str | None = None


def read(
    output: Path,
    *,
    train: Images = 800,
    val: Images = 200,
    image_size: Annotated[int, limits("pixels", ge=32, le=4096)] = 96,
    objects: Annotated[Sequence[Annotated[int, limits(ge=1, le=100)]], PAIR, Rule("ordered")] = (1, 3),
    radius: Annotated[Sequence[Radius], PAIR, Rule("ordered")] = (0.18, 0.28),
    partners: Share = 0.6,
    clutter: Annotated[int, limits(ge=0, le=1000)] = 4,
    noise: Share = 0.04,
    at_home: Share | None = None,
    seed: Seed = 0,
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
        clutter: bars and rings in each image.
        noise: standard deviation of the pixel noise, in 0..1 intensity.
        at_home: how strongly places and classes go together: a pebble is at home on water, a kite in the sky, a flower
            on a meadow; 0 puts every object anywhere, None (the demo) has no places.
        seed: image i is drawn from (seed, i) alone, whatever else is drawn.
    """
    least, most = map(float, radius)
    scene = Scene(
        image_size,
        (objects[0], objects[1]),
        (least, most),
        float(partners),
        clutter,
        float(noise),
        None if at_home is None else float(at_home),
    )
    records = []
    for index, split in enumerate(track(["train"] * train + ["val"] * val, "draw images")):
        image, mask = draw(scene, np.random.default_rng([seed, index]))
        records.append(_write(output, f"{split}_{index:05d}", split, image, mask))
    return Manifest(dataset=Dataset("shapes", CLASSES, TAXONOMY, CLASSES), records=tuple(records))


def draw(scene: Scene, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """One image and its mask of class ids; the same generator state gives the same picture."""
    size = scene.image_size
    companions = None
    if scene.at_home is None and scene.place is None:
        ground = 0.5 * smooth_noise(rng, size, 2) + 0.5 * smooth_noise(rng, size, 8)
        picture = 0.5 + GROUND * (ground - 0.5)
    else:
        companions = list(_companions(scene, rng))
        place = scene.place or _place(KINDS[companions[0]][0], scene.at_home or 0.0, rng)
        picture = PLACES[place](size, rng)
    for _ in range(scene.clutter):
        _add_clutter(picture, scene, rng)
    mask = np.zeros((size, size), np.uint8)
    owner = np.zeros((size, size), np.int64)  # number of the object that a pixel shows; 0: none
    areas = [0]
    for index in _companions(scene, rng) if companions is None else companions:
        group, surface = KINDS[index]
        placed = _find_place(group.outline, owner, areas, scene, rng)
        if placed is not None:
            inside, x, y = placed
            picture[inside] = _paint(surface, group.grain, x, y, rng)[inside]
            mask[inside] = index + 1
            owner[inside] = len(areas)
            areas.append(int(inside.sum()))
    noisy = picture + rng.normal(0, scene.noise, picture.shape)
    return np.round(255 * noisy.clip(0, 1)).astype(np.uint8), mask


def _companions(scene: Scene, rng: np.random.Generator) -> Iterator[int]:
    """Vector indices of the classes to draw: any first one, then often its partner in the next group."""
    first = int(rng.integers(len(CLASSES)))
    yield first
    for _ in range(int(rng.integers(scene.objects[0], scene.objects[1] + 1)) - 1):
        together = rng.random() < scene.partners
        yield (first + len(SURFACES) + 1) % len(CLASSES) if together else int(rng.integers(len(CLASSES)))


def _place(group: Group, at_home: float, rng: np.random.Generator) -> str:
    """The group's home, or any place."""
    anywhere = list(PLACES)[int(rng.integers(len(PLACES)))]
    return HOMES[group.name] if rng.random() < at_home else anywhere


def _add_clutter(picture: Picture, scene: Scene, rng: np.random.Generator) -> None:
    """Paint a bar or a ring in any surface of any grain."""
    radius = float(scene.image_size * rng.uniform(*scene.radius))
    group, surface = KINDS[rng.integers(len(KINDS))]
    x, y = _turned_frame(radius, scene.image_size, rng)
    distance = np.hypot(x, y)
    bar = (np.abs(x) < radius) & (np.abs(y) < 0.18 * radius)
    ring = (distance < 0.7 * radius) & (distance > 0.4 * radius)
    inside = bar if rng.random() < 0.5 else ring
    picture[inside] = _paint(surface, group.grain, x, y, rng)[inside]


def _find_place(
    outline: Outline, owner: np.ndarray, areas: list[int], scene: Scene, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "H W"], Field, Field] | None:
    """The pixels an object would take, and its own frame; None where every attempt hides too much of another."""
    for _ in range(ATTEMPTS):
        radius = float(scene.image_size * rng.uniform(*scene.radius))
        x, y = _turned_frame(radius, scene.image_size, rng)
        inside = np.hypot(x, y) <= radius * outline(np.arctan2(y, x), int(rng.integers(6)))
        still_seen = np.bincount(owner[~inside], minlength=len(areas))
        if (still_seen[1:] >= (1 - MOST_HIDDEN) * np.array(areas)[1:]).all():
            return inside, x, y
    return None


def _turned_frame(radius: float, size: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Every pixel's x and y, in pixels, from a random centre, turned at random; the border may cut 0.4 of a radius."""
    centre = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
    turn = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] + 0.5
    dy, dx = rows - centre[0], columns - centre[1]
    return np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx


def _paint(surface: Surface, grain: float, x: Field, y: Field, rng: np.random.Generator) -> Picture:
    """A surface in two random colours that can be told apart, its period and phase drawn, softly shaded."""
    first, second = rng.random((2, 3))
    while abs((first - second) @ BRIGHTNESS) < CONTRAST:
        first, second = rng.random((2, 3))
    period = len(x) * grain * rng.uniform(*PERIOD)
    phase = rng.random(2)
    share = surface(x / period + phase[0], y / period + phase[1])[..., None]
    return share * first + (1 - share) * second + SHADING * (smooth_noise(rng, len(x), 6) - 0.5)


def _write(output: Path, image_id: str, split: str, image: np.ndarray, mask: np.ndarray) -> Record:
    image_path, mask_path = output / "images" / f"{image_id}.png", output / "masks" / f"{image_id}.png"
    with atomic_path(image_path) as temporary:
        Image.fromarray(image).save(temporary)
    write_mask(mask_path, mask)
    labels = tuple(CLASSES[class_id - 1] for class_id in np.unique(mask) if class_id)
    return Record(image_id, image_path, labels, mask_path, split)
