"""Any net of timm that gives maps as a trunk (extra `timm`)."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.found import FoundTrunk, Survey, survey

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # timm's default
# What a net must be told to take images of any size; the first that it knows.
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
FILES = (".safetensors", ".pth", ".bin")


class TimmWeights(NamedTuple):
    """Weights that timm's loader fetches, or that a folder holds. file: without its ending."""

    file: str


class TimmTrunk(FoundTrunk):
    """A net of timm with `features_only`: a tap for the last map of each stride.

    name: one of `timm.list_models()`, e.g. `convnext_tiny`, or with the tag of its weights, as in
    `convnext_tiny.in12k_ft_in1k`. Raises ValueError if there is no such net, or if it has no maps.
    """

    def __init__(self, in_channels: int, name: str) -> None:
        found = _known(in_channels, _checked(name))
        super().__init__(found, partial(_features, in_channels, name))
        self.name, self.in_channels = name, in_channels
        settings = _settings(name)
        tag = f".{settings.tag}" if settings and settings.tag else ""
        known = settings is not None and settings.has_weights
        self.imagenet = TimmWeights(f"{name.split('.')[0]}{tag}") if known else None

    def load_published(self, folder: Path) -> None:
        """Load timm's weights from a file in this folder, else through timm's own loader.

        Raises WeightsError if there are none, naming the file to put there.
        """
        assert self.imagenet is not None
        paths = (folder / f"{self.imagenet.file}{ending}" for ending in FILES)
        path = next((path for path in paths if path.is_file()), None)
        settings = {"file": str(path)} if path else None
        places = [self.places[stride] for stride in self.taps]
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                random = _features(self.in_channels, self.name, places).state_dict()
                torch.manual_seed(0)
                loaded = _features(
                    self.in_channels, self.name, places,
                    pretrained=True, pretrained_cfg_overlay=settings, cache_dir=str(folder),
                ).state_dict()  # fmt: skip
        except Exception as error:  # timm and huggingface_hub raise many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(self._missing(folder, reason)) from None
        if same := [key for key, w in loaded.items() if w.ndim > 1 and torch.equal(w, random[key])]:
            # timm only warns if it finds no weights, and leaves them random.
            raise WeightsError(self._missing(folder, f"{same[0]} was not loaded"))
        self.trunk.load_state_dict(loaded)

    def _missing(self, folder: Path, reason: str) -> str:
        assert self.imagenet is not None
        return (
            f"{self.imagenet.file}{FILES[0]} is not in {folder}, and timm cannot load it "
            f"({reason}); put it there by hand, or use init=scratch"
        )


def mean_and_std(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the means and deviations of a net's input, in [0, 1]. Raises ValueError."""
    settings = _settings(_checked(name))
    return (settings.mean, settings.std) if settings else (IMAGENET_MEAN, IMAGENET_STD)


def _timm() -> ModuleType:
    """Import timm. Raises ValueError if it is not installed."""
    try:
        import timm
    except ImportError:
        raise ValueError(
            "backbone=timm needs the extra timm: pip install 'fcnexp[timm]'; torchvision's nets "
            "need nothing more: backbone=torchvision backbone.name=convnext_tiny"
        ) from None
    return timm


def _checked(name: str) -> str:
    """Return a name that timm knows. Raises ValueError."""
    timm = _timm()
    base = name.split(".")[0]
    if ":" in name or base not in timm.list_models():  # hf-hub: and local-dir: load files
        near = timm.list_models(f"*{base[:6]}*")[:8] or ["resnet50", "convnext_tiny"]
        raise ValueError(
            f"backbone.name={name}: timm has no such net; it has {', '.join(near)} ..."
        )
    return name


def _settings(name: str) -> Any:
    return _timm().get_pretrained_cfg(name, allow_unregistered=True)


@cache
def _known(in_channels: int, name: str) -> Survey:
    """Return what is found of a net's maps. Raises ValueError."""
    try:
        with torch.device("meta"):
            net = _features(in_channels, name, None)
        return survey(net, in_channels)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f"backbone.name={name}: no trunk for dense scores: {error}") from None


def _features(
    in_channels: int, name: str, places: Sequence[int] | None, **pretrained: Any
) -> nn.Module:
    """Return a net that gives some of its maps, or all, with random weights unless told else."""
    timm = _timm()
    given: dict[str, Any] = {"pretrained": False, "in_chans": in_channels} | pretrained
    if places is not None:
        given["out_indices"] = tuple(places)
    device = torch.get_default_device()
    for more in ANY_SIZE:
        try:
            net = timm.create_model(name, features_only=True, **given, **more)
            break
        except TypeError as error:
            if not any(key in str(error) for key in more):
                raise ValueError(f"timm gives no maps of it: {error}") from None
    return net.to(device)
