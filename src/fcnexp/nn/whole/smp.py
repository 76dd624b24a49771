"""Decoders of segmentation_models.pytorch on any of its encoders (extra `smp`)."""

import logging
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.errors import WeightsError
from fcnexp.nn.dense.upsampling import full_precision
from fcnexp.nn.layers import widen
from fcnexp.nn.whole.parts import Decoder, Encoder, WholeNet, first_convolution, with_channels

log = logging.getLogger(__name__)

# Ours and the library's.
NAMES = (("backbone.trunk.", "encoder."), ("head.", ""))
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of modality=rgb_torchvision
TIMM = "tu-"  # begins the names of encoders that are timm's


class HubWeights(NamedTuple):
    """Weights that a folder holds, or that the library's own loader fetches."""

    file: str


class SmpEncoder(Encoder):
    """An encoder of the library. name: as the library has it, such as `resnet34`."""

    def __init__(self, trunk: nn.Module, name: str) -> None:
        super().__init__(trunk)
        self.name = name
        known = _smp().encoders.encoders
        published = name.startswith(TIMM) or "imagenet" in known[name]["pretrained_settings"]
        self.imagenet = HubWeights(f"{name}.imagenet.safetensors") if published else None

    def load_published(self, folder: Path) -> None:
        """Load ImageNet weights from a file in this folder, else through the library's loader.

        The first layer is widened if need be. Raises WeightsError if there are none, naming the
        file to put there.
        """
        assert self.imagenet is not None
        path, encoders = folder / self.imagenet.file, _smp().encoders
        own = self.trunk.state_dict()
        try:
            if path.is_file():
                from safetensors.torch import load_file

                weights = load_file(path)
            else:
                kind: Any = True if self.name.startswith(TIMM) else "imagenet"
                weights = encoders.get_encoder(self.name, 3, weights=kind).state_dict()
                self._compare_input(encoders.get_preprocessing_params(self.name))
            if missing := [name for name in own if name not in weights]:
                raise ValueError(f"{missing[0]} is not in it")
        except Exception as error:  # huggingface_hub, safetensors and timm raise many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(
                f"{self.imagenet.file} is not in {folder}, or does not fit, and "
                f"segmentation_models.pytorch cannot load it ({reason}); put it there by hand, or "
                "use init=scratch"
            ) from None
        if (found := first_convolution(self.trunk)) is not None:
            first, layer = f"{found[0]}.weight", found[1]
            filters = weights[first].float().numpy()
            weights[first] = torch.from_numpy(widen(filters, layer.in_channels))
        self.trunk.load_state_dict({name: weights[name] for name in own})

    def _compare_input(self, settings: dict[str, Any]) -> None:
        """Log the input that the weights were trained with if the modality's is another."""
        scale = settings["input_range"][-1]
        mean, std = ([n / scale for n in settings[key]] for key in ("mean", "std"))
        if (mean, std, settings["input_space"]) != (MEAN, STD, "RGB"):
            log.warning(
                "encoder %s was trained on %s with mean %s and deviation %s of [0, 1]; set them "
                "by modality.rgb.order, modality.rgb.mean and modality.rgb.std, times 255",
                *(self.name, settings["input_space"], mean, std),
            )


class SmpNet(WholeNet):
    """A net of segmentation_models.pytorch, with the scores of its own code for the same weights.

    Images are padded with zeros, the mean colour, at their lower right to a multiple of the
    encoder's stride, which the library requires, and scores are cropped to the image.
    arch: name of its class, such as `Unet`. encoder: name of an encoder, such as `resnet34`, or of
    timm's nets after `tu-`. Raises ValueError.
    """

    def __init__(self, in_channels: int, num_classes: int, *, arch: str, encoder: str) -> None:
        _check_run(arch, encoder)
        net = _built(arch, encoder, num_classes)
        try:
            if in_channels != 3:
                with_channels(net.encoder, in_channels)
        except ValueError as error:
            raise ValueError(
                f"encoder={encoder}: {error}; choose modality=rgb_torchvision"
            ) from None
        parts = {"decoder": net.decoder, "segmentation_head": net.segmentation_head}
        scoring = {"score_fr": "segmentation_head.0"}
        super().__init__(SmpEncoder(net.encoder, encoder), Decoder(parts), scoring, NAMES)
        self.multiple: int = net.encoder.output_stride

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, H, W) of an image (N, C, H, W)."""
        height, width = image.shape[-2:]
        down, across = (-side % self.multiple for side in (height, width))
        features = self.backbone(F.pad(image, (0, across, 0, down)))
        maps = self.head.get_submodule("decoder")(features)
        first, *others = self.head.get_submodule("segmentation_head").children()
        scores = first(maps)
        with full_precision(scores):
            scores = scores if scores.dtype == torch.float64 else scores.float()
            for layer in others:  # upsampling by a whole factor
                scores = layer(scores)
        return scores[..., :height, :width]


def _smp() -> ModuleType:
    """Import segmentation_models.pytorch. Raises ValueError if it is not installed."""
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        raise ValueError(
            "model=smp needs the extra smp: pip install 'fcnexp[smp]'; torchvision's nets need "
            "nothing more: model=deeplabv3_resnet50"
        ) from None
    return smp


def _built(arch: str, encoder: str, num_classes: int) -> Any:
    """Return a net of the library with random weights. Raises ValueError on an unknown name."""
    smp = _smp()
    kinds = {
        kind.__name__: kind
        for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()
        if kind.forward is smp.base.SegmentationModel.forward  # encoder, decoder, head in turn
    }
    if arch not in kinds:
        raise ValueError(f"arch={arch}: allowed are {', '.join(kinds)}")
    names = smp.encoders.get_encoder_names()
    if encoder not in names and not encoder.startswith(TIMM):
        raise ValueError(
            f"encoder={encoder}: allowed are {', '.join(names)}, and any net of timm that gives "
            "maps, as tu-NAME"
        )
    device = torch.get_default_device()
    try:
        with torch.device("cpu"):  # some encoders read values while they are built
            net = kinds[arch](encoder_name=encoder, encoder_weights=None, classes=num_classes)
        return net.to(device)
    except Exception as error:  # each encoder and decoder raises its own kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"arch={arch}, encoder={encoder}: do not go together ({reason}); try encoder=resnet34"
        ) from None


@cache
def _check_run(arch: str, encoder: str) -> None:
    """Raise ValueError if a net does not score every pixel of images of any size."""
    with torch.device("meta"):
        net = _built(arch, encoder, 2).eval()
        stride = net.encoder.output_stride
        for size in ((stride, stride), (2 * stride, 3 * stride)):
            try:
                found = str(tuple(net(torch.zeros(1, 3, *size)).shape))
            except Exception as error:  # as in _built
                found = " ".join(str(error).split()) or type(error).__name__
            if found != str((1, 2, *size)):
                raise ValueError(
                    f"arch={arch}, encoder={encoder}: no scores for images of {size[0]}x{size[1]} "
                    f"({found}); try encoder=resnet34"
                )
