import pytest
import timm
import torch
from safetensors.torch import save_file

from pcc.models.backbones import Backbone, concatenate_levels
from pcc.runtime.errors import InputError


@pytest.mark.parametrize(
    ("name", "settings", "stride"),
    [
        ("test_vit", {}, 16),
        ("test_resnet", {"output_stride": 8}, 8),
        ("test_efficientnet", {}, 32),
        ("test_convnext", {}, 32),
    ],
)
def test_any_network_is_a_grid(name: str, settings: dict[str, int], stride: int) -> None:
    backbone = Backbone(name, settings=settings).eval()
    grid = backbone(torch.rand(2, 3, 96, 64))
    assert backbone.stride == stride
    assert grid.shape == (2, backbone.dim, 96 // stride, 64 // stride)


def test_vit_grid_is_timm_patch_tokens_in_reading_order() -> None:
    torch.manual_seed(0)
    backbone = Backbone("test_vit", settings={"img_size": 64}).eval()
    images = torch.rand(1, 3, 64, 64)
    tokens = backbone.network.forward_features(backbone.normalise(images))
    grid = backbone(images)
    prefix = backbone.network.num_prefix_tokens
    torch.testing.assert_close(grid[0, :, 1, 2], tokens[0, prefix + 1 * 4 + 2])


def test_joining_tokens_at_the_end_changes_nothing_on_the_grid() -> None:
    torch.manual_seed(0)
    backbone = Backbone("test_vit", settings={"img_size": 64}).eval()
    images = torch.rand(2, 3, 64, 64)
    grid, tokens = backbone.forward_with_tokens(images, torch.rand(2, 3, backbone.dim), last=0)
    torch.testing.assert_close(grid, backbone(images))
    assert tokens.shape == (2, 3, backbone.dim)
    joined, _ = backbone.forward_with_tokens(images, torch.rand(2, 3, backbone.dim), last=1)
    assert not torch.allclose(joined, grid)


def test_levels_are_unit_norm_and_on_the_finest_grid() -> None:
    backbone = Backbone("test_resnet", levels=[1, 3]).eval()
    grid = backbone(torch.rand(1, 3, 64, 64))
    assert grid.shape[2:] == (64 // backbone.stride,) * 2
    coarse, fine = torch.rand(1, 5, 2, 2) + 0.1, torch.rand(1, 3, 4, 4) + 0.1
    joined = concatenate_levels([fine, coarse])
    torch.testing.assert_close(joined[:, :3].norm(dim=1), torch.ones(1, 4, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("train_size", [64, 96])
def test_local_weights_and_position_embedding_of_another_size(tmp_path: object, train_size: int) -> None:
    torch.manual_seed(0)
    source = timm.create_model("test_vit", num_classes=10, img_size=64)
    path = f"{tmp_path}/w.safetensors"
    save_file({k: v.half() for k, v in source.state_dict().items()}, path)
    backbone = Backbone("test_vit", weights=path, settings={"img_size": train_size}).eval()
    images = torch.rand(1, 3, 64, 64)
    expected = source.eval().forward_features(backbone.normalise(images))[:, source.num_prefix_tokens :]
    grid = backbone(images).flatten(2).transpose(1, 2)
    tolerance = 2e-2 if train_size == 64 else 0.6  # halved precision; a resampled embedding is only near
    torch.testing.assert_close(grid, expected, atol=tolerance, rtol=0)


def test_weights_that_do_not_fit_are_refused(tmp_path: object) -> None:
    path = f"{tmp_path}/w.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(InputError, match="does not fit test_vit"):
        Backbone("test_vit", weights=path)


def test_sides_that_the_patch_does_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="not a multiple of the network's patch, 16"):
        Backbone("test_vit").eval()(torch.rand(1, 3, 40, 64))


def test_what_has_vit_in_its_name_need_not_be_one() -> None:
    assert not Backbone("mobilevit_xxs").is_vit


def test_a_network_of_one_image_size_is_refused() -> None:
    with pytest.raises(InputError, match="levit_128s supports only one image size"):
        Backbone("levit_128s")
