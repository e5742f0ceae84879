"""A configuration for a folder of labelled images, as YAML with a reason for each choice.

The recipe is that of config/voc12_mini.yaml with one network. The number of *steps* is fixed, however few images there
are, so epochs are computed from it. docs/tutorial.md says what a few dozen images need besides.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import yaml

BATCH = 16
WARMUP_STEPS, PATCH_STEPS, SEGMENTER_STEPS = 300, 250, 150
RATE = "1.5e-3"  # docs/results/clusters.md
REFINEMENT = "crf"  # of the recommended experiment
FEWEST_EPOCHS = 3
FEW = 200  # images; below, the head is regularized more: measured with 45 and with 400 (docs/tutorial.md)
# Share of the patches, weight decay, and why.
OF_FEW = (0.2, 3.0, "with few images the head overfits; hundreds need 0.1, and top_k 0.35")
OF_MANY = (0.35, 0.1, "a few dozen images need 3, and top_k 0.2")
MOST_CACHED = 2000  # images; beyond, few are seen twice, and 4 MB each fill the disk
PLAIN = re.compile(r"[\w./][\w./ -]*")
COLUMN = 38  # of the comments
SIZES = (448, 336, 224)  # multiples of 14 and 16, the patches of ViTs


@dataclass(frozen=True)
class Proposal:
    """What a configuration is made from.

    Attributes:
        name: of the data set.
        reader: settings of the folder reader.
        classes: names in the order of their ids, with the number of images of each.
        train: number of training images.
        val: number of the others.
        splits: those with masks to score.
        allow_unlabelled: whether training images without a label are all background.
        network: settings of the backbone.
        is_vit: whether it is a ViT.
        language_model: asked for clusters; None: no clusters.
        image_size: side of the square that networks see, pixels.
        shards: jobs per split.
        why_size: half a sentence about the image size.
    """

    name: str
    reader: Mapping[str, Any]
    classes: Mapping[str, int]
    train: int
    val: int
    splits: Sequence[str]
    allow_unlabelled: bool
    network: Mapping[str, Any]
    is_vit: bool
    language_model: str | None
    image_size: int
    shards: Mapping[str, int]
    why_size: str


READER_WHY = {
    "tags": "edit it freely: whatever depends on it reruns",
    "separator": "between two labels",
    "val_share": "held out for validation by a hash of the file name: stable when images are added",
}
HUB_WHY = "downloaded on the first run; or the path of a .safetensors file"
ALL_BACKGROUND = "  allow_unlabelled: true           # an image without a label shows none of the classes\n"
NOT_ASKED = """\
  none: {provider: none}
  one: {provider: one}               # all classes in one: what helps with few images (docs/results/clusters.md)
                                     # `pcc init --llm MODEL` adds groups by a language model for comparison"""
ASKED = Template("""\
  none: {provider: none}
  one: {provider: one}               # all classes in one: what helps with few images (docs/results/clusters.md)
  llm: {provider: openai, model: $model}    # the key is in OPENAI_API_KEY, the server in OPENAI_BASE_URL""")
CLUSTERED = """\
  pcc_clusters:                      # the same with the language model's groups of classes
    type: pcc
    clusters: llm
    model: *patches
    training: *patch_recipe
"""
CLUSTERED_EXPERIMENT = "  - {method: pcc_clusters, localization: cam, refinement: crf}\n"

