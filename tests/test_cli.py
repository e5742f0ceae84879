import inspect
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.models import CommandInfo
from typer.testing import CliRunner

from pcc.cli import app
from pcc.cli.calling import user_errors
from pcc.runtime.errors import ProcessLost

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("{", "pcc prepare: --settings is not JSON"),
        ("[1]", "pcc prepare: --settings must be a JSON object, not list"),
        (
            '{"name": "x", "format": "folder", "settings": {}, "shards": {}, "shard": 1}',
            "unknown setting 'shard'; allowed:",
        ),
        ('{"name": "x", "format": "fodler", "settings": {}, "shards": {}}', "no type 'fodler'; allowed:"),
    ],
)
def test_a_user_s_mistake_is_its_line_and_exit_code_2(tmp_path: Path, settings: str, line: str) -> None:
    result = CliRunner().invoke(app, ["prepare", "--output", str(tmp_path / "data"), "--settings", settings])
    assert result.exit_code == 2
    assert line in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ProcessLost.of("a data loader", -9), "a data loader was killed (signal 9), often for lack of memory"),
        (ProcessLost.of("a worker process", 1), "a worker process ended unexpectedly (exit code 1); rerun to resume"),
        (MemoryError(), "out of memory; lower batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 12 bytes"), "out of memory; lower"),
    ],
)
def test_a_lost_process_is_its_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    with pytest.raises(typer.Exit) as left, user_errors("train"):
        raise error
    assert left.value.exit_code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"pcc train: {line}") and said.count("\n") == 1


def test_an_error_of_the_program_stays_one() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), user_errors("train"):
        raise RuntimeError("shapes differ")


def test_init_is_told_by_options(tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    result = CliRunner().invoke(app, ["init", str(tmp_path), "--output", str(output), "--val-share", "0.3"])
    assert result.exit_code == 2 and not output.exists()
    assert f"pcc init: {tmp_path}: no image found; put images there" in result.output


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_options_are_the_function_s_arguments_and_may_be_left_out(command: CommandInfo) -> None:
    assert command.name and command.callback
    room = next(room for room in ("stages", "tools") if (ROOT / f"pcc/{room}/{command.name}.py").is_file())
    function = getattr(import_module(f"pcc.{room}.{command.name}"), command.name)
    taken = inspect.signature(function).parameters
    options = inspect.signature(command.callback).parameters
    renamed = {"weights": "weights_file", "settings": None, "threads": None, "code": None, "all_problems": None}
    for name, option in options.items():
        if wanted := renamed.get(name, name):
            assert wanted in taken, name
            if option.default is None:  # not handed on where it is not given
                assert taken[wanted].default is not inspect.Parameter.empty, name


def test_every_stage_of_the_workflow_has_its_command() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    stages = {
        "prepare",
        "clusters",
        "train",
        "nouns",
        "localize",
        "train_boundary",
        "boundaries",
        "pseudo_masks",
        "quality",
        "train_segmenter",
        "segment",
        "evaluate",
        "report",
    }
    assert stages | {"labels", "inspect", "gallery", "doctor", "init", "export", "predict"} == commands
