"""Whatever names people give: what the file says is what was meant."""

from dataclasses import replace

import pytest
import yaml

from pcc.planning.proposal import BATCH, FEW, FEWEST_EPOCHS, Proposal, configuration, epochs, scalar

PROPOSAL = Proposal(
    name="2024",
    reader={"images": "my # photos/c: d", "tags": "yes", "separator": ",", "val_share": 0.2},
    classes={"cat": 3, "no": 1, "it's: #1 $x": 5, "кот": 2},
    train=40,
    val=9,
    splits=["train"],
    allow_unlabelled=True,
    network={"name": "resnet18", "weights": "hub", "settings": {"output_stride": 16}},
    is_vit=False,
    language_model="qwen3:8b",
    image_size=448,
    shards={"train": 2, "val": 1},
    why_size="as an example",
)


def test_names_come_back_as_they_were_given() -> None:
    text = configuration(PROPOSAL, "mine.yaml")
    config = yaml.safe_load(text)
    assert config["dataset"]["name"] == "2024"
    assert config["dataset"]["settings"] == {**PROPOSAL.reader, "classes": list(PROPOSAL.classes)}
    assert config["dataset"]["allow_unlabelled"] is True
    assert config["clusters"]["llm"]["model"] == "qwen3:8b"
    assert config["methods"]["pcc"]["model"]["backbone"] == PROPOSAL.network
    assert config["scoring"] == {"splits": ["train"], "clusters": "llm"}


def test_comments_stand_in_one_column() -> None:
    lines = [line for line in configuration(PROPOSAL, "mine.yaml").splitlines()[2:] if " # " in line]
    columns = [line.index(" # ") for line in lines]
    assert len(lines) > 20 and max(map(columns.count, columns)) > 0.8 * len(lines)


@pytest.mark.parametrize("value", ["a", "a b", "no", "1.5", "~", "", " a", "#", "a: b", "- a", '"', 2, 0.5, True])
def test_a_scalar_is_read_as_itself(value: object) -> None:
    assert yaml.safe_load(f"key: {scalar(value)} # why") == {"key": value}


def test_few_photos_are_seen_as_often_as_the_steps_ask() -> None:
    assert epochs(300, 45) == 150  # two whole batches of 16 each
    assert epochs(300, 3) == 300  # one batch of 3
    assert epochs(300, 300 * BATCH) == FEWEST_EPOCHS


def test_many_photos_hold_the_head_back_less() -> None:
    few, many = (
        yaml.safe_load(configuration(replace(PROPOSAL, train=count), ""))["methods"]["pcc"] for count in (FEW - 1, FEW)
    )
    assert few["training"]["weight_decay"] > many["training"]["weight_decay"]
    assert few["model"]["top_k"] < many["model"]["top_k"]
