"""The demo's generator: what it promises of its pictures, checked from the files it writes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.readers import shapes, textures
from pcc.runtime.errors import InputError, call_with

SCENE = shapes.Scene(image_size=48, objects=(1, 3), radius=(0.18, 0.28), partners=0.6, clutter=3, noise=0.03)


@pytest.fixture(scope="module")
def pictures() -> list[tuple[np.ndarray, np.ndarray]]:
    return [shapes.draw(SCENE, np.random.default_rng([5, i])) for i in range(300)]


def test_the_files_are_what_the_manifest_says(tmp_path: Path) -> None:
    manifest = shapes.read(tmp_path, train=5, val=2, image_size=40)
    assert [r.split for r in manifest.records] == ["train"] * 5 + ["val"] * 2
    for record in manifest.records:
        assert record.mask is not None
        mask = read_mask(record.mask)
        assert read_image(record.image).shape == (40, 40, 3)
        assert mask.shape == (40, 40)
        named = {manifest.dataset.classes.index(name) + 1 for name in record.labels}
        assert named == set(np.unique(mask)) - {0}
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {f"{kind}/{r.image_id}.png" for kind in ("images", "masks") for r in manifest.records}


def test_an_image_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    few = shapes.read(tmp_path / "few", train=3, val=1, image_size=40)
    many = shapes.read(tmp_path / "many", train=6, val=1, image_size=40)
    other = shapes.read(tmp_path / "other", train=3, val=1, image_size=40, seed=1)
    for a, b, c in zip(few.records[:3], many.records, other.records, strict=False):
        assert a.image.read_bytes() == b.image.read_bytes()
        assert a.image.read_bytes() != c.image.read_bytes()


def place_of(image: np.ndarray, mask: np.ndarray) -> str:
    """The place whose mean colour the ground's is nearest to."""
    rng = np.random.default_rng(0)
    colours = {name: 255 * paint(48, rng).mean(axis=(0, 1)) for name, paint in shapes.PLACES.items()}
    ground = image[mask == 0].mean(axis=0)
    return min(colours, key=lambda name: float(np.linalg.norm(colours[name] - ground)))


@pytest.mark.parametrize(("at_home", "least", "most"), [(1.0, 1.0, 1.0), (0.5, 0.5, 0.85), (0.0, 0.2, 0.5)])
def test_classes_are_at_home_as_often_as_told(at_home: float, least: float, most: float) -> None:
    scene = shapes.Scene(48, (1, 1), (0.18, 0.28), 0.0, 0, 0.0, at_home)
    home = []
    for i in range(90):
        image, mask = shapes.draw(scene, np.random.default_rng([7, i]))
        group, _ = shapes.KINDS[int(mask.max()) - 1]
        home.append(shapes.HOMES[group.name] == place_of(image, mask))
    assert least <= np.mean(home) <= most


def test_groups_partition_the_classes() -> None:
    grouped = [name for names in shapes.TAXONOMY.values() for name in names]
    assert sorted(grouped) == sorted(shapes.CLASSES)
    assert len(shapes.CLASSES) == len(shapes.KINDS) >= 8
    assert len(shapes.TAXONOMY) >= 3


def test_no_class_has_a_colour_of_its_own(pictures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    colours: dict[int, list[np.ndarray]] = {}
    for image, mask in pictures:
        for class_id in set(np.unique(mask)) - {0}:
            colours.setdefault(int(class_id), []).append(image[mask == class_id].mean(axis=0))
    assert sorted(colours) == list(range(1, 10))
    means = np.array([np.mean(c, axis=0) for c in colours.values()])
    within = np.mean([np.std(c, axis=0) for c in colours.values()])
    assert np.std(means, axis=0).max() < within / 2


def test_partners_are_seen_together_more_than_chance() -> None:
    def share_with_partner(partners: float) -> float:
        scene = shapes.Scene(48, (2, 2), (0.18, 0.28), partners, clutter=0, noise=0.0)
        pairs: Counter[bool] = Counter()
        for i in range(300):
            present = np.unique(shapes.draw(scene, np.random.default_rng([9, i]))[1])[1:] - 1
            if len(present) == 2:
                low, high = (int(index) for index in present)
                pairs[(low + 4) % 9 == high or (high + 4) % 9 == low] += 1
        return pairs[True] / pairs.total()

    assert share_with_partner(0.6) > 0.5
    assert share_with_partner(0.0) < 0.4


def test_no_object_is_all_but_hidden(pictures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    areas = [(mask == class_id).sum() for _, mask in pictures for class_id in set(np.unique(mask)) - {0}]
    assert min(areas) > 20  # pixels; the smallest outline covers about 120, a border or an object may cut it


def test_clutter_is_background() -> None:
    busy = shapes.Scene(48, (1, 1), (0.18, 0.28), 0.0, clutter=12, noise=0.0)
    image, mask = shapes.draw(busy, np.random.default_rng(3))
    assert len(np.unique(mask)) == 2
    ground = image[mask == 0].astype(float)
    assert ground.std() > 30  # what no mask tells of is far from flat


@pytest.mark.parametrize("surface", list(shapes.SURFACES.values()))
def test_surfaces_repeat_and_stay_in_range(surface: textures.Surface) -> None:
    y, x = np.mgrid[:20, :20] / 7.3
    values = surface(x, y)
    assert 0 <= values.min() < 0.1
    assert 0.9 < values.max() <= 1
    np.testing.assert_allclose(values, surface(x + 1, y - 2), atol=1e-9)


@pytest.mark.parametrize("outline", [group.outline for group in shapes.GROUPS])
def test_outlines_close_and_fit(outline: textures.Outline) -> None:
    angle = np.linspace(-np.pi, np.pi, 721)[None]
    for variant in range(6):
        radius = outline(angle, variant)
        assert radius.min() > 0.3
        assert radius.max() <= 1.2
        assert radius[0, 0] == pytest.approx(radius[0, -1])


def test_outlines_differ_in_corners() -> None:
    """A square's radius at a corner is sqrt 2 times that at a side, an upright ellipse's axes are 1 and short."""
    corner, side = textures.polygon(np.array([[0.0, np.pi / 4]]), 1)[0]
    assert corner / side == pytest.approx(np.sqrt(2))
    np.testing.assert_allclose(textures.ellipse(np.array([[0.0, np.pi / 2]]), 1)[0], [1, 0.8], atol=1e-12)


def test_all_bad_settings_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        bad = {
            "train": 0,
            "image_size": 8,
            "objects": [3, 1],
            "radius": [0.2, 0.9],
            "partners": 2,
            "noise": -1,
            "at_home": 2,
        }
        call_with(shapes.read, bad, "dataset.settings", output=tmp_path)
    assert len(caught.value.problems) == 7
    assert all(problem.startswith("dataset.settings.") for problem in caught.value.problems)
    assert not list(tmp_path.iterdir())
