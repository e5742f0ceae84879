"""Files of the kinds of networks there are, against PyTorch, at sizes that tracing has not seen."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcc.deployment import onnx as onnx_file
from pcc.deployment.onnx import OnnxNetwork, write_onnx
from pcc.models.segmenter import Segmenter, build_segmenter
from pcc.runtime.errors import InputError

pytestmark = pytest.mark.slow

SAME = {"name": "test_efficientnet", "settings": {"pad_type": "same"}}  # TensorFlow's padding
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "light_head on a ViT": ("light_head", {"backbone": {"name": "test_vit"}, "width": 8}),
    "deeplabv2": ("deeplabv2", {"backbone": SAME}),
    "smp": ("smp", {"architecture": "unet", "encoder": "tu-test_resnet"}),
}
Exported = tuple[Segmenter, OnnxNetwork, Path]


def network_of(name: str) -> Segmenter:
    torch.manual_seed(0)
    kind, model = NETWORKS[name]
    network = build_segmenter(kind, 4, model).eval().requires_grad_(False)
    for key, values in network.named_parameters():
        if "pos_embed" in key:
            values.mul_(50)  # as large as trained ones: an error in resizing them must show
    return network


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = network_of(request.param)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    compared, fixed = write_onnx(network, path, side=64)
    assert fixed is None
    assert len(compared) > 3 and all(found.difference <= 1e-3 for found in compared)
    return network, OnnxNetwork(path, network.multiple_of), path


@given(rows=st.integers(24, 200), columns=st.integers(24, 200), batch=st.sampled_from([1, 3]))
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_onnx_computes_what_pytorch_does_at_any_size(exported: Exported, rows: int, columns: int, batch: int) -> None:
    network, other, _ = exported
    step = network.multiple_of
    height, width = (max(1, side // step) * step for side in (rows, columns))
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(rows))
    torch.testing.assert_close(other(images), network(images), atol=1e-3, rtol=0)


def test_no_path_of_this_machine_is_in_the_file(exported: Exported) -> None:
    written = exported[2].read_bytes()
    assert b"site-packages" not in written
    assert str(Path.home()).encode() + b"/" not in written
    assert str(Path(onnx_file.__file__).parent).encode() not in written


def test_padding_of_tensorflow_is_onnx_s_own(exported: Exported) -> None:
    assert (b"SAME_UPPER" in exported[2].read_bytes()) == (type(exported[0]).__name__ == "DeepLabV2")


class Program:
    """In place of what torch's exporter gives: a file that is there already."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.model = SimpleNamespace(graph=SimpleNamespace(all_nodes=list))

    def save(self, path: Path, external_data: bool) -> None:
        path.write_bytes(self.file.read_bytes())


def test_a_network_that_cannot_have_any_size_gets_one_and_a_log_line(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, _, file = exported

    def of_one_size(*_: Any, dynamic_shapes: Any, **__: Any) -> Program:
        if len(dynamic_shapes[0]) > 1:
            raise RuntimeError("pages of advice ## Exception summary sizes are constants (Refer to the trace)")
        return Program(file)

    monkeypatch.setattr(torch.onnx, "export", of_one_size)
    with caplog.at_level(logging.INFO, "pcc"):
        compared, fixed = write_onnx(network, tmp_path / "m.onnx", side=63)
    step = network.multiple_of
    assert fixed == -(-63 // step) * step
    assert {(found.batch, found.height, found.width) for found in compared} == {(1, fixed, fixed), (3, fixed, fixed)}
    assert "cannot export ONNX of any size" in caplog.text and "(sizes are constants)" in caplog.text
    assert (tmp_path / "m.onnx").is_file()


def test_a_file_that_computes_something_else_is_not_kept(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _, file = exported
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program(file))
    monkeypatch.setattr(
        network, "forward", lambda images, forward=network.forward: forward(images) + 0.01, raising=False
    )
    with pytest.raises(InputError, match=r"differ by 0\.01.*was not kept; --no-onnx leaves it out") as caught:
        write_onnx(network, tmp_path / "m.onnx", side=64)
    assert len(caught.value.problems) == 1
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_one_line_that_says_what_to_install(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"not installed: onnxscript; pip install 'pcc\[onnx\]'") as caught:
        write_onnx(exported[0], tmp_path / "m.onnx", side=64)
    assert len(caught.value.problems) == 1
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="or use --engine torch"):
        OnnxNetwork(exported[2], 1)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as ONNX") as caught:
        OnnxNetwork(tmp_path / "m.onnx", 1)
    assert len(caught.value.problems) == 1
