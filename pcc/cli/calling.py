"""From words to a stage's function: the program itself, the options that sub-commands share, and how one is run."""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from pcc.runtime.errors import InputError, call_with
from pcc.runtime.launch import launch, wanted_processes

TRAININGS = ("train", "train_boundary", "train_segmenter")  # spread over all GPUs that they are given

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes break examples into pieces that cannot be pasted
    help="Image tags in, pixel masks out: the stages of the workflow, one sub-command each, and tools for people.",
    epilog="Your own photos: pcc init FOLDER. Every sub-command's --help ends with an example.",
)

Settings = Annotated[str, typer.Option(help="The stage's slice of the configuration, as JSON.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
Code = Annotated[str, typer.Option(help="Fingerprint of the stage's code; a resumed run must have the same.")]
Output = Annotated[Path, typer.Option(help="What to write.")]
ManifestFile = Annotated[Path, typer.Option("--manifest", help="manifest.csv of the data set.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Shard = Annotated[str, typer.Option(help="Number of the shard, such as 000.")]


def run(stage: str, settings: str, threads: int, code: str, **paths: Any) -> Any:
    """Call a stage with its settings spread by name, and return what it returns.

    Args:
        stage: module of `pcc.stages` or `pcc.tools` and function in it.
        settings: JSON object.
        threads: CPU threads, also for torch.
        code: fingerprint.
        paths: the stage's own arguments.
    """
    with user_errors(stage):
        values = parsed(settings)
        if stage in TRAININGS and (processes := wanted_processes()) > 1:
            raise typer.Exit(launch(sys.argv[1:], processes))
        function = _stage(stage, max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        return call_with(function, values, "settings", threads=threads, code=code, **paths)


@contextmanager
def user_errors(stage: str) -> Iterator[None]:
    """Turn `InputError` into its lines on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        for problem in error.problems:
            typer.echo(f"pcc {stage}: {problem}", err=True)
        raise typer.Exit(2) from None


def _stage(stage: str, threads: int) -> Callable[..., Any]:
    # Set before torch is imported: OpenMP reads it once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    rooms = ("pcc.stages", "pcc.tools")
    name = next(f"{room}.{stage}" for room in rooms if find_spec(f"{room}.{stage}"))
    module = importlib.import_module(name)
    if torch := sys.modules.get("torch"):  # two seconds, which stages that need none are spared
        torch.set_num_threads(threads)
    return getattr(module, stage)


def parsed(text: str, option: str = "--settings") -> dict[str, Any]:
    """The JSON object in an option.

    Raises:
        InputError: it is none.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{option} is not JSON ({error}); quote it as one word: {option} '{{\"a\": 1}}'"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{option} must be a JSON object, not {type(values).__name__}")
    return values
