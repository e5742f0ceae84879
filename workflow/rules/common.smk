"""From wildcards to configuration: what each job needs, and which settings and code it depends on."""

import json
import os
import re
import sys
from pathlib import Path

from snakemake.utils import update_config

# What runs, and what is fingerprinted, is this code, whatever is installed.
sys.path.insert(0, str(workflow.basedir))

from configuration import check_config, typed
from experiments import chosen_by_masks, published, scoring_settings
from fingerprints import Code
from pcc.configuration import files_in, methods_behind, settings_of
from pcc.configuration import module_of as module_named
from pcc.results import NETWORKS, STEPS, branches, last_step
from scheduling import without_needless_rounds

update_config(config, typed(workflow.config_settings.config or {}))
check_config(config, Path(workflow.basedir))
code_of = Code(Path(workflow.basedir)).fingerprint

CORES = min(8, os.cpu_count() or 1)  # for a job that uses all it is given; Snakemake's --cores may lower it
DATASET = config["dataset"]
SHARDS = {split: [f"{i:03d}" for i in range(count)] for split, count in DATASET["shards"].items()}
BRANCHES = branches(config)


pathvars:
    results=f"{config['results']}/{DATASET['name']}",
    logs=f"{config['results']}/{DATASET['name']}/logs",
    benchmarks=f"{config['results']}/{DATASET['name']}/benchmarks",


# What runs is the code that was fingerprinted, whatever the working directory and the environment.
shell.prefix("export PYTHONPATH={workflow.basedir:q}${{PYTHONPATH:+:$PYTHONPATH}}; ")


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"  # no name configured: nothing matches


wildcard_constraints:
    seed=r"\d+",
    shard=r"\d{3}",
    branch=any_of(BRANCHES),
    clusters=any_of(config["clusters"]),
    method=any_of(config["methods"]),
    localization=any_of(config["localizations"]),
    refinement=any_of(config["refinements"]),


def kind_and_split(branch):
    return STEPS[last_step(BRANCHES[branch])]


def artifacts(branch):
    """The shards that a branch ends in."""
    kind, split = kind_and_split(branch)
    suffix = ".safetensors" if kind == "maps" else ""
    return [f"<results>/{branch}/{kind}/{shard}{suffix}" for shard in SHARDS[split]]


def training_masks(wildcards):
    """The pseudo masks a segmenter is trained on; none where it is trained on the true ones."""
    by_masks = BRANCHES[wildcards.branch]["supervision"] == "masks"
    return [] if by_masks else artifacts(str(Path(wildcards.branch).parent))


def scored_branches():
    return [branch for branch in BRANCHES if kind_and_split(branch)[1] in config["scoring"]["splits"]]


def quality(branch):
    """What is said of a branch's pseudo masks without true ones; of nothing else."""
    return f"<results>/{branch}/quality.csv" if last_step(BRANCHES[branch]) == "refinement" else []


def scoring_clusters():
    """The partition that all experiments are compared with."""
    name = config["scoring"]["clusters"]
    return f"<results>/clusters/{name}/clusters.json" if name else []


def used_clusters():
    """The partitions that any experiment or score depends on, but for those without a cluster."""
    chosen = {branch["method"] for branch in BRANCHES.values() if branch["method"]}
    methods = {behind for name in chosen for behind in methods_behind(config["methods"], name)}
    used = {config["methods"][method]["clusters"] for method in methods} | {config["scoring"]["clusters"]}
    return [
        n for n, chosen in config["clusters"].items() if n in used and chosen.get("provider", n) != "none"
    ]


def trainings():
    """The folder of every network behind a number, and the rule that trains it."""
    scored = [BRANCHES[branch] for branch in scored_branches()]
    classifiers = {
        f"{name}/seed-{chosen['seed']}": "train"
        for chosen in scored
        if chosen["method"]
        for name in methods_behind(config["methods"], chosen["method"])
    }
    walks = {
        branch: "train_boundary"
        for branch in scored_branches()
        if last_step(BRANCHES[branch]) == "refinement"
        and "boundary" in config["refinements"][BRANCHES[branch]["refinement"]]
    }
    segmenters = {b: "train_segmenter" for b in scored_branches() if last_step(BRANCHES[b]) == "segmenter"}
    return classifiers | walks | segmenters


