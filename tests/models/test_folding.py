import timm
import torch
from torch import Tensor, nn

from pcc.models.backbones import Backbone
from pcc.models.folding import fold_batch_norms

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def with_statistics(network: nn.Module) -> nn.Module:
    """Batch norms as a training leaves them: those of a new network do next to nothing."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=draw)
            nn.init.normal_(module.bias, 0, 0.3, generator=draw)
    return network.eval().requires_grad_(False)


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_folded_backbone_gives_the_same_on_every_tap() -> None:
    for name, left in (("resnet18", 0), ("tf_efficientnet_lite0", 0), ("resnetv2_50", 17)):
        torch.manual_seed(0)
        backbone = with_statistics(Backbone(name))
        folded = fold_batch_norms(backbone, IMAGES)
        assert norms(backbone) > norms(folded) == left  # a norm before its convolution stays
        torch.testing.assert_close(folded(IMAGES), backbone(IMAGES), rtol=1e-3, atol=1e-4)
        for one, other in zip(folded.stages(IMAGES), backbone.stages(IMAGES), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_network_without_batch_norms_stays_as_it_is() -> None:
    backbone = with_statistics(Backbone("test_vit"))
    assert torch.equal(fold_batch_norms(backbone, IMAGES)(IMAGES), backbone(IMAGES))


class Shared(nn.Module):
    """One convolution before two norms, run twice; another whose output is read without its norm, too."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        self.leaks = leaks
        self.twice, self.one, self.two = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.read, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.read(self.two(self.twice(self.one(self.twice(images)))))
        return self.norm(seen) + seen * self.leaks


def test_what_cannot_be_folded_is_left() -> None:
    for leaks, left in ((False, 2), (True, 3)):
        network = with_statistics(Shared(leaks))
        folded = fold_batch_norms(network, IMAGES)
        assert norms(folded) == left
        torch.testing.assert_close(folded(IMAGES), network(IMAGES))


def test_a_network_in_training_stays_so() -> None:
    network = timm.create_model("test_resnet", num_classes=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norms(network, IMAGES)
    assert network.training and not folded.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
