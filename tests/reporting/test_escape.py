"""Markdown written from names is rendered by two other libraries: each name is shown as it is, and nothing else is."""

from html.parser import HTMLParser
from typing import Any

import markdown as python_markdown
import pytest
from markdown_it import MarkdownIt

from pcc.deployment.model_card import model_card
from pcc.reporting import escape
from pcc.reporting.tables import markdown

NAMES = (
    "cat",
    "train_00000",
    "_private_ and __proto__",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- -->",
    "a|b||c\\|d",
    "*bold* **x** ~~no~~ `code` ``x`` $1+1$",
    "[link](javascript:alert(1)) ![p](http://e.invalid/p.png)",
    "[x]: http://e.invalid",
    "https://e.invalid/?a=1&amp=2",
    "www.e.invalid",
    "me@e.invalid @user",
    "&lt;b&gt; &#60; &copy",
    "C# #1 !",
    "# heading",
    "- item",
    "1. one",
    "> quote",
    "---",
    "```",
    "{{ config }} {% x %}",
    "C:\\dir\\*",
    "=1+1",
    "猫 é 🐈",
)
RENDERERS = {
    "markdown-it": lambda text: (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    ),
    "python-markdown": lambda text: python_markdown.markdown(text, extensions=["tables", "fenced_code"]),
}


class Page(HTMLParser):
    """The text within each element, and all attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.texts.append((tag, ""))
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.texts:
            tag, text = self.texts.pop()
            self.texts.append((tag, text + data))

    def of(self, *tags: str) -> list[str]:
        return [text.strip() for tag, text in self.texts if tag in tags]


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_names_are_shown_as_they_are(render: Any) -> None:
    page = Page(render(markdown(NAMES, [NAMES])))
    assert page.of("td", "th") == [*NAMES, *NAMES]
    assert set(page.tags) == {"table", "thead", "tbody", "tr", "th", "td"}
    for name in NAMES:
        page = Page(render(f"# On {escape.inline(name)}\n\nIt is {escape.inline(name)}.\n"))
        assert (page.tags, page.of("h1"), page.of("p")) == (["h1", "p"], [f"On {name}"], [f"It is {name}."])
        page = Page(render(escape.code(name)))
        assert (page.tags, page.of("code")) == (["p", "code"], [name])
        lines = f"{name}\n  {name}"
        page = Page(render("\n\n".join(["Settings:", escape.block(lines, "yaml"), "End."])))
        assert page.of("code") == [lines] and page.of("p")[-1] == "End."
        page = Page(render(escape.picture(name, f"clusters_{name}.png")))
        assert page.tags == ["p", "img"] and dict(page.attributes)["alt"] == name


@pytest.mark.parametrize("name", ["a\nb", "a\r\n\n# b", "a\u2028b", "a\x1b[31mb", "a\x00b", "a\u202eb", "\ta"])
def test_a_name_stays_on_its_line(name: str) -> None:
    for text in (escape.inline(name), escape.code(name), markdown(["x"], [[name]]).splitlines()[2]):
        assert text.isprintable() and text.strip()


def test_a_model_card_shows_names_only() -> None:
    config = {
        "type": "light`head", "pcc": "1", "classes": ["background", *NAMES], "supervision": "labels",
        "prediction_from": "a|b", "prediction": {"crf": "``"}, "multiple_of": 1, "onnx": None, "digests": {},
    }  # fmt: skip
    metrics = {
        "experiment": {"dataset": NAMES[3], "method": NAMES[4], "segmenter": NAMES[6]}, "split": "<b>", "num_images": 1,
        "oracle": False, "labels_at_inference": False, "note": NAMES[4], "ignore_policy": NAMES[3],
        "iou": dict.fromkeys(NAMES, 0.5), "settings": {"initial_weights": NAMES[4]},
    }  # fmt: skip
    provenance = {"git": NAMES[3], "inputs": {NAMES[4]: "0"}, "settings": {NAMES[20]: "```\n# x"}, "versions": {}}
    card = model_card(config, {"metrics": metrics, "provenance": provenance, "dataset": None})
    assert card.startswith("---\nlibrary_name: pcc\npipeline_tag: image-segmentation\n---\n# ")
    for render in RENDERERS.values():
        page = Page(render(card.split("---\n", 2)[2]))
        assert page.of("td")[-2 * len(NAMES) :: 2] == list(NAMES)
        assert set(page.tags).isdisjoint({"script", "img", "b", "a"})
        assert page.tags.count("h2") == 7 and page.tags.count("h1") == 1
