"""The gallery's page: 600 real images, seconds until it can be used; 10,000 images, milliseconds a frame takes.

Opened from the file system in a headless Chromium that draws in software. The images are VOC's, from
../shared/data/voc12_mini where they lie, with the true masks in the place of pseudo masks; or those of --results. The
claim is three seconds; a frame has no claim, as it depends on the screen. Prints a table and one JSON line.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcc.data.manifest import Dataset, Manifest, Record
from pcc.readers import voc
from pcc.tools.gallery import gallery

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/helpers"))
from browser import ABSENT, BROWSER, DRIVER, chromium, multiply, scroll  # noqa: E402

PHOTOS = ROOT.parent / "shared/data/voc12_mini"
IMAGES, MANY, FRAMES, RUNS, LIMIT = 600, 10_000, 300, 5, 3.0


def minimal_run(home: Path) -> Path:
    """Results with one step: the true masks of the photos, or of drawn noise where there are none."""
    pairs = [
        (mask.stem, PHOTOS / f"JPEGImages/{mask.stem}.jpg", mask)
        for mask in sorted((PHOTOS / "SegmentationClass").glob("*.png"))[:IMAGES]
    ] or [noise(home, number) for number in range(IMAGES)]
    records = []
    shard = home / "truth/seed-0/cam/masks/pseudo_masks/000"
    shard.mkdir(parents=True)
    for image_id, image, mask in pairs:
        ids = np.unique(np.asarray(Image.open(mask)))
        labels = tuple(voc.CLASSES[i - 1] for i in ids if 0 < i < 255)
        records.append(Record(image_id, image, labels, mask, "train"))
        shutil.copy(mask, shard)
    Manifest(Dataset("benchmark", tuple(voc.CLASSES)), tuple(records)).write(home / "data")
    return home


def noise(home: Path, number: int) -> tuple[str, Path, Path]:
    """An image and its mask of VOC's size."""
    rng = np.random.default_rng(number)
    image, mask = home / f"data/images/{number}.jpg", home / f"data/masks/{number}.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(rng.integers(0, 256, (25, 34, 3)), np.ones((15, 15, 1))).astype(np.uint8)).save(image)
    Image.fromarray(np.kron(rng.integers(0, 21, (5, 5)), np.ones((75, 102))).astype(np.uint8)).save(mask)
    return str(number), image, mask


def opening(page: Path) -> dict[str, float]:
    """Medians over fresh browsers: until the page is drawn and takes input, until a first letter has chosen images."""
    ready, used = [], []
    for _ in range(RUNS):
        with chromium() as driver:
            started = time.perf_counter()
            driver.get(page.as_uri())
            before = driver.execute_script("return document.getElementById('count').textContent")
            driver.find_element("id", "q").send_keys("7")
            while driver.execute_script("return document.getElementById('count').textContent") == before:
                time.sleep(0.01)
            used.append(time.perf_counter() - started)
            ready.append(driver.execute_script("return performance.getEntriesByName('ready')[0].startTime") / 1000)
    return {"ready": statistics.median(ready), "first_letter_took_effect": statistics.median(used)}


def scrolling(page: Path) -> dict[str, Any]:
    """Frames while scrolling as a wheel does, and in leaps through everything."""
    found: dict[str, Any] = {}
    with chromium() as driver:
        driver.get(page.as_uri())
        for name, leaping in (("wheel", False), ("leaps", True)):
            driver.execute_script("document.getElementById('scroller').scrollTop = 0")
            time.sleep(1)
            result = scroll(driver, FRAMES, leaping)
            median, high = np.percentile(result["times"], (50, 95)).round(1).tolist()
            found[name] = {"median_ms": median, "p95_ms": high, "most_cards": result["cards"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="a data set's results to show instead")
    given = parser.parse_args()
    if not (BROWSER and DRIVER):
        print(json.dumps({"claim": "gallery", "skipped": ABSENT}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results = given.results or minimal_run(folder / "results")
        shown = given.results.name if given.results else PHOTOS.name if PHOTOS.is_dir() else "drawn noise"
        page = folder / "gallery"
        started = time.perf_counter()
        gallery(results, page, limit=IMAGES, threads=os.cpu_count() or 1)
        built = time.perf_counter() - started
        started = time.perf_counter()
        gallery(results, page, limit=IMAGES)
        again = time.perf_counter() - started
        with (results / "data/manifest.csv").open(encoding="utf-8") as table:
            images = min(IMAGES, sum(1 for _ in csv.DictReader(table)))
        seconds = {"made": built, "made_again": again, **opening(page / "index.html")}
        multiply(page, MANY)
        frames = scrolling(page / "index.html")
    for name, value in seconds.items():
        print(f"{images:>6} images  {name.replace('_', ' '):<26} {value:8.2f} s")
    for name, frame in frames.items():
        print(f"{MANY:>6} images  {name:<26} {frame['median_ms']:8.1f} ms  {frame['p95_ms']:8.1f} ms (95 %)")
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    result = {"images": images, "of": shown, "seconds": rounded, "many": MANY, "frames": frames}
    print(json.dumps({"claim": "gallery", **result}))
    sys.exit(seconds["first_letter_took_effect"] > LIMIT)


if __name__ == "__main__":
    main()
