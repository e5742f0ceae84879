"""PCC: prompted category clusters on a patch classifier (Wu et al., arXiv 2412.13823; pcc.md)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import condition_on_labels
from pcc.methods.base import Method
from pcc.models.backbones import Backbone, BackboneSettings
from pcc.models.clustered_classifier import ClusteredClassifier
from pcc.models.cross_attention import CrossAttention
from pcc.models.hv_bilstm import HVBiLSTM
from pcc.pooling import resolve_k, top_k_pool
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.settings import Blocks, Channels, Count, Dropout, Factor, Fraction, Weight, limits
from pcc.trainable import Batch, ParameterGroup

WARM_UP = "warmup"
TOKEN_LR = {"attention": 0.03}  # at 1 the tokens move logits by more than the class evidence (docs/decisions/0020)


class PCC(Method):
    """Patch classifier with category clusters and top-k pooling.

    Args:
        classes: names of the K foreground classes.
        clusters: vector indices of each cluster's members; empty: no clusters.
        backbone: settings of `Backbone`, any timm ViT or CNN.
        unfrozen_blocks: number of blocks at the end of the backbone (and the norm after them) trained in every phase
            except ``warmup``, or ``all``.
        backbone_lr: learning rate of these blocks, relative to the head.
        fusion: how clusters act. ``classifier``: members of a cluster share a part of their class weights. The others
            are published and add one token per cluster to the patches: ``sequence`` (at both ends of each row and
            column of the HV-BiLSTM), ``encoder`` (before the last ``unfrozen_blocks`` blocks of a ViT) or
            ``attention`` (gated cross-attention from patches to tokens). See docs/decisions/0020.
        root: with ``classifier`` or ``token_weights``, all foreground classes share a part of their weights too.
        token_weights: add each refined token, projected, to the class weights of its cluster's members; for the
            fusions with tokens. Ours, not published: otherwise only ``cluster_loss`` tells clusters apart.
        token_lr: learning rate of what clusters add, relative to the head; None: 0.03 for ``attention``, else 1.
        hv_bilstm: units per direction of the HV-BiLSTM; None: no HV-BiLSTM.
        dropout: dropout before the HV-BiLSTM and before the classifier.
        top_k: number or fraction of patches averaged per class.
        anneal: fraction of a phase over which the number of pooled patches falls from all to ``top_k``; 0: fixed.
            Pooling few patches from the start can trap a class on random ones.
        warmup_pooling: pooling in ``warmup``: ``top_k``, or ``average`` (global average pooling, sigmoid, no
            background, no tokens). The latter is convex with a frozen encoder and without an HV-BiLSTM, so that all
            seeds start from the same logits, with background at zero (docs/decisions/0003).
        cluster_loss: weight of the loss that predicts from each refined token whether its cluster is present.
        divide_by_maximum: scale each class to a peak of 1 in label conditioning (pcc.md §4).

    Raises:
        InputError: a fusion that the network does not support, or clusters that could have no effect.
    """

    uses_clusters = True
    members: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        backbone: BackboneSettings,
        unfrozen_blocks: Blocks | Literal["all"] = 5,
        backbone_lr: Factor = 1.0,
        fusion: Literal["classifier", "sequence", "encoder", "attention"] = "classifier",
        root: bool = True,
        token_weights: bool = False,
        token_lr: Factor | None = None,
        hv_bilstm: Channels | None = 192,
        dropout: Dropout = 0.2,
        top_k: Count | Annotated[float, limits(gt=0, lt=1)] = 6,
        anneal: Fraction = 0.0,
        warmup_pooling: Literal["top_k", "average"] = "top_k",
        cluster_loss: Weight = 0.0,
        divide_by_maximum: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = call_with(Backbone, backbone, "model.backbone")
        self.unfrozen_blocks, self.backbone_lr, self.fusion = unfrozen_blocks, backbone_lr, fusion
        self.token_lr = token_lr if token_lr is not None else TOKEN_LR.get(fusion, 1.0)
        self.top_k, self.anneal, self.cluster_loss = top_k, anneal, cluster_loss
        self.warmup_pooling, self.divide_by_maximum = warmup_pooling, divide_by_maximum
        clusters = sorted(sorted(cluster) for cluster in clusters)  # the order of a file means nothing
        self.has_tokens = len(clusters) > 0 and fusion != "classifier"
        self.has_cluster_loss = self.has_tokens and cluster_loss > 0
        if clusters:
            self._check_fusion(clusters, hv_bilstm, root=root, token_weights=token_weights)
        dim = self.backbone.dim
        self.hv_bilstm = None if hv_bilstm is None else HVBiLSTM(dim, hv_bilstm, dropout)
        out_dim = dim if self.hv_bilstm is None else self.hv_bilstm.out_dim
        self.dropout = nn.Dropout(dropout)
        reach_weights = clusters if not self.has_tokens or token_weights else []
        self.classifier = ClusteredClassifier(
            out_dim, len(classes) + 1, reach_weights, root=root, own=not self.has_tokens
        )
        if warmup_pooling == "average":
            nn.init.zeros_(self.classifier.weight)
        # Tokens are drawn last: without them, the rest of the network is the same.
        self.token_modules = nn.ModuleDict()
        if self.has_tokens:
            self.cluster_tokens = nn.Parameter(nn.init.trunc_normal_(torch.empty(len(clusters), dim), std=0.02))
            members = torch.zeros(len(clusters), len(classes))
            for token, cluster in enumerate(clusters):
                members[token, cluster] = 1
            self.register_buffer("members", members, persistent=False)
            refined_dim = out_dim if fusion == "sequence" else dim
            if fusion == "attention":
                self.token_modules["attention"] = CrossAttention(dim)
            if self.has_cluster_loss:
                self.token_modules["presence"] = nn.Linear(refined_dim, 1)
            if token_weights:
                self.token_modules["weights"] = projection = nn.Linear(refined_dim, out_dim, bias=False)
                nn.init.zeros_(projection.weight)

    def _check_fusion(
        self, clusters: Sequence[Sequence[int]], hv_bilstm: int | None, *, root: bool, token_weights: bool
    ) -> None:
        if self.fusion == "sequence" and hv_bilstm is None:
            raise InputError("model.fusion: sequence needs the HV-BiLSTM; set model.hv_bilstm, or fusion: attention")
        if self.fusion == "encoder" and not (self.backbone.is_vit and isinstance(self.unfrozen_blocks, int)):
            raise InputError(
                "model.fusion: encoder needs a ViT and a number of unfrozen_blocks; use sequence or attention"
            )
        if self.fusion == "classifier":
            for name, value in (("token_weights", token_weights), ("cluster_loss", self.cluster_loss)):
                if value:
                    raise InputError(
                        f"model.{name}: fusion: classifier has no tokens to refine; leave it out, "
                        "or use fusion: sequence, encoder or attention"
                    )
            if not root and max(map(len, clusters)) == 1:
                raise InputError(
                    "clusters: no effect, each has one member; set model.root: true, or use `clusters: none`"
                )
        elif not (token_weights or self.cluster_loss):
            raise InputError(
                f"clusters: no effect, fusion: {self.fusion} uses only their number; set model.token_weights: true, "
                "a model.cluster_loss above 0, or model.fusion: classifier"
            )

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """The head in ``warmup``, head and unfrozen blocks in other phases; with ``all``, everything in every phase."""
        backbone, added = set(map(id, self.backbone.parameters())), self._added_parameters()
        known = backbone | set(map(id, added))
        groups = [ParameterGroup([p for p in self.parameters() if id(p) not in known])]
        added = added if self._uses_tokens(phase) else self.classifier.shared_parameters()
        if added:
            groups.append(ParameterGroup(added, self.token_lr))
        if self._trains_encoder(phase):
            groups.append(ParameterGroup(self.backbone.last_blocks(self.unfrozen_blocks), self.backbone_lr))
        return groups

    def _added_parameters(self) -> list[nn.Parameter]:
        """What clusters add."""
        tokens = [self.cluster_tokens, *self.token_modules.parameters()] if self.has_tokens else []
        return [*self.classifier.shared_parameters(), *tokens]

    def map_parameters(self) -> list[nn.Parameter]:
        """The head, without the cluster loss's classifier."""
        presence = [*self.token_modules["presence"].parameters()] if self.has_cluster_loss else []
        excluded = set(map(id, presence))
        return [p for p in super().map_parameters() if id(p) not in excluded]

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Binary cross-entropy of pooled patch probabilities; background is always present (pcc.md §2)."""
        with_tokens = self._uses_tokens(phase)
        logits, refined = self._classify(*self._encode_with_tokens(batch, with_tokens=with_tokens))
        # Autocast does not support cross-entropy of probabilities; their logarithms need fp32.
        with torch.autocast(logits.device.type, enabled=False):
            if self._averages(phase):
                scores = logits[:, 1:].float().mean(dim=(2, 3))
                losses = {"classification": functional.binary_cross_entropy_with_logits(scores, batch.labels)}
            else:
                patches = logits.float().softmax(dim=1).flatten(2).transpose(1, 2)
                pooled = top_k_pool(patches, self._top_k_at(batch.progress, patches.shape[1]))
                labels = functional.pad(batch.labels, (1, 0), value=1.0)
                losses = {"classification": functional.binary_cross_entropy(pooled.clamp(0, 1), labels)}
            if self.has_cluster_loss and with_tokens:
                present = (batch.labels[:, None] * self.members).amax(dim=2)
                scores = self.token_modules["presence"](refined.float()).squeeze(2)
                losses["clusters"] = self.cluster_loss * functional.binary_cross_entropy_with_logits(scores, present)
        return losses

    def _averages(self, phase: str) -> bool:
        return phase == WARM_UP and self.warmup_pooling == "average"

    def _uses_tokens(self, phase: str) -> bool:
        return self.has_tokens and not self._averages(phase)

    def _top_k_at(self, progress: float | None, patches: int) -> int:
        """Linear from all patches to ``top_k`` over the first ``anneal`` of the phase."""
        k = resolve_k(self.top_k, patches)
        if progress is None or progress >= self.anneal:
            return k
        return round(patches + (k - patches) * progress / self.anneal)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self._encode_with_tokens(Batch(images, images.new_zeros(len(images), 0)))[0]

    def is_encoder_frozen(self, phase: str) -> bool:
        """Frozen blocks without cluster tokens among their inputs."""
        return not self._trains_encoder(phase) and not (self.has_tokens and self.fusion == "encoder")

    def _trains_encoder(self, phase: str) -> bool:
        return self.unfrozen_blocks == "all" or (phase != WARM_UP and self.unfrozen_blocks > 0)

    def patch_logits(self, batch: Batch) -> Float[Tensor, "B C h w"]:
        """Class logits of each patch, background first, from images or their features."""
        return self._classify(*self._encode_with_tokens(batch))[0]

    def raw_maps_and_features(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B D h w"]]:
        """Class probabilities of each patch, background first, and grid features."""
        features, tokens = self._encode_with_tokens(Batch(images, images.new_zeros(len(images), 0)))
        return self._classify(features, tokens)[0].softmax(dim=1), features

    def to_maps(self, raw_maps: Float[Tensor, "B C h w"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Label conditioning (pcc.md §4)."""
        return condition_on_labels(raw_maps, labels, self.divide_by_maximum)

    def _encode_with_tokens(
        self, batch: Batch, *, with_tokens: bool = True
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B m D"]]:
        """Grid features, and cluster tokens after the encoder; m is 0 without tokens."""
        given = batch.images if batch.features is None else batch.features
        assert given is not None
        with_tokens = with_tokens and self.has_tokens
        if with_tokens:
            tokens = self.cluster_tokens.expand(len(given), -1, -1)
        else:
            tokens = given.new_zeros(len(given), 0, self.backbone.dim)
        if batch.features is not None:
            return batch.features, tokens
        if with_tokens and self.fusion == "encoder":
            return self.backbone.forward_with_tokens(given, tokens, int(self.unfrozen_blocks))
        return self.backbone(given), tokens

    def _classify(
        self, features: Float[Tensor, "B D h w"], tokens: Float[Tensor, "B m D"]
    ) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B m E"]]:
        """Patch logits and refined cluster tokens."""
        with_tokens = tokens.shape[1] > 0
        if with_tokens and self.fusion == "attention":
            features, tokens = self.token_modules["attention"](features, tokens)
        if self.hv_bilstm is not None:
            in_sequence = tokens if self.fusion == "sequence" else tokens[:, :0]
            features, refined = self.hv_bilstm(features, in_sequence)
            tokens = refined if self.fusion == "sequence" else tokens
        shared = None
        if with_tokens and "weights" in self.token_modules:
            by_class = functional.pad(self.members.T, (0, 0, 1, 0))  # background is in no cluster
            shared = by_class @ self.token_modules["weights"](tokens)
        return self.classifier(self.dropout(features), shared), tokens
