"""A net that `export` wrote, run by onnxruntime: it labels images as a checkpoint's net does."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcnexp.errors import ConfigError, DataError, ExportError, WeightsError
from fcnexp.nn.dense.tiling import Tiling
from fcnexp.system.os_errors import let_through

MORE = 1.1  # onnxruntime was seen to take 0.73 to 0.86 of what is told for torch
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxNet:
    """The net of an ONNX file; a `Labeller`.

    path: a file of `python -m fcnexp.export`; device: `cpu` or `cuda`.
    class_names: in the order of the scores. fields: names of what it takes. facts: all that the
    file tells of its net. Raises ExportError where onnxruntime is not installed, ConfigError where
    it has no such device, WeightsError where the file is missing, damaged or not one of ours.
    """

    def __init__(self, path: str | Path, device: str) -> None:
        if find_spec("onnxruntime") is None:
            raise ExportError(
                f"onnx={path}: onnxruntime is not installed; pip install -e '.[export]'"
            )
        import onnxruntime

        if PROVIDERS[device] not in onnxruntime.get_available_providers():
            raise ConfigError(
                f"device={device}: this onnxruntime has no {PROVIDERS[device]}; pip install "
                "onnxruntime-gpu instead of onnxruntime, or device=cpu"
            )
        file = Path(path).expanduser()
        if not file.is_file():
            raise WeightsError(
                f"onnx={path}: no such file; python -m fcnexp.export checkpoint=... writes one"
            )
        try:
            self.session = onnxruntime.InferenceSession(
                str(file), _options(), providers=[PROVIDERS[device]]
            )
        except Exception as error:  # onnxruntime raises many types
            let_through(error)
            first = str(error).splitlines()[0]
            raise WeightsError(f"onnx={path}: onnxruntime cannot read it ({first})") from None
        self.facts: dict[str, Any] = _facts_in(self.session, path)
        self.class_names = tuple(self.facts["class_names"])
        self.fields = tuple(self.facts["takes"])
        self.least_side: int = self.facts["least_side"]

    @property
    def tiling(self) -> Tiling | None:
        """Where windows may lie."""
        told = self.facts["tiling"]
        return told and Tiling(**told)

    @property
    def device(self) -> torch.device:
        """Where images and scores are: onnxruntime brings them to its own device and back."""
        return torch.device("cpu")

    def scores(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Scores float32 (K, H, W) of fields as stored, each (C, H, W).

        Raises DataError where they are too small.
        """
        height, width = fields[self.fields[0]].shape[-2:]
        if min(height, width) < self.least_side:
            raise DataError(
                f"{width}x{height} pixels: this net's ONNX file takes {self.least_side} and more "
                "along each axis; predict checkpoint=... takes any"
            )
        arrays = {name: np.ascontiguousarray(fields[name][None].numpy()) for name in self.fields}
        return torch.from_numpy(self.session.run(["scores"], arrays)[0][0])

    def bytes_of(self, height: int, width: int) -> int:
        """Memory that scoring a window of this size takes at most."""
        memory = self.facts["memory"]
        maps = memory["per_side"] * (height + width) + memory["per_pixel"] * height * width
        return int(MORE * (memory["fixed"] + maps))


def _options() -> Any:
    """No memory is kept from one image to the next: what is free decides on the next window."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return options


def _facts_in(session: Any, path: str | Path) -> dict[str, Any]:
    """What `export` wrote beside the graph. Raises WeightsError."""
    try:
        facts = json.loads(session.get_modelmeta().custom_metadata_map["fcnexp"])
        return {
            **facts,
            "class_names": list(facts["class_names"]),
            "takes": dict(facts["takes"]),
            "least_side": int(facts["least_side"]),
        }
    except (KeyError, TypeError, ValueError):
        raise WeightsError(
            f"onnx={path}: an ONNX file, but not of fcnexp: it does not say what it takes; python "
            "-m fcnexp.export checkpoint=... writes one that does"
        ) from None
