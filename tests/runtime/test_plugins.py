"""Parts by name: found, or refused with the names there are."""

import pytest

from pcc.methods.base import Method
from pcc.methods.cam import PlainCAM
from pcc.runtime.errors import InputError
from pcc.runtime.plugins import load_attribute, load_class


def test_a_class_is_its_modules_own() -> None:
    """`methods/pcc.py` imports Method, and may import other methods: neither is what it offers."""
    assert load_class("pcc.methods", "cam", Method, "x") is PlainCAM
    assert load_class("pcc.methods", "pcc", Method, "x").__name__ == "PCC"


@pytest.mark.parametrize("name", ["base", "unet", "cam.PlainCAM", "../cam", "__init__", ""])
def test_what_is_no_method_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError, match=r"methods.mine.type: no type '.*'; allowed: .*\bcam\b.*\bpcc\b"):
        load_class("pcc.methods", name, Method, "methods.mine.type")


def test_a_function_by_name() -> None:
    assert load_attribute("pcc.refine", "argmax", "refine", "x").__module__ == "pcc.refine.argmax"
    with pytest.raises(InputError) as caught:
        load_attribute("pcc.refine", "affinity", "refine", "refinements.mine.type")
    assert "affinity" not in caught.value.problems[0].split("allowed:")[1]
