"""The seam between methods and everything else."""

from abc import abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from pcc.models.backbones import Backbone
from pcc.runtime.errors import InputError
from pcc.trainable import Trainable


class Method(Trainable):
    """One weakly supervised method: image-level labels in, localization maps out.

    Attributes:
        backbone: its encoder.
    """

    backbone: Backbone

    @abstractmethod
    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Grid features: what the head works on, and where ``iscam`` finds its prototypes by default."""

    @abstractmethod
    def activations(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B A h w"]:
        """Class evidence of one view (scale, flip) before anything is normalised over space; views are averaged."""

    @abstractmethod
    def to_maps(
        self, activations: Float[Tensor, "B A h w"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Averaged class evidence to localization maps, background first, absent classes exactly zero."""

    def view(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B A h w"], Float[Tensor, "B D g v"]]:
        """`activations` and `encode` of the same view; overridden where one pass gives both."""
        return self.activations(images), self.encode(images)

    def map_parameters(self) -> list[nn.Parameter]:
        """What another method may go on training of these maps: by default all that is not the encoder's."""
        encoder = set(map(id, self.backbone.parameters()))
        return [p for p in self.parameters() if id(p) not in encoder]

    def start_from(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over trained weights, by the role they have here (``after`` in the configuration).

        Raises:
            InputError: this method begins with none.
        """
        raise InputError(f"methods: after: {', '.join(weights)}: this method begins with no other's weights")

    def localize_in_training(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"], phase: str
    ) -> Float[Tensor, "B C h w"]:
        """`localize` with the weights that ``phase`` trains; differs where a method trains a copy."""
        return self.localize(images, labels)

    def localize(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Maps of one view alone."""
        return self.to_maps(self.activations(images), labels)