TEMPLATE = Template("""\
# Proposed by `pcc init` for $images images. docs/configuration.md describes every key.
#   snakemake --cores all --configfile $file
dataset:
  name: $name                  # results go to results/$name
  format: folder
  settings:
$reader
    classes:                         # masks hold 0 for background and these from 1 on, in this order
$classes
  shards: $shards          # jobs per split; one to ten minutes each is a good size
${unlabelled}\
scoring: {splits: $splits$scoring_clusters}$scoring_why
clusters:
$clusters
methods:
  cam:                               # the plain baseline: a classifier and its class activation maps
    model: &network
      backbone: &backbone
$network
      unfrozen_blocks: 0             # frozen: with few images, only a classifier on top is trained
    training: &recipe
      image_size: $size # pixels; $why_size
      batch_size: $batch
      weight_decay: 0.1
      cache_features: $cached           # features are computed once per image and stored on disk
      precision: auto
      phases:
        - {name: warmup, epochs: $warmup, lr: 3.0e-3}
  pcc:                               # every patch is classified, and background is a class of its own
    clusters: one                    # classes share a part of their weights
    model: &patches
      <<: *network
      hv_bilstm: null
      dropout: 0.0                   # no gain on frozen features, and three times the time
      warmup_pooling: average        # docs/decisions/0003-warm-up-by-average-pooling.md
      top_k: $share                     # share of patches that a class score averages; raise it if masks are too small
      divide_by_maximum: false
    training: &patch_recipe
      <<: *recipe
      weight_decay: $decay              # $why_decay
      phases:                        # epochs are chosen for a fixed number of steps
        - {name: warmup, epochs: $warmup, lr: $rate}
        - {name: patches, epochs: $patches, lr: $rate}
${clustered}\
localizations:
  cam: {image_size: $size, batch_size: 8, precision: auto}
refinements:
  crf:                               # CRF: mask edges follow colour edges
    unary: labels
    confidence: 0.7
    gaussian: {sxy: 3, weight: 3}                  # sxy: pixels
    bilateral: {sxy: 50, srgb: 5, weight: 10}      # sxy: pixels, srgb: 0-255 colour units
segmenters:
  light:                             # learns from the pseudo masks; needs no labels at inference
    type: light_head
    model:
      backbone: {<<: *backbone$levels}
      width: 128
      depth: 1
    training:
      image_size: $size
      batch_size: $batch
      weight_decay: 0.01
      cache_features: $cached
      precision: auto
      phases:
        - {name: train, epochs: $segmenter, lr: 1.0e-3, schedule: poly}
    prediction: {image_size: $size, flip: true, precision: auto, crf: null}
experiments:                         # one chain per line; remove a line to skip what only it needs
  - {method: pcc, localization: cam, refinement: crf, segmenter: light}
  - {method: cam, localization: cam, refinement: crf}
$experiments""")


def configuration(proposal: Proposal, file: str) -> str:
    """The YAML file.

    Args:
        proposal: what it is made from.
        file: its name, for the command in its first lines.
    """
    p = proposal
    asked = p.language_model is not None
    share, decay, why_decay = OF_FEW if p.train < FEW else OF_MANY
    return _aligned(
        TEMPLATE.substitute(
            images=p.train + p.val,
            file=file,
            name=scalar(p.name),
            reader=_lines(p.reader, 4, READER_WHY),
            classes="\n".join(
                _with_why(f"      - {scalar(name)}", f"{count} image{'s' * (count != 1)}")
                for name, count in p.classes.items()
            ),
            shards=_flow(p.shards),
            unlabelled=ALL_BACKGROUND if p.allow_unlabelled else "",
            splits=f"[{', '.join(p.splits)}]",
            scoring_clusters=", clusters: llm" if asked and p.splits else "",
            scoring_why=_with_why("", "" if p.splits else "no masks, so nothing is scored").rstrip(),
            clusters=ASKED.substitute(model=scalar(p.language_model)) if asked else NOT_ASKED,
            network=_lines(p.network, 8, {"weights": HUB_WHY} if p.network["weights"] == "hub" else {}),
            size=p.image_size,
            why_size=p.why_size,
            batch=BATCH,
            cached=scalar(p.train <= MOST_CACHED),
            warmup=epochs(WARMUP_STEPS, p.train),
            patches=epochs(PATCH_STEPS, p.train),
            segmenter=epochs(SEGMENTER_STEPS, p.train),
            clustered=CLUSTERED if asked else "",
            rate=RATE,
            share=share,
            decay=decay,
            why_decay=why_decay,
            levels="" if p.is_vit else ", levels: [2, 3, 4]",
            experiments=CLUSTERED_EXPERIMENT if asked else "",
        )
    )


def epochs(steps: int, images: int) -> int:
    """How often all images are seen in about so many steps."""
    per_epoch = max(1, images // BATCH)  # a last, smaller batch is left out in training
    return max(FEWEST_EPOCHS, math.ceil(steps / per_epoch))


def scalar(value: Any) -> str:
    """A value as YAML in one line, without ``#``: bare where that reads the same, else as JSON."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False).replace("#", r"\u0023")


def _aligned(text: str) -> str:
    """Comments behind values start in one column, however long the values are."""
    lines = []
    for line in text.splitlines():
        before, sign, comment = line.partition(" # ")  # a value never has one: see `scalar`
        lines.append(f"{before.rstrip().ljust(COLUMN)}{sign}{comment}" if sign else line.rstrip())
    return "\n".join(lines) + "\n"


def _flow(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in values.items()) + "}"


def _lines(values: Mapping[str, Any], indent: int, why: Mapping[str, str]) -> str:
    """One line for each key, with the reason for some."""
    texts = {k: _flow(v) if isinstance(v, Mapping) else scalar(v) for k, v in values.items()}
    return "\n".join(_with_why(f"{' ' * indent}{k}: {text}", why.get(k, "")) for k, text in texts.items())


def _with_why(line: str, why: str) -> str:
    return f"{line} # {why}" if why else line
