import re
from pathlib import Path

import pytest
from fingerprints import Code

FILES = {
    "pcc/__init__.py": '__version__ = "1"\n',
    "pcc/stages/__init__.py": "",
    "pcc/stages/localize.py": "from pcc import maps\nfrom pcc.files import digest\nimport numpy\n",
    "pcc/stages/evaluate.py": "from .. import files\n",
    "pcc/localizations/__init__.py": "",
    "pcc/localizations/iscam.py": "def load():\n    from pcc.prototypes import seeds\n    return seeds\n",
    "pcc/localizations/cam.py": "from . import iscam_free\n",
    "pcc/localizations/iscam_free.py": "",
    "pcc/maps.py": '''"""Maps."""
import pcc.geometry.grid


def merge(a):  # adds
    """Add one."""
    return a + 1
''',
    "pcc/geometry/__init__.py": "X = 1\n",
    "pcc/geometry/grid.py": "Y = 1\n",
    "pcc/geometry/fast.cpp": "int y = 1;\n",
    "pcc/files.py": "def digest(): return 0\n",
    "pcc/prototypes.py": "def seeds(): return 0\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_closure_follows_every_way_to_import(root: Path) -> None:
    assert Code(root).closure("pcc.stages.localize") == {
        "pcc.stages",
        "pcc.stages.localize",
        "pcc.maps",
        "pcc.files",
        "pcc.geometry",
        "pcc.geometry.grid",
    }
    assert Code(root).closure("pcc.stages.evaluate") == {"pcc.stages", "pcc.stages.evaluate", "pcc.files"}
    assert "pcc.localizations.iscam_free" in Code(root).closure("pcc.localizations.cam")


def test_modules_chosen_by_name_bring_their_own_imports(root: Path) -> None:
    assert "pcc.prototypes" in Code(root).closure("pcc.stages.localize", "pcc.localizations.iscam")
    assert "pcc.prototypes" not in Code(root).closure("pcc.stages.localize", "pcc.localizations.cam")


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("pcc/maps.py", "import pcc.geometry.grid\ndef merge(a): return (a+1)\n", False),
        ("pcc/maps.py", "import pcc.geometry.grid\ndef merge(a): return a+2\n", True),
        ("pcc/geometry/__init__.py", "X = 2\n", True),
        ("pcc/geometry/grid.py", "Y = 2\n", True),
        ("pcc/geometry/fast.cpp", "int y = 2;\n", True),
        ("pcc/geometry/fast.cpp", "// one\nint  y = 1;  // and only\n", False),
        ("pcc/prototypes.py", "def seeds(): return 1\n", False),
        ("pcc/__init__.py", '__version__ = "2"\n', False),
    ],
)
def test_fingerprint_changes_with_what_is_computed(root: Path, file: str, text: str, changes: bool) -> None:
    before = Code(root).fingerprint("pcc.stages.localize")
    (root / file).write_text(text)
    assert (Code(root).fingerprint("pcc.stages.localize") != before) == changes


def test_rules_name_modules_that_exist() -> None:
    root = Path(__file__).parents[2]
    rules = "".join(path.read_text() for path in root.glob("workflow/rules/*.smk"))
    assert len(re.findall(r'code_of\(\s*"pcc\.stages\.', rules)) == rules.count("code_of(")
    named = set(re.findall(r'"(pcc\.stages\.\w+)"', rules))
    assert [name for name in sorted(named) if name not in Code(root).closure(name)] == []


@pytest.mark.parametrize("stage", ["train", "localize", "evaluate"])
def test_real_stages_do_not_depend_on_the_parts_chosen_by_name(stage: str) -> None:
    closure = Code(Path(__file__).parents[2]).closure(f"pcc.stages.{stage}")
    assert f"pcc.stages.{stage}" in closure
    assert not closure & {"pcc.prototypes", "pcc.refine.crf", "pcc.methods.pcc", "pcc.methods.cam", "pcc.models.smp"}
