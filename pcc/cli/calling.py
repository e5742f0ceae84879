"""From a command line to a function: the program itself, the options that sub-commands share, and how one is run."""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from pcc.cli.failures import explained
from pcc.runtime.errors import InputError, ProcessLost, call_with, out_of_memory
from pcc.runtime.launch import PEER_LOST, is_peer_lost, launch, leave, wanted_processes

TRAININGS = ("train", "train_boundary", "train_segmenter")  # spread over all GPUs that they are given

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes break examples into pieces that cannot be pasted
    help="Image-level labels in, pixel masks out: the stages of the workflow, one sub-command each, and tools.",
    epilog="Your own images: pcc init FOLDER. Every sub-command's --help ends with an example.",
)

Settings = Annotated[str, typer.Option(help="The stage's part of the configuration, as JSON.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1, max=4096)]
Code = Annotated[str, typer.Option(help="Fingerprint of the stage's code; only a run with the same resumes.")]
Output = Annotated[Path, typer.Option(help="What to write.")]
ManifestFile = Annotated[Path, typer.Option("--manifest", help="manifest.csv of the data set.")]
Seed = Annotated[int, typer.Option(help="Random seed.", min=0, max=2**32 - 1)]
Shard = Annotated[str, typer.Option(help="Shard index, such as 000.")]

AllProblems = Annotated[bool, typer.Option("--all", help="List every problem, not only the first ones of each kind.")]

Command = Callable[..., Mapping[str, Any] | None]
# Options of every stage besides its own.
SHARED: dict[str, tuple[Any, Any]] = {"settings": (Settings, "{}"), "threads": (Threads, 1), "code": (Code, "")}
# Of every sub-command; not an argument of its function.
EVERY: dict[str, tuple[Any, Any]] = {"all_problems": (AllProblems, False)}


def stage(command: Command) -> Command:
    """Make a sub-command of a function named like a module of `pcc.stages`.

    Its options become the stage's arguments, and --settings, --threads and --code are added. What the function returns
    replaces some of them. An option that is not given is left to the stage's own default.
    """
    return _sign_up(command, "pcc.stages", SHARED)


def tool(command: Command) -> Command:
    """Make a sub-command of a function named like a module of `pcc.tools`.

    A tool may return how many items failed: above 0, the exit code is 1.
    """
    return _sign_up(command, "pcc.tools", {})


def _sign_up(command: Command, room: str, shared: dict[str, tuple[Any, Any]]) -> Command:
    name = command.__name__
    signature = inspect.signature(command)
    more = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for key, (kind, default) in (shared | EVERY).items()
    ]

    @wraps(command)
    def called(all_problems: bool = False, **options: Any) -> None:
        with user_errors(name, every=all_problems):
            own = {key: value for key, value in options.items() if key not in shared}
            own |= command(**own) or {}
            settings = parsed(own.pop("settings", options.get("settings", "{}")))
            threads = own.pop("threads", options.get("threads", 1))
            if name in TRAININGS and (processes := wanted_processes()) > 1:
                raise typer.Exit(launch(sys.argv[1:], processes))
            function = _function(f"{room}.{name}", threads)
            given = {key: value for key, value in own.items() if value is not None}
            if shared:
                given["code"] = options["code"]
            if shared or "threads" in inspect.signature(function).parameters:
                given["threads"] = threads
            result = call_with(function, settings, "settings", **given)
        if result:
            raise typer.Exit(1)

    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *more]
    )
    called.__annotations__ = command.__annotations__ | {key: kind for key, (kind, _) in (shared | EVERY).items()}
    app.command(name)(called)
    return called


@contextmanager
def user_errors(command: str, *, every: bool = False) -> Iterator[None]:
    """Turn what is no fault of ours into lines on standard error.

    The exit code is 2 for `InputError` and for what the operating system refuses, 1 for a lost process or too little
    memory.

    Args:
        command: named in each line.
        every: all lines; otherwise the first of each kind.
    """
    try:
        yield
    except InputError as error:
        for problem in error.problems if every else error.summary():
            typer.echo(f"pcc {command}: {' '.join(problem.splitlines())}", err=True)  # names may have line ends
        raise typer.Exit(2) from None
    except OSError as error:
        if (line := explained(error)) is None:
            raise
        typer.echo(f"pcc {command}: {line}", err=True)
        raise typer.Exit(2) from None
    except ProcessLost as error:
        typer.echo(f"pcc {command}: {error}", err=True)
        leave(1)
        raise typer.Exit(1) from None
    except (MemoryError, RuntimeError, ImportError) as error:
        if is_peer_lost(error):
            leave(PEER_LOST)  # the launcher says which
        if (line := out_of_memory(error)) is None:
            raise
        typer.echo(f"pcc {command}: {line}", err=True)
        raise typer.Exit(1) from None


def _function(module: str, threads: int) -> Callable[..., Any]:
    # Set before torch is imported: OpenMP reads it once.
    threads = max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    found = importlib.import_module(module)
    if torch := sys.modules.get("torch"):  # two seconds, which stages that need none are spared
        torch.set_num_threads(threads)
    return getattr(found, module.rpartition(".")[2])


def parsed(text: str, option: str = "--settings") -> dict[str, Any]:
    """The JSON object in an option.

    Raises:
        InputError: not a JSON object.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{option} is not JSON ({error}); quote it as one word: {option} '{{\"a\": 1}}'") from error
    if not isinstance(values, dict):
        raise InputError(f"{option} must be a JSON object, not {type(values).__name__}")
    return values
