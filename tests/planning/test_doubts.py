from pathlib import Path

from pcc.data.manifest import Dataset, Manifest, Record
from pcc.planning.doubts import doubts, same_files, slips, untrained_classes


def manifest(tmp_path: Path, tags: str, splits: str) -> Manifest:
    """One image a letter of ``splits``, all different, tagged by the words of ``tags``."""
    records = []
    for number, (tag, split) in enumerate(zip(tags.split(), splits, strict=True)):
        file = tmp_path / f"{number}.jpg"
        file.write_bytes(bytes([number]))
        records.append(Record(str(number), file, (tag,), None, {"t": "train", "v": "val"}[split]))
    return Manifest(Dataset("toy", tuple(sorted(set(tags.split())))), tuple(records))


def test_all_is_well(tmp_path: Path) -> None:
    data = manifest(tmp_path, "cat cat dog dog", "tvtv")
    assert [*untrained_classes(data), *doubts(data)] == []


def test_a_class_must_be_trained_on(tmp_path: Path) -> None:
    data = manifest(tmp_path, "cat cat dog", "tvv")
    (problem,) = untrained_classes(data)
    assert problem.startswith("data set toy: class 'dog' has no training image (1 in val); ")


def test_rare_names_and_slips(tmp_path: Path) -> None:
    lines = list(doubts(manifest(tmp_path, "horse " * 10 + "hrose", "t" * 10 + "v")))
    assert len(lines) == 2
    assert lines[0].startswith("class 'hrose' has 1 image; ")
    assert lines[1].startswith("labels 'hrose' (1) and 'horse' (10): ")


def test_what_is_a_slip() -> None:
    assert list(slips({"Cat": 5, "cat": 6})) == [("Cat", "cat")]
    assert list(slips({"car": 30, "cat": 30})) == []  # alike, but both are common
    assert list(slips({"boat": 1, "horse": 30})) == []


def test_only_files_with_the_same_bytes_are_the_same(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abcd"]
    for file, content in zip(files, (b"one", b"two", b"one", b"longer"), strict=True):
        file.write_bytes(content)
    assert same_files(files) == [[files[0], files[2]]]
