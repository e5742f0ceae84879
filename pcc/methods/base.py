"""Interface of the weakly supervised methods."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from pcc.maps import normalize_cams, with_background
from pcc.models.backbones import Backbone
from pcc.runtime.errors import InputError
from pcc.trainable import Trainable


class Method(Trainable):
    """One weakly supervised method: image-level labels in, localization maps out.

    Attributes:
        backbone: encoder.
        unfrozen_blocks: number of trained blocks at the end of the encoder, or ``all``.
        uses_clusters: whether clusters of classes change anything.
    """

    uses_clusters: ClassVar[bool] = False

    backbone: Backbone
    unfrozen_blocks: int | Literal["all"] = "all"

    @abstractmethod
    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Grid features: input of the head, and the default features of ``iscam``."""

    @abstractmethod
    def raw_maps_and_features(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B A h w"], Float[Tensor, "B D g v"]]:
        """Class logits or probabilities before spatial normalisation, averaged over scales and flips; `encode`."""

    def raw_maps(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B A h w"]:
        """The first of `raw_maps_and_features`."""
        return self.raw_maps_and_features(images)[0]

    def to_maps(self, raw_maps: Float[Tensor, "B A h w"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Localization maps, background first, absent classes exactly zero; by default normalised CAMs."""
        return with_background(normalize_cams(raw_maps) * labels[:, :, None, None])

    def is_encoder_frozen(self, phase: str) -> bool:
        return self.unfrozen_blocks == 0

    def train(self, mode: bool = True) -> "Method":
        """A partly frozen backbone stays in evaluation mode: running statistics, no dropout."""
        super().train(mode)
        if self.unfrozen_blocks != "all":
            self.backbone.eval()
        return self

    def map_parameters(self) -> list[nn.Parameter]:
        """Parameters of the maps that another method may fine-tune; by default all outside the encoder."""
        encoder = set(map(id, self.backbone.parameters()))
        return [p for p in self.parameters() if id(p) not in encoder]

    def start_from(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load weights of trained methods by role (``after`` in the configuration).

        Raises:
            InputError: unsupported by this method.
        """
        raise InputError(f"methods: after: {', '.join(weights)}: not supported by this method")

    def localize_in_training(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"], phase: str
    ) -> Float[Tensor, "B C h w"]:
        """`localize` with the weights trained in ``phase``."""
        return self.localize(images, labels)

    def localize(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Maps at one scale, without flip."""
        return self.to_maps(self.raw_maps(images), labels)
