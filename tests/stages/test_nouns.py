"""Prompts that are made of a noun's own tokens lie nearest to that noun."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from pcc.models.clip import Clip
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_json
from pcc.stages.nouns import nouns

TOWERS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2},
}
WORDS = ["water", "grass", "sky", "water"]


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A trained method as far as its prompts go: a boat's say water, a cow's say grass."""
    (tmp_path / "tiny-nouns.json").write_text(json.dumps(TOWERS))
    torch.manual_seed(0)
    clip = Clip(str(tmp_path / "tiny-nouns.json"), "random")
    save_file(clip.model.state_dict(), tmp_path / "clip.safetensors")
    folder = tmp_path / "semples/seed-0/classifier"
    settings = {"name": str(tmp_path / "tiny-nouns.json"), "weights": str(tmp_path / "clip.safetensors")}
    write_json(
        folder / "model.json",
        {
            "type": "semples",
            "classes": ["sail_boat", "cow"],
            "clusters": [],
            "model": {"clip": settings, "names": {"cow": "dairy cow"}},
        },
    )
    prompts = torch.stack([clip.words(noun) for noun in ("water", "grass")])
    save_file({"prompts": prompts.contiguous()}, folder / "weights.safetensors")
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n\n")
    return folder


def test_the_nearest_noun_is_the_prompt_s_own(classifier: Path, tmp_path: Path) -> None:
    table_file = classifier.parent / "nouns.csv"
    nouns(classifier, table_file, words=str(tmp_path / "words.txt"), top=5)
    table = pd.read_csv(table_file)
    assert table["class"].tolist() == ["sail_boat"] * 4 + ["cow"] * 4
    assert table["rank"].tolist() == [0, 1, 2, 3] * 2
    first = table[table["rank"] == 1]
    assert first["noun"].tolist() == ["water", "grass"]
    assert first["cosine"].tolist() == pytest.approx([1, 1], abs=1e-4)
    own = table[table["rank"] == 0]
    assert own["noun"].tolist() == ["sail boat", "dairy cow"] and (own["cosine"] < 0.999).all()


def test_what_cannot_be_named_is_refused(classifier: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    with pytest.raises(InputError, match=r"word list is missing; .* one of nouns"):
        nouns(classifier, tmp_path / "n.csv", words=str(tmp_path / "none.txt"))
    words.write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        nouns(classifier, tmp_path / "n.csv", words=str(words))
    save_file({"weight": torch.zeros(1)}, classifier / "weights.safetensors")
    with pytest.raises(InputError, match="has no learned prompts"):
        nouns(classifier, tmp_path / "n.csv", words=str(words))
    assert not (tmp_path / "n.csv").exists()
