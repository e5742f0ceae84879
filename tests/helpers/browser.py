"""A real browser without a window, for pages that are opened from the file system; for tests and benchmarks."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ABSENT = "no chromium and chromedriver on this machine: apt-get install chromium chromium-driver"
ALONE = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(width: int = 1300, height: int = 950) -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile; its console and its requests are logged."""
    assert BROWSER and DRIVER, ABSENT
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = BROWSER
        for word in (*ALONE, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def requests(driver: webdriver.Chrome) -> list[str]:
    """Every address that was asked for since the last call."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def multiply(gallery: Path, images: int) -> None:
    """Make a gallery one of many images: the same entries again and again, with hard links for their thumbnails."""
    script = gallery / "data.js"
    head, tail = "const GALLERY = ", ";\n"
    data: dict[str, Any] = json.loads(script.read_text(encoding="utf-8")[len(head) : -len(tail)])
    ids = data["ids"]
    again = range(images)

    def columns(table: dict[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, list) and len(value) == len(ids):
                table[key] = [value[n % len(ids)] for n in again]

    columns(data)
    for layer in (data["truth"], *data["steps"]):
        columns(layer)
    data["ids"] = [f"{n:06d}" for n in again]
    for folder, ending in [("thumbs", "jpg"), *((layer["folder"], "png") for layer in data["steps"])]:
        for n in again:
            source = gallery / folder / f"{ids[n % len(ids)]}.{ending}"
            if source.is_file():
                os.link(source, gallery / folder / f"{n:06d}.{ending}")
    script.write_text(head + json.dumps(data) + tail, encoding="utf-8")


FRAMES = """
const done = arguments[arguments.length - 1], steps = arguments[0], leaping = arguments[1];
const scroller = document.getElementById("scroller"), far = scroller.scrollHeight - scroller.clientHeight;
const times = [], cards = [];
let before = performance.now(), n = 0;
function frame(now) {
  times.push(now - before);
  before = now;
  cards.push(document.querySelectorAll("#grid li").length);
  if (n === steps) return done({ times: times.slice(1), cards: Math.max(...cards), top: scroller.scrollTop, far });
  n++;
  scroller.scrollTop = leaping ? (far * n) / steps : 90 * n;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
"""


def scroll(driver: webdriver.Chrome, steps: int, leaping: bool) -> dict[str, Any]:
    """Scroll down, by 90 pixels a frame as a wheel does, or in equal leaps through everything as who drags the bar.

    Returns:
        ``times`` of the frames in milliseconds, the most ``cards`` there ever were, ``top``, where it ended, and
        ``far``, the end.
    """
    driver.set_script_timeout(300)
    result: dict[str, Any] = driver.execute_async_script(FRAMES, steps, leaping)
    return result
