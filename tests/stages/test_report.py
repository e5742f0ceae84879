"""Tables against hand arithmetic over made-up metrics."""

import csv
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pcc.artifacts.clusters import write_clusters
from pcc.data.tables import csv_text
from pcc.figures import charts
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json, write_json, write_text
from pcc.stages.report import report

SEEDS = (0, 1, 2)


def metrics(score: float | None, seed: int, kind: str, **choices: Any) -> dict[str, Any]:
    oracle = {"threshold": 0.1 * seed, "mean_iou": (score or 0) + 0.1, "oracle": True} if kind == "maps" else None
    by_class = {"background": 0.9, "cat": score, "dog": None}
    steps = dict.fromkeys(("method", "localization", "refinement", "segmenter"))
    return {
        "experiment": {"dataset": "tiny", "supervision": "labels", "seed": seed, **steps, **choices},
        "kind": kind,
        "split": "val" if kind == "predictions" else "train",
        "ground_truth": "data/masks",
        "num_images": 5,
        "settings": {"scales": [0.5, 1.0], "flip": True, "crf": False},
        "labels_at_inference": kind != "predictions",
        "oracle": False,
        "classes": list(by_class),
        "eval_classes": ["background", "cat"],
        "confusion_matrix": [[900, 100, 0], [300, 700, 0], [0, 0, 0]],
        "iou": by_class,
        "precision": by_class,
        "recall": by_class,
        "mean_iou": score,
        "pixel_accuracy": 0.8,
        "boundary_iou": 0.3,
        "within_cluster_confusion": 0.1,
        "between_cluster_confusion": None,
        "oracle_threshold": oracle,
    }


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Weak and full segmenters and maps over three seeds, and one step that could not be scored."""
    chain = {"method": "pcc", "localization": "iscam", "refinement": "crf"}
    found = []
    for seed in SEEDS:
        made = {
            "weak": metrics(0.4 + 0.1 * seed, seed, "predictions", **chain, segmenter="light"),
            "full": metrics(0.8, seed, "predictions", supervision="masks", segmenter="light"),
            "maps": metrics(0.3 + 0.05 * seed, seed, "maps", method="pcc", localization="iscam"),
        }
        for name, values in made.items():
            found.append(tmp_path / f"{name}-{seed}/metrics.json")
            write_json(found[-1], values)
    found.append(tmp_path / "unscored/metrics.json")
    write_json(found[-1], metrics(None, 0, "pseudo_masks", **chain))
    return found


def test_summary_over_seeds(files: list[Path], tmp_path: Path) -> None:
    report(files, tmp_path / "report")
    table = pd.read_csv(tmp_path / "report/summary.csv").set_index(["supervision", "kind"])
    weak, full = table.loc[("labels", "predictions")], table.loc[("masks", "predictions")]
    assert (weak["seeds"], weak["scales"], weak["method"]) == (3, "0.5 1", "pcc")
    assert weak["mean_iou"] == pytest.approx(mean([0.4, 0.5, 0.6]))
    assert weak["mean_iou_sd"] == pytest.approx(stdev([0.4, 0.5, 0.6]))
    assert weak["weak_full_ratio"] == pytest.approx(0.5 / 0.8)
    assert pd.isna(full["weak_full_ratio"]) and pd.isna(weak["oracle_mean_iou"])
    assert not table["oracle"].any()
    assert len(pd.read_csv(tmp_path / "report/runs.csv")) == 10


def test_oracle_numbers_stay_in_their_own_columns(files: list[Path], tmp_path: Path) -> None:
    report(files, tmp_path / "report")
    maps = pd.read_csv(tmp_path / "report/summary.csv").set_index("kind").loc["maps"]
    assert maps["mean_iou"] == pytest.approx(0.35)
    assert maps["oracle_mean_iou"] == pytest.approx(0.45)
    assert maps["oracle_threshold"] == pytest.approx(0.1)
    text = (tmp_path / "report/report.md").read_text()
    before, after = text.split("## Oracle", 1)
    assert "45.0" not in before and "45.0 ± 5.0" in after


def test_numbers_behind_which_masks_chose_say_so_everywhere(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        write_json(path, read_json(path) | {"oracle": True})
    report(files, tmp_path / "report")
    text = (tmp_path / "report/report.md").read_text()
    for line in text.splitlines():
        if line.startswith("| pcc / "):
            assert line.split("|")[1].strip().endswith("(oracle)"), line


def test_per_class_and_what_is_not_there(files: list[Path], tmp_path: Path) -> None:
    report(files, tmp_path / "report")
    table = pd.read_csv(tmp_path / "report/per_class.csv")
    cat = table[(table["class"] == "cat") & (table["kind"] == "predictions") & (table["supervision"] == "labels")]
    assert cat["iou"].item() == pytest.approx(0.5) and cat["iou_sd"].item() == pytest.approx(0.1)
    assert table[table["class"] == "dog"]["iou"].isna().all()
    assert not table[table["class"] == "dog"]["in_mean"].any()


def test_markdown_says_under_which_conditions(files: list[Path], tmp_path: Path) -> None:
    losses = tmp_path / "results/tiny/pcc/seed-0/classifier/losses.csv"
    write_text(losses, "phase,epoch,step,lr,loss\n" + "".join(f"main,0,{i},0.1,{1 / (i + 1)}\n" for i in range(50)))
    for shard, seconds in (("000", 3), ("001", 61)):
        time = tmp_path / f"results/tiny/benchmarks/pcc/seed-0/cam/localize-{shard}.tsv"
        write_text(time, f"s\th:m:s\tmax_rss\n{seconds}\t0:00:03\t120.5\n")
        write_text(tmp_path / f"results/tiny/pcc/seed-0/cam/maps/{shard}.safetensors", "x" * 600_000)
        write_text(tmp_path / f"results/tiny/gallery/steps/pcc/seed-0/cam/maps/{shard}.js", "no artifact")
    config = {"seeds": [0, 1, 2], "experiments": [{"method": "pcc"}]}
    report(files, tmp_path / "report", losses=[losses], results=tmp_path / "results/tiny", config=config)
    text = (tmp_path / "report/report.md").read_text()
    assert "Means are over 2 of 3 classes: background, cat." in text
    assert "pcc / iscam / crf / light" in text and "fully supervised / light" in text
    assert "50.0 ± 10.0" in text and "62.5" in text
    row = next(line for line in text.splitlines() if line.startswith("| localize"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [*("localize", "2", "1m04s", "1m01s", "120", "1.2")]
    assert yaml.safe_load((tmp_path / "report/config.yaml").read_text()) == config
    assert yaml.safe_load(text.split("```yaml")[1].split("```")[0]) == config
    for figure in ("per_class", "weak_full", "curves", "confusion", "costs"):
        assert (tmp_path / f"report/{figure}.png").stat().st_size > 5000
        assert f"({figure}.png)" in text


def test_where_the_best_experiment_fails(files: list[Path], tmp_path: Path) -> None:
    """Counts are added up over seeds; the pages say which pairs of classes share a cluster."""
    for path in files:
        stored = read_json(path)
        if path.parent.name.startswith("weak"):
            counts = [[90, 10, 0], [30, 60, 10], [0, 40, 60]]
            stored |= {"confusion_matrix": counts, "clusters": [["cat", "dog"]], "worst_images": [["im7", 0.1]]}
            stored["quality"] = {
                "masks": 30,
                "spearman": 0.612,
                "errors_in_lowest_fifth": 0.4,
                "lost_iou_in_lowest_fifth": None,
            }
        write_json(path, stored)
    report(files, tmp_path / "report")
    fails = (tmp_path / "report/report.md").read_text().split("## Failures")[1].split("## Conditions")[0]
    assert "`pcc / iscam / crf / light`, predictions on val" in fails
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in fails.splitlines() if line[:1] == "|"]
    assert ["dog", "cat", "40.0", "same"] in rows
    assert ["cat", "background", "30.0", "background"] in rows
    assert ["im7", "10.0"] in rows
    assert ["pcc / iscam / crf / light, seed 1", "30", "0.61", "40.0", "–"] in rows


def test_published_numbers_stand_beside_ours(files: list[Path], tmp_path: Path) -> None:
    steps = {"method": "pcc", "localization": "iscam", "refinement": None, "segmenter": None}
    same = {**steps, "mean_iou": 34.4, "images": 5, "source": "a paper"}
    other_images = {**steps, "mean_iou": 99.0, "images": 1464, "source": "another"}
    report(files, tmp_path / "report", published=[same, other_images])
    table = pd.read_csv(tmp_path / "report/published.csv")
    assert table["source"].tolist() == ["a paper"], "a number of other images is not comparable"
    assert table.loc[0, ["mean_iou", "published"]].tolist() == pytest.approx([0.35, 0.344])
    text = (tmp_path / "report/report.md").read_text()
    assert "Published results" in text
    section = text.split("## Published results")[1].split("##")[0]
    assert [cell.strip() for cell in section.strip().splitlines()[-1].strip("|").split("|")] == [
        "pcc / iscam",
        "maps, train",
        "35.0 ± 5.0",
        "34.4",
        "+0.6",
        "a paper",
    ]


def test_every_part_of_a_loss_is_drawn(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    monkeypatch.setattr(charts, "curves", lambda panels, title: drawn.update(panels) or charts.nothing(title))
    for seed in SEEDS[:2]:
        folder = tmp_path / f"sipe/seed-{seed}/classifier"
        text = "phase,epoch,step,lr,loss,classification,consistency\nmain,0,0,0.1,3,1,2\nmain,0,1,0.1,2,1,1\n"
        write_text(folder / "losses.csv", text)
    report(files, tmp_path / "report", losses=sorted(tmp_path.glob("sipe/*/*/losses.csv")))
    assert {panel: sorted(lines) for panel, lines in drawn.items()} == {
        "classifier: classification": ["seed 0", "seed 1"],
        "classifier: consistency": ["seed 0", "seed 1"],
    }
    assert drawn["classifier: consistency"]["seed 0"][1].tolist() == [2, 1]


def test_partitions_are_drawn_and_compared(files: list[Path], tmp_path: Path) -> None:
    halves, odd = {"x": ["a", "b"], "y": ["c", "d"]}, {"x": ["a"], "y": ["b", "c", "d"]}
    samples = [{"clusters": groups, "rounds": 1, "settled": True} for groups in (halves, odd, halves)]
    paths = {name: tmp_path / f"clusters/{name}/clusters.json" for name in ("taxonomy", "llm", "none")}
    for name, groups in {"taxonomy": odd, "llm": halves, "none": {}}.items():
        details = {"samples": samples, "agreement": 0.5} if name == "llm" else {}
        write_clusters(paths[name], [{"name": n, "members": m} for n, m in groups.items()], provider=name, **details)
    report(files, tmp_path / "report", clusters=list(paths.values()))
    table = pd.read_csv(tmp_path / "report/partitions.csv").set_index(["partition", "compared_with"])
    assert len(table) == 2 + 3 * 2, "two artifacts, and three samples against both"
    assert table.loc[("llm, sample 2", "taxonomy"), "adjusted_rand_index"] == 1
    assert table.loc[("llm, sample 1", "llm"), "variation_of_information"] == 0
    one = table.loc[("taxonomy", "llm")]
    assert one["clusters"] == 2 and one["adjusted_rand_index"] == pytest.approx(0)
    assert one["variation_of_information"] == pytest.approx(0.5 + 0.75 * 0.9182958)
    text = (tmp_path / "report/report.md").read_text()
    assert "| llm, sample 2 " in text and "1.00, 0.00" in text
    for name in paths:
        assert f"(clusters_{name}.png)" in text
        assert (tmp_path / f"report/clusters_{name}.png").stat().st_size > 1000


def test_nouns_of_the_first_seed_are_drawn(files: list[Path], tmp_path: Path) -> None:
    for seed in (0, 1):
        text = "class,rank,noun,cosine\nboat,0,boat,0.2\nboat,1,water,0.9\ncow,0,cow,0.3\ncow,1,grass,0.8\n"
        write_text(tmp_path / f"semples/seed-{seed}/nouns.csv", text)
    report(files, tmp_path / "report", nouns=sorted(tmp_path.glob("semples/*/nouns.csv")))
    assert (tmp_path / "report/nouns_semples.png").stat().st_size > 1000
    assert (tmp_path / "report/report.md").read_text().count("](nouns_semples.png)") == 1


def test_nothing_scored_still_reports(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", metrics(None, 0, "pseudo_masks", method="cam", localization="cam"))
    report([tmp_path / "metrics.json"], tmp_path / "report")
    assert "| – |" in " ".join((tmp_path / "report/report.md").read_text().split())


def test_the_same_run_twice_and_what_is_no_metrics(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="same run as another"):
        report([files[0], files[1], files[0]], tmp_path / "report")
    write_text(tmp_path / "bad.json", "{}")
    with pytest.raises(InputError, match=r"bad.json: not what `pcc evaluate` writes"):
        report([tmp_path / "bad.json"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


NAMES = ("=1+1", "<img src=x>", "$x^{$", "_hidden", "a|b", "NA", "{0}%s", "\\frac", "猫", "a\nb", "@x", "'=1")


def test_any_name_is_drawn_and_written(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables, figures and text of classes, clusters, nouns and an experiment of any name."""
    values = metrics(0.5, 0, "predictions", method="=m", localization="$x^{$", refinement="_r", segmenter="a|b")
    classes = ["background", *NAMES]
    scores = {name: n / 20 for n, name in enumerate(classes)}
    values |= {
        "classes": classes, "eval_classes": classes, "iou": scores, "precision": scores, "recall": scores,
        "confusion_matrix": np.ones((len(classes), len(classes)), int).tolist(), "worst_images": [["=im|1", 0.1]],
        "clusters": [list(NAMES)],
    }  # fmt: skip
    values["experiment"]["dataset"] = "@d"
    twin = {**values, "experiment": {**values["experiment"], "supervision": "masks"}}
    for name, stored in {"weak": values, "full": twin}.items():
        write_json(tmp_path / f"{name}/metrics.json", stored)
    for name in ("$a^{$", "=b"):
        clusters = [{"name": f"{n} {member}", "members": [member]} for n, member in enumerate(NAMES)]
        samples = [{"clusters": {c["name"]: c["members"] for c in clusters}}] * 2 if name == "=b" else []
        write_json(
            tmp_path / f"clusters/{name}/clusters.json", {"clusters": clusters, "samples": samples, "agreement": 1.0}
        )
    rows = [(name, rank, noun, -0.5) for name in NAMES for rank, noun in enumerate(NAMES)]
    write_text(tmp_path / "_m/seed-0/nouns.csv", csv_text(("class", "rank", "noun", "cosine"), rows))
    drawn = []
    monkeypatch.setattr(
        charts, "nearest_nouns", lambda rows, title, draw=charts.nearest_nouns: drawn.extend(rows) or draw(rows, title)
    )
    report(
        sorted(tmp_path.glob("*/metrics.json")), tmp_path / "report", nouns=[tmp_path / "_m/seed-0/nouns.csv"],
        clusters=sorted(tmp_path.glob("clusters/*/*.json")), config={"names": list(NAMES)},
    )  # fmt: skip
    assert [(name, [noun for noun, _ in found]) for name, _, found in drawn] == [(n, list(NAMES[1:])) for n in NAMES]
    text = (tmp_path / "report/report.md").read_text()
    prose = re.sub(r"`[^`\n]+`", "", text.split("```yaml")[0])
    assert "<img" not in prose and "$x^{$" not in prose and "clusters_%3Db.png" in prose
    assert len({line.count("|") for line in prose.split("worst classes")[1].splitlines()[:4]}) == 2
    for table in (tmp_path / "report").glob("*.csv"):
        with table.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@"))], table
    assert not [w for w in recwarn if "_" in str(w.message) and "legend" in str(w.message)]


def test_a_legend_lists_names_that_begin_with_an_underscore() -> None:
    bars = charts.bars_per_class(["cat"], {"_x": ([0.5], [0.1]), "y": ([0.5], [0.1])}, "title")
    lines = charts.curves({"_panel": {"_line": (np.arange(3), np.arange(3.0))}}, "title")
    drawn = [
        text.get_text().strip() for legend in (bars.legends[0], lines.axes[0].get_legend()) for text in legend.texts
    ]
    assert drawn == ["_x", "y", "_line"]
