"""Stage `nouns`: nearest nouns of learned prompts in CLIP space (semples.md §8.7)."""

from pathlib import Path

import pandas as pd
import torch

from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, read_description, read_weights
from pcc.artifacts.provenance import Job
from pcc.data.tables import guarded
from pcc.models.clip import TEMPLATE, Clip, names_for_clip
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import write_text
from pcc.runtime.resources import find_list
from pcc.runtime.stage import stage


@stage(writes="file")
def nouns(classifier: Path, output: Path, *, words: str, top: int = 5) -> None:
    """Write class, rank, noun and cosine similarity; rank 0 is the class name, rank 1 the nearest noun.

    Args:
        classifier: folder of a trained method with learned prompts.
        output: CSV file.
        words: text file with one noun per line, or a packaged list (``nouns``).
        top: nouns per class.

    Raises:
        InputError: the method has no prompts, or the file is empty.
    """
    path = find_list(words, ".txt", "word list")
    job = Job({"words": words, "top": top}, [classifier / WEIGHTS, classifier / DESCRIPTION, path])
    made = read_description(classifier, "type", "classes", "model")
    stored = read_weights(classifier / WEIGHTS)
    if "prompts" not in stored:
        raise InputError(
            f"{classifier}: '{made['type']}' has no learned prompts; remove `nouns` from its configuration"
        )
    candidates = list(dict.fromkeys(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()))
    if not candidates:
        raise InputError(f"nouns: {path} is empty; write one noun per line")
    clip = call_with(Clip, made["model"]["clip"], "model.clip")
    with torch.inference_mode():
        prompts = clip.encode_prompts(stored["prompts"])
        cosines = prompts @ clip.encode_texts([f"{TEMPLATE} {noun}." for noun in candidates]).T
        names = names_for_clip(made["classes"], made["model"].get("names"))
        own = clip.encode_texts([f"{TEMPLATE} {name}." for name in names])
    best = cosines.topk(min(top, len(candidates)), dim=1)
    rows = []
    for k, name in enumerate(made["classes"]):
        rows.append((name, 0, names[k], float(prompts[k] @ own[k])))
        found = zip(best.indices[k].tolist(), best.values[k].tolist(), strict=True)
        rows += [(name, rank, candidates[i], cosine) for rank, (i, cosine) in enumerate(found, 1)]
    table = pd.DataFrame(rows, columns=["class", "rank", "noun", "cosine"])
    write_text(output, table.map(guarded).to_csv(index=False, float_format="%.4f"))
    job.write_provenance(output)
