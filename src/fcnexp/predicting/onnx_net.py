"""Nets that `export` wrote, run by onnxruntime in place of a checkpoint's net."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcnexp.errors import ConfigError, DataError, ExportError, WeightsError
from fcnexp.nn.bands import Bands
from fcnexp.nn.dense.tiling import Tiling
from fcnexp.scoring.tasks import Task, is_name, tasks_of
from fcnexp.system.os_errors import reraise_system_error

MORE = 1.1  # margin; onnxruntime took 0.73 to 0.86 of the memory stored in the file, torch's
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxNet:
    """The net of an ONNX file; a `Labeller`.

    path: a file of `python -m fcnexp.export`; device: `cpu` or `cuda`.
    class_names: in the order of the scores. fields: names of its inputs. facts: the file's
    metadata. Raises ExportError if onnxruntime is not installed, ConfigError if it does not support
    the device, WeightsError if the file is missing, damaged or not written by fcnexp.
    """

    def __init__(self, path: str | Path, device: str) -> None:
        if find_spec("onnxruntime") is None:
            raise ExportError(
                f"onnx={path}: onnxruntime is not installed; pip install -e '.[export]'"
            )
        import onnxruntime

        if PROVIDERS[device] not in onnxruntime.get_available_providers():
            raise ConfigError(
                f"device={device}: the installed onnxruntime has no {PROVIDERS[device]}; pip "
                "install onnxruntime-gpu instead of onnxruntime, or set device=cpu"
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
            reraise_system_error(error)
            first = str(error).splitlines()[0]
            raise WeightsError(f"onnx={path}: onnxruntime cannot read it ({first})") from None
        self.facts: dict[str, Any] = _facts_in(self.session, path)
        self.class_names = tuple(self.facts["class_names"])
        self.fields = tuple(self.facts["takes"])
        self.bands: Bands | None = self.facts["bands"]
        self.least_side: int = self.facts["least_side"]
        self.outputs = [one.name for one in self.session.get_outputs()]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the net labels."""
        return tasks_of(self.class_names, self.facts["outputs"])

    @property
    def tiling(self) -> Tiling | None:
        """Grid that windows must be aligned to."""
        tiling = self.facts["tiling"]
        return tiling and Tiling(**tiling)

    @property
    def device(self) -> torch.device:
        """Device of images and scores; onnxruntime copies them to its own device and back."""
        return torch.device("cpu")

    def scores(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Return scores float32 (K, H, W) of fields as stored, each (C, H, W).

        Raises DataError if they are too small.
        """
        height, width = fields[self.fields[0]].shape[-2:]
        if min(height, width) < self.least_side:
            raise DataError(
                f"{width}x{height} pixels: this net's ONNX file needs {self.least_side} or more "
                "along each axis; predict checkpoint=... takes images of any size"
            )
        arrays = {name: np.ascontiguousarray(fields[name][None].numpy()) for name in self.fields}
        names = [name for name in self.outputs if name.startswith("scores")]
        maps = [torch.from_numpy(found[0]) for found in self.session.run(names, arrays)]
        return maps[0] if len(maps) == 1 else torch.cat(maps)

    def bytes_of(self, height: int, width: int) -> int:
        """Return the most bytes that scoring a window of this size takes."""
        memory = self.facts["memory"]
        maps = memory["per_side"] * (height + width) + memory["per_pixel"] * height * width
        return int(MORE * (memory["fixed"] + maps))


def _options() -> Any:
    """Session options that keep no memory between images, as free memory sizes the next window."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return options


def _facts_in(session: Any, path: str | Path) -> dict[str, Any]:
    """Read the metadata that `export` wrote. Raises WeightsError if it is incomplete."""
    try:
        facts = json.loads(session.get_modelmeta().custom_metadata_map["fcnexp"])
        names = list(facts["class_names"])
        outputs = {str(name): int(count) for name, count in dict(facts["outputs"]).items()}
        if not all(map(is_name, outputs)) or sum(outputs.values()) != len(names):
            raise ValueError("outputs")
        known = dict(facts["takes"]).keys() & {"bands"} and facts["recipe"]["fields"]["bands"]
        return {
            **facts,
            "bands": Bands(**known) if known else None,
            "class_names": names,
            "outputs": outputs,
            "takes": dict(facts["takes"]),
            "least_side": int(facts["least_side"]),
        }
    except (KeyError, TypeError, ValueError):
        raise WeightsError(
            f"onnx={path}: not an ONNX file of fcnexp: it does not describe its inputs; python -m "
            "fcnexp.export checkpoint=... writes one that does"
        ) from None
