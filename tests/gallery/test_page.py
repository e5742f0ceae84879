"""The gallery's page in a real browser: what it shows, that it can be used by keys alone, and that it stays light."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import ABSENT, BROWSER, DRIVER, chromium, multiply, requests, scroll
from gallery_results import CLASSES, ODD, TRAIN, VAL, make_run
from matplotlib import colormaps
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.maps import read_maps
from pcc.artifacts.masks import read_mask
from pcc.maps import resize
from pcc.runtime.files import write_text
from pcc.tools.gallery import gallery

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (BROWSER and DRIVER), reason=ABSENT)]
OURS, THEIRS = "pcc/seed-0/cam/crf/light", "cam/seed-0/cam/crf/light"
MANY = 10_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_run(tmp_path_factory.mktemp("gallery") / "results/tiny")
    (home / "data/images/im01.png").unlink()
    gallery(home)
    return home


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(run: Path, driver: Chrome) -> Iterator["Page"]:
    """The page as it is opened first; at the end nothing was complained of and nothing fetched from elsewhere."""
    page = Page(driver, run / "gallery")
    requests(driver)  # of other pages
    page.open()
    yield page
    assert driver.get_log("browser") == []
    asked = requests(driver)
    assert any(address.endswith("/data.js") for address in asked)
    home = (run / "gallery").as_uri()
    assert [a for a in asked if not a.startswith((home, "data:", "about:blank", "chrome:"))] == []


class Page:
    """What the tests ask of the page."""

    def __init__(self, driver: Chrome, folder: Path) -> None:
        self.driver, self.folder = driver, folder

    def open(self, **state: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{(self.folder / 'index.html').as_uri()}#{urlencode(state)}")
        self.wait(lambda: self.js("return performance.getEntriesByName('ready').length === 1"))

    def js(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def at(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def wait(self, condition: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, 120, poll_frequency=0.05).until(lambda _: condition())

    def ids(self) -> list[str]:
        return list(self.js("return [...document.querySelectorAll('#grid .id')].map((e) => e.textContent)"))

    def state(self) -> dict[str, str]:
        return dict(self.js("return State.get()"))

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        return str(self.js("return document.activeElement.id || document.activeElement.className"))

    def painted(self, selector: str) -> np.ndarray:
        """The pixels of a canvas, [H, W, 4]."""
        width, height, pixels = self.js(
            """const canvas = document.querySelector(arguments[0]), { width, height } = canvas;
            return [width, height, [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];""",
            selector,
        )
        return np.array(pixels, np.uint8).reshape(height, width, 4)


def of_kind(run: Path, experiment: str, image_id: str) -> np.ndarray:
    return read_mask(run / Path(experiment).parent / f"pseudo_masks/000/{image_id}.png")


def data_of(run: Path) -> dict[str, Any]:
    text = (run / "gallery/data.js").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text[len("const GALLERY = ") : -2])
    return data


def test_all_images_are_there_and_what_data_says_stays_text(page: Page) -> None:
    assert page.at("#count").text == f"{TRAIN + VAL} images"
    assert sorted(page.ids()) == sorted([ODD, *(f"im{n:02d}" for n in range(TRAIN + VAL) if n != 3)])
    assert CLASSES[1] in page.at("#tags").text
    assert page.driver.title == "tiny: PCC gallery"
    page.wait(lambda: page.js("return [...document.querySelectorAll('#grid img')].every((i) => i.complete)"))
    broken = "return [...document.querySelectorAll('#grid img')].filter((i) => !i.naturalWidth).length"
    assert page.js(broken) == 0
    assert "im01.png: file is missing" in page.at("#grid .fault").text


def test_filters(page: Page, run: Path) -> None:
    data = data_of(run)
    boats = [i for i, tags in zip(data["ids"], data["tags"], strict=True) if 3 in tags]
    page.at("#tags input[value='3']").click()
    assert page.ids() == boats and 0 < len(boats) < TRAIN + VAL
    page.at("#tags input[value='1']").click()
    assert page.ids() == [i for i, tags in zip(data["ids"], data["tags"], strict=True) if {1, 3} <= set(tags)]
    page.at("#reset").click()
    Select(page.at("#cluster")).select_by_visible_text("taxonomy: vehicle")
    assert page.ids() == boats
    page.at("#reset").click()
    Select(page.at("#split")).select_by_value("val")
    assert page.ids() == [f"im{n}" for n in range(TRAIN, TRAIN + VAL)]
    page.at("#q").send_keys("IM12")
    assert page.ids() == ["im12"] and page.at("#count").text == f"1 of {TRAIN + VAL} images"
    page.at("#q").send_keys("x")
    assert page.ids() == [] and page.at("#empty").is_displayed()
    page.at("#empty-reset").click()
    assert len(page.ids()) == TRAIN + VAL


def test_sorting(page: Page, run: Path) -> None:
    data = data_of(run)
    Select(page.at("#experiment")).select_by_value(THEIRS)
    Select(page.at("#sort")).select_by_value("iou-up")
    best = {
        i: score
        for step in data["steps"]
        if step["path"] in (THEIRS, str(Path(THEIRS).parent))
        for i, score in zip(data["ids"], step["iou"], strict=True)
        if score is not None
    }
    assert page.ids()[:-1] == sorted(best, key=lambda i: best[i]) and page.ids()[-1] == "im00"
    words = [e.text for e in page.driver.find_elements(By.CSS_SELECTOR, "#grid .numbers:last-child")]
    assert words[0].startswith(f"IoU {100 * min(best.values()):.1f} % · confidence 0.")
    Select(page.at("#sort")).select_by_value("iou-down")
    assert page.ids()[:-1] == sorted(best, key=lambda i: -best[i])
    Select(page.at("#sort")).select_by_value("confidence-up")
    quality = next(s["confidence"] for s in data["steps"] if s["confidence"])
    sure = {i: c for i, c in zip(data["ids"], quality, strict=True) if c is not None}
    assert page.ids()[: len(sure)] == sorted(sure, key=lambda i: sure[i])
    assert "against ground truth" in page.at("#note").text and "without ground truth" in page.at("#note").text
    Select(page.at("#experiment")).select_by_value(OURS)  # has no quality.csv, so that sort is not offered
    assert not [o for o in Select(page.at("#sort")).options if "confidence" in o.text]
    assert "Oracle" in page.at("#note").text
    assert "(oracle)" in Select(page.at("#experiment")).first_selected_option.text


def test_opacity(page: Page) -> None:
    slider = page.at("#opacity")
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    opacity = "return getComputedStyle(document.querySelector('#grid .over')).opacity"
    assert float(page.js(opacity)) == pytest.approx(0.1)
    assert page.state()["opacity"] == "10" and "opacity=10" in page.driver.current_url
    page.js("document.activeElement.blur()")
    page.press("]")
    assert float(page.js(opacity)) == pytest.approx(0.2)


def test_everything_by_keys(page: Page) -> None:
    page.press("/")
    assert page.focused() == "q"
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    stops = [page.focused()]
    while page.focused() != "card":
        page.press(Keys.TAB)
        stops.append(page.focused())
        assert len(stops) < 40
    assert {"q", "experiment", "layer", "sort", "split", "cluster", "opacity", "size", "reset"} <= set(stops)
    page.press(Keys.ARROW_RIGHT)
    assert page.js("return document.activeElement.dataset.place") == "1"
    page.press(Keys.END)
    assert page.js("return document.activeElement.dataset.place") == str(TRAIN + VAL - 1)
    page.press(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(Keys.ENTER)
    page.wait(lambda: page.at("#viewer").is_displayed())
    assert page.at("#viewer-title").text == "im02"
    page.press(Keys.ARROW_RIGHT)
    page.wait(lambda: page.at("#viewer-title").text == ODD)
    page.press("m")
    page.wait(lambda: page.state()["view"] == "maps")
    page.press("m")
    page.wait(lambda: page.state()["view"] == "photo")
    page.press("?")
    assert page.at("#help").is_displayed() and "next image" in page.at("#keys").text
    page.press(Keys.ESCAPE)
    assert not page.at("#help").is_displayed() and page.at("#viewer").is_displayed()
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.at("#viewer").is_displayed())
    assert page.js("return document.activeElement.dataset.place") == "3"
    assert page.state()["image"] == ""
    page.press("?", Keys.TAB, Keys.TAB)
    page.at("#letters").click()
    page.press(Keys.ESCAPE)
    page.press("]")
    assert page.state()["opacity"] == "60"  # letters may be turned off, for those who speak to their computer
    page.js("document.getElementById('letters').click()")


def test_an_image_has_a_link(page: Page) -> None:
    page.open(image=ODD, experiment=OURS, view="pseudo_masks")
    for _ in range(2):
        page.wait(lambda: page.at("#legend").text)
        assert page.at("#viewer-title").text == ODD
        assert page.at("figcaption").text == "pcc / cam / crf / light, seed 0 (oracle): pseudo mask"
        assert page.js("return document.querySelector('.photo').naturalWidth") == 32
        page.driver.refresh()
    page.wait(lambda: page.at("#viewer").is_displayed())
    page.at("#close").click()
    page.driver.back()
    page.wait(lambda: page.at("#viewer").is_displayed())
    page.open(image="../../nothing")
    assert "Image not found" in page.at("#viewer-place").text


def test_a_card_opens_and_back_leads_out(page: Page) -> None:
    page.driver.find_elements(By.CSS_SELECTOR, ".card")[5].click()
    page.wait(lambda: page.at("#legend").text)
    assert page.at("#viewer-title").text == "im05" and "experiment=" in page.driver.current_url
    page.driver.back()
    page.wait(lambda: not page.at("#viewer").is_displayed())
    page.driver.forward()
    page.wait(lambda: page.at("#viewer").is_displayed())
    page.at("#next").click()
    page.at("#close").click()
    page.wait(lambda: page.js("return document.activeElement.dataset.place") == "6")


def test_masks_are_in_the_class_colours(page: Page, run: Path) -> None:
    page.open(image="im04", experiment=OURS, view="pseudo_masks")
    page.wait(lambda: page.at("#legend").text)
    mask, pixels = of_kind(run, OURS, "im04"), page.painted(".pane .over")
    inner = np.ones(mask.shape, bool)
    inner[:, 1:] &= mask[:, 1:] == mask[:, :-1]
    inner[1:] &= mask[1:] == mask[:-1]
    assert inner.mean() > 0.1
    assert (pixels[~inner] == 255).all()
    assert (pixels[inner & (mask == 0)] == 0).all()
    for class_id, colour in ((1, (128, 0, 0)), (3, (128, 128, 0)), (255, (224, 224, 192))):
        assert (pixels[inner & (mask == class_id)] == (*colour, 255)).all()
    share = f"{100 * (mask == 1).mean():.1f} %"
    assert re.search(rf"cat\s+{re.escape(share)}", page.at("#legend").text.replace("\u00a0", " "))


def test_heat_is_the_map_resized(page: Page, run: Path) -> None:
    maps = dict(read_maps(run / "pcc/seed-0/cam/maps/000.safetensors"))["im04"]
    channel = 1
    page.open(image="im04", experiment=OURS, view="maps", map=str(maps.classes[channel]))
    page.wait(lambda: page.at("#heat-legend").is_displayed())
    place = resize(maps.values[None], maps.size)[0, channel].numpy() * 255
    expected = colormaps["inferno"](np.rint(place).astype(int))[..., :3] * 255
    difference = np.abs(page.painted(".pane .over")[..., :3] - expected)
    assert difference.max() < 8 and difference.mean() < 1.5  # maps are kept in 256 steps
    assert page.at("#heat-ends").text.split() == ["0", "1", "(value", "of", "the", "map)"]


def test_side_by_side_counts_the_changed_pixels(page: Page, run: Path) -> None:
    page.open(image="im05", experiment=OURS)
    Select(page.at("#viewer-with")).select_by_value(THEIRS)
    page.wait(lambda: page.at("#changed-count").text)
    changed = of_kind(run, OURS, "im05") != of_kind(run, THEIRS, "im05")
    assert page.at("#changed-count").text.startswith(f"{changed.sum()} of {changed.size} pixels changed (")
    marks = page.painted(".pane:last-child .marks")
    np.testing.assert_array_equal(marks[..., 3] == 255, changed)
    assert page.at(".pane:last-child .marks").is_displayed()
    page.js("document.activeElement.blur()")  # letters in a list of choices choose from it
    page.press("d")
    page.wait(lambda: not page.at(".pane:last-child .marks").is_displayed())
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "figure")) == 2
    page.open(image="im11", experiment=OURS, **{"with": THEIRS})  # of the val split: predictions
    page.wait(lambda: page.at("#changed-count").text)
    a, b = (read_mask(run / e / "predictions/000/im11.png") for e in (OURS, THEIRS))
    assert page.at("#changed-count").text.startswith(f"{(a != b).sum()} of ")


CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = channels(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
}
return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest(":disabled")
  && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).map((e) => {
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.textContent.slice(0, 40)];
  });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_both_schemes(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.js("localStorage.clear()")
    page.open()
    ground = "return getComputedStyle(document.body).backgroundColor"
    asked = page.js(ground)
    assert (sum(map(int, re.findall(r"\d+", asked))) < 200) == (scheme == "dark")
    views: list[dict[str, str]] = [{}, {"image": "im01", "with": THEIRS}, {"image": "im05", "view": "maps"}]
    for state in views:
        page.open(**state)
        page.wait(lambda: not page.state()["image"] or page.at("#facts").text)
        page.js("document.getElementById('help').showModal()" if not state else "")
        found = page.js(CONTRAST)
        assert len(found) > 30
        assert [words for ratio, words in found if ratio < 4.5] == []
        page.js("document.getElementById('help').close()")
    page.open()
    page.at("#theme").click()
    assert page.js(ground) != asked
    page.open()
    assert page.js(ground) != asked  # remembered
    page.js("localStorage.clear()")


def test_nothing_moves_for_those_who_asked_for_that(page: Page) -> None:
    duration = "return getComputedStyle(document.querySelector('.card')).transitionDuration"
    for value, seconds in (("no-preference", "0.12s"), ("reduce", "0s")):
        features = [{"name": "prefers-reduced-motion", "value": value}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert page.js(duration) == seconds


def test_everything_has_a_name(page: Page) -> None:
    page.open(image="im05", **{"with": THEIRS})
    page.wait(lambda: page.at("#facts").text)
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {"button", "link", "slider", "combobox", "searchbox", "checkbox", "image", "dialog", "figure"}
    seen = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]}
    assert {"button", "slider", "combobox", "image"} <= {role for role, _ in seen}
    assert [role for role, name in seen if role in named - {"figure"} and not name.strip()] == []
    assert any(name.startswith("Mask over the image: ") for _, name in seen)


def test_ten_thousand_images_scroll(
    run: Path, driver: Chrome, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    gallery(run, tmp_path / "many", only=["pcc/seed-0/cam/crf"])
    multiply(tmp_path / "many", MANY)
    page = Page(driver, tmp_path / "many")
    page.open()
    assert page.at("#count").text == f"{MANY} images"
    for leaping in (False, True):
        found = scroll(driver, 60, leaping)
        frames = np.percentile(found["times"], (50, 95)).round(1).tolist()
        record_property(f"frame_ms_median_p95_{'leaps' if leaping else 'wheel'}", frames)
        logging.getLogger(__name__).info("frame, median and 95th percentile: %s ms", frames)
        assert 0 < found["cards"] < 150
    assert found["top"] == pytest.approx(found["far"], abs=2) and found["far"] > 100_000
    page.wait(lambda: page.js("return !document.querySelector('#grid img:not([src])')"))
    page.press("g", Keys.END)
    assert page.js("return document.activeElement.dataset.place") == str(MANY - 1)
    assert page.js("return document.querySelectorAll('*').length") < 2500
    page.at("#q").send_keys("00999")
    assert page.at("#count").text == f"11 of {MANY} images"
    assert driver.get_log("browser") == []


HOSTILE = (
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "iou-__proto__",
    "toString/0",
    "../..",
    "<img src=x>",
    "\0",
    "%",
)
KEYS = ("sort", "layer", "view", "map", "split", "cluster", "tags", "opacity", "changes", "experiment", "with")


@pytest.mark.parametrize("word", HOSTILE)
def test_unknown_words_in_an_address_are_the_defaults(page: Page, word: str) -> None:
    usual = page.state()
    page.open(**dict.fromkeys(KEYS, word))
    assert page.state() == usual
    assert page.at("#count").text == f"{TRAIN + VAL} images" and len(page.ids()) == TRAIN + VAL
    page.open(image="im00", **dict.fromkeys(KEYS, word))
    assert page.at("#viewer-title").text == "im00" and "function" not in page.at("#viewer").text
    page.js("location.hash = arguments[0]", f"sort={word}&image={word}&q={word}&{word}={word}&%=%E0%A4")
    page.wait(lambda: page.state()["q"] == word or word in ("%", "\0"))
    assert page.state()["sort"] == "id"


def test_names_of_javascript_are_names_like_others(driver: Chrome, tmp_path: Path) -> None:
    home = make_run(tmp_path / "results/tiny")
    for name in ("__proto__", "constructor"):
        write_clusters(home / f"clusters/{name}/clusters.json", [{"name": name, "members": CLASSES[:1]}])
    manifest = (home / "data/manifest.csv").read_text()
    for old, new in {"im00": "__proto__", "im02": "constructor", "im04": 'a"__proto__'}.items():
        manifest = manifest.replace(f"{old},", f'"{new}",'.replace('a"', 'a""'), 1)
    write_text(home / "data/manifest.csv", manifest)
    gallery(home)
    page = Page(driver, home / "gallery")
    page.open(cluster="__proto__/0")
    assert {"__proto__/0", "constructor/0"} < {o.get_attribute("value") for o in Select(page.at("#cluster")).options}
    assert page.state()["cluster"] == "__proto__/0" and 0 < len(page.ids()) < TRAIN + VAL
    page.open(image="constructor", view="truth")
    assert page.at("#viewer-title").text == "constructor" and "function" not in page.at("#viewer").text
    assert [entry for entry in driver.get_log("browser") if "ERR_FILE_NOT_FOUND" not in entry["message"]] == []
