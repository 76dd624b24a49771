"""torchvision's segmentation nets: FCN on ResNet, DeepLabV3, LR-ASPP."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from fcnexp.nn.backbones.torchvision import file_of, published
from fcnexp.nn.layers import widen
from fcnexp.nn.whole.parts import (
    Decoder,
    Encoder,
    WholeNet,
    first_convolution,
    resized,
    with_channels,
)

LRASPP = "lraspp_mobilenet_v3_large"
NAMES = (("backbone.trunk.", "backbone."), ("head.", ""))  # ours and torchvision's


class TorchvisionEncoder(Encoder):
    """The backbone of a segmentation net. classifier: the one whose layers it has."""

    def __init__(self, trunk: nn.Module, classifier: str) -> None:
        super().__init__(trunk)
        # IMAGENET1K_V1, as in torchvision's own training
        self.imagenet = file_of(published(classifier))

    def load_published(self, path: Path) -> None:
        """Load torchvision's weights of the classifier, the first layer widened if need be.

        Raises RuntimeError if they are from a different net.
        """
        weights = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name.removeprefix("features."): value for name, value in weights.items()}
        found = first_convolution(self.trunk)
        assert found is not None
        first, layer = f"{found[0]}.weight", found[1]
        weights[first] = torch.from_numpy(widen(weights[first].numpy(), layer.in_channels))
        own = self.trunk.state_dict()
        self.trunk.load_state_dict({name: weights[name] for name in own if name in weights})


class TorchvisionNet(WholeNet):
    """A segmentation net of torchvision, with the scores of its own code for the same weights.

    name: one of `torchvision.models.list_models(torchvision.models.segmentation)`. aux: weight of
    the loss of the auxiliary head, which scores the last map but one in training only; 0 builds the
    net without it. Raises ValueError.
    """

    def __init__(self, in_channels: int, num_classes: int, *, name: str, aux: float) -> None:
        known = torchvision.models.list_models(torchvision.models.segmentation)
        if name not in known:
            raise ValueError(f"name={name}: torchvision has {', '.join(known)}")
        if type(aux) not in (int, float) or not 0 <= aux < float("inf"):
            raise ValueError(f"aux={aux}: must be the weight of a loss, 0 or more, such as 0.5")
        if aux and name == LRASPP:
            raise ValueError(f"aux={aux:g}: {name} has no auxiliary head; set aux=0")
        more = {} if name == LRASPP else {"aux_loss": aux > 0}
        net = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=num_classes, **more
        )
        with_channels(net.backbone, in_channels)
        head, scoring = {"classifier": net.classifier}, {"score_fr": "classifier.4"}
        if name == LRASPP:
            scoring = {f"score_{n}": f"classifier.{n}_classifier" for n in ("high", "low")}
        if aux:
            head["aux_classifier"] = net.aux_classifier
            scoring["score_aux"] = "aux_classifier.4"
        classifier = name.partition("_")[2]  # deeplabv3_resnet50 is built on resnet50
        super().__init__(
            TorchvisionEncoder(net.backbone, classifier), Decoder(head), scoring, NAMES
        )
        self.aux, self.takes_all = aux, name == LRASPP

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, H, W) of an image (N, C, H, W)."""
        size = image.shape[-2:]
        maps = self.backbone(image)
        features = maps if self.takes_all else maps["out"]
        scores = resized(self.head.get_submodule("classifier")(features), size)
        self.side = []
        if self.aux and self.training:
            side = self.head.get_submodule("aux_classifier")(maps["aux"])
            self.side = [(self.aux, resized(side, size))]
        return scores