def losses():
    folders = {rule_name: folder for folder, rule_name in NETWORKS.items()}
    return [
        f"<results>/{branch}/{folders[rule_name]}/losses.csv" for branch, rule_name in trainings().items()
    ]


def pictures():
    """The pictures of the report whose number depends on the configuration, by kind."""
    return {
        "clusters": [f"<results>/report/clusters_{name}.png" for name in used_clusters()],
        "nouns": [f"<results>/report/nouns_{name}.png" for name in methods_with_nouns()],
    }


def targets():
    """The summary of all that can be scored, and the rest itself."""
    scored = scored_branches()
    rest = [branch for branch in BRANCHES if branch not in scored]
    unscored = [path for branch in rest for path in artifacts(branch)]
    unscored += [path for branch in rest for path in quality(branch) and [quality(branch)]]
    # Pictures too: a rule with a new output that nobody asks for counts as done, whatever else has changed.
    return unscored + ["<results>/summary.csv", *sum(pictures().values(), [])] * bool(scored)


def chosen(part, wildcards):
    """The name of the entry that the wildcards choose for a part."""
    return BRANCHES[wildcards.branch][part] if "branch" in wildcards.keys() else wildcards[part]


def entry(part, wildcards, *keys):
    """The settings of the entry that the wildcards choose for a part; with `keys`, only those."""
    settings = settings_of(config, part, chosen(part, wildcards))
    return {key: settings[key] for key in keys or settings}


def begins_with(wildcards):
    """The folders of the trained methods that this one begins with, by their role in it."""
    after = config["methods"][wildcards.method]["after"]
    return {role: f"<results>/{name}/seed-{wildcards.seed}/classifier" for role, name in after.items()}


def methods_with_nouns():
    """Those behind any experiment whose learned prompts are to be named."""
    chosen = dict.fromkeys(branch["method"] for branch in BRANCHES.values() if branch["method"])
    behind = dict.fromkeys(name for method in chosen for name in methods_behind(config["methods"], method))
    return [name for name in behind if "nouns" in config["methods"][name]]


def method_modules(wildcards):
    """The modules of a method and of those it begins with, each once, and what chooses epochs if masks do."""
    methods = config["methods"]
    modules = [module_named(config, "method", name) for name in methods_behind(methods, wildcards.method)]
    return [*dict.fromkeys(modules), *["pcc.scoring.selection"] * chosen_by_masks(methods[wildcards.method])]


def boundary(wildcards):
    """How the boundaries of a refinement are learned; empty where it needs none."""
    return entry("refinement", wildcards).get("boundary", {})


def prompts_of(wildcards):
    """The prompts a language model is sent where the entry names none of its own."""
    asks = entry("clusters", wildcards)["provider"] == "openai"
    return {"prompts": f"{workflow.basedir}/pcc/resources/prompts/clusters.yaml"} if asks else {}


def boundary_masks(wildcards):
    """The masks, unsure in places, that boundaries are learned from."""
    branch = f"{wildcards.method}/seed-{wildcards.seed}/{wildcards.localization}"
    labels = boundary(wildcards)["labels"]
    return [f"<results>/{branch}/{labels}/pseudo_masks/{shard}" for shard in SHARDS["train"]]


def refinement_settings(wildcards):
    return {k: v for k, v in entry("refinement", wildcards).items() if k != "boundary"}


def module_of(part, wildcards):
    """The module that this entry chooses by name."""
    return module_named(config, part, chosen(part, wildcards))


def as_json(settings):
    # Sorted, as the order of keys in the configuration means nothing.
    return json.dumps(settings, sort_keys=True)
