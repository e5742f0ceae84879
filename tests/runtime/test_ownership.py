from collections.abc import Callable
from pathlib import Path

import pytest

from pcc.artifacts.provenance import Job
from pcc.runtime.errors import InputError
from pcc.runtime.files import publish, read_json, resumable_directory, write_json, write_text
from pcc.runtime.ownership import claimed
from pcc.runtime.stage import stage


@stage(writes="folder")
def masks(output: Path, *, fail: bool = False) -> None:
    with resumable_directory(output, {}) as work:
        job = Job({}, [])
        for name in ("a.png", "b.png"):
            write_text(work / name, name)
        if fail:
            raise InputError("no")
        job.write_provenance(work)
        publish(work, output)


@stage(writes="inside")
def network(output: Path, *, fail: bool = False) -> None:
    if fail:
        raise InputError("no")
    write_text(output / "weights", "w")
    Job({}, []).write_provenance(output, [output / "weights"])


@stage(writes="file")
def table(output: Path, *, fail: bool = False) -> None:
    if fail:
        raise InputError("no")
    write_text(output, "t")
    Job({}, []).write_provenance(output)


def thesis(path: Path) -> None:
    write_text(path / "thesis.txt", "years of work")


def another(path: Path) -> None:
    network(path)


def with_a_guest(path: Path) -> None:
    masks(path)
    thesis(path)


def hidden(path: Path) -> None:
    write_text(path / ".git/config", "")


def false_record(path: Path) -> None:
    thesis(path)
    write_json(path / "provenance.json", {"stage": "segment", "files": {}})


def damaged_record(path: Path) -> None:
    thesis(path)
    write_text(path / "provenance.json", "{")


def file(path: Path) -> None:
    write_text(path, "a letter")


def content(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.parent.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("run", "before", "line"),
    [
        (masks, thesis, "folder is not empty and was not written by `pcc masks`"),
        (masks, another, "folder is not empty and was not written by `pcc masks`"),
        (masks, with_a_guest, "holds thesis.txt, which `pcc masks` did not write"),
        (masks, hidden, "folder is not empty"),
        (masks, false_record, "folder is not empty"),
        (masks, damaged_record, "provenance.json: not JSON"),
        (masks, file, "is a file; name a folder"),
        (network, thesis, "folder is not empty and was not written by `pcc network`"),
        (network, masks, "folder is not empty and was not written by `pcc network`"),
        (network, file, "is a file; name a folder"),
        (table, file, "file exists and was not written by `pcc table`"),
        (table, thesis, "is a folder; name a file"),
    ],
)
def test_what_is_not_the_stages_own_stays(
    run: Callable[[Path], None], before: Callable[[Path], None], line: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    before(output)
    kept = content(output)
    with pytest.raises(InputError, match=line) as caught:
        run(output)
    assert len(caught.value.problems) == 1
    assert content(output) == kept


def test_a_link_to_a_folder_of_others_is_no_way_round(tmp_path: Path) -> None:
    thesis(tmp_path / "mine")
    (tmp_path / "out").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="not empty"):
        masks(tmp_path / "out")


@pytest.mark.parametrize("run", [masks, network, table])
def test_nothing_an_empty_folder_and_an_earlier_artifact_are_taken(run: Callable[..., None], tmp_path: Path) -> None:
    run(tmp_path / "a/out")
    run(tmp_path / "a/out")
    if run is not table:
        (tmp_path / "empty").mkdir()
        run(tmp_path / "empty")


@pytest.mark.parametrize("run", [network, table])
def test_a_run_that_fails_leaves_nothing(run: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no"):
        run(tmp_path / "deep/down/out", fail=True)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_stage_left_is_its_own(tmp_path: Path) -> None:
    killed = claimed(tmp_path / "out", "network", "inside")
    killed.__enter__()
    write_text(tmp_path / "out/weights", "half of a run")
    network(tmp_path / "out")
    assert read_json(tmp_path / "out/provenance.json")["stage"] == "network"


def test_a_record_of_an_older_version_is_believed(tmp_path: Path) -> None:
    write_json(tmp_path / "out/provenance.json", {"settings": {}, "inputs": {}, "code": ""})
    write_text(tmp_path / "out/old.png", "")
    masks(tmp_path / "out")
    assert not (tmp_path / "out/old.png").exists()


@pytest.mark.parametrize(
    ("made", "damage", "line"),
    [
        (masks, lambda out: write_text(out / "a.png", "a.pnG"), "a.png is not what `pcc masks` wrote; delete"),
        (masks, lambda out: (out / "b.png").unlink(), "b.png is missing since `pcc masks` wrote it"),
        (masks, lambda out: [p.unlink() for p in out.glob("*.png")], "a.png and 1 more is missing"),
        (masks, lambda out: write_text(out / "provenance.json", "[]"), "not a provenance record"),
        (table, lambda out: write_text(out, ""), "out: is not what `pcc table` wrote; delete"),
        (table, lambda out: out.unlink(), "no such file or folder; run the stage"),
    ],
)
def test_damage_is_noticed_when_an_artifact_is_read(
    made: Callable[[Path], None], damage: Callable[[Path], object], line: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    made(output)
    Job({}, [output])
    damage(output)
    with pytest.raises(InputError, match=line):
        Job({}, [output])


def test_a_file_in_an_artifacts_folder_is_compared_too(tmp_path: Path) -> None:
    network(tmp_path / "out")
    write_text(tmp_path / "out/weights", "flipped")
    with pytest.raises(InputError, match=r"weights: is not what `pcc network`"):
        Job({}, [tmp_path / "out/weights"])


def test_what_has_no_record_is_taken(tmp_path: Path) -> None:
    thesis(tmp_path / "out")
    assert list(Job({}, [tmp_path / "out"]).key["inputs"]) == [str(tmp_path / "out")]
