"""fcnexp: replay and extend Fully Convolutional Networks for Semantic Segmentation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` imports on first use, for type checkers
    from fcnexp.build import network
    from fcnexp.data.collate import Batch
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.errors import ConfigError, DataError, UserError, WeightsError
    from fcnexp.library.labelling import TrainedNet, load
    from fcnexp.library.parts import data_module, input_recipe
    from fcnexp.library.runs import RunRecord, write_report
    from fcnexp.nn.inputs import InputRecipe
    from fcnexp.nn.streams import Network
    from fcnexp.task.four_scores import class_iu
    from fcnexp.task.scores import SegmentationScores

__version__ = "0.1.0"
VOID = 255  # label that is not a class: neither trained on nor scored
WIDE_VOID = -1  # the same in int16 labels, which more than 255 classes need
MOST_CLASSES = 10_000  # a confusion matrix of 0.8 GB
IMAGE_SUFFIXES = (  # read from folders of images
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".jp2", ".j2k", ".avif", ".tga", ".ppm", ".pgm", ".pnm"),
)

__all__ = [
    "VOID",
    "Batch",
    "ConfigError",
    "DataError",
    "InputRecipe",
    "Network",
    "RunRecord",
    "SegmentationData",
    "SegmentationScores",
    "TrainedNet",
    "UserError",
    "WeightsError",
    "__version__",
    "class_iu",
    "data_module",
    "input_recipe",
    "load",
    "network",
    "write_report",
]


def label_type(classes: int) -> str:
    """Name of the integer type of labels: uint8 up to 255 classes, as 255 is void, else int16."""
    return "uint8" if classes <= VOID else "int16"


def void_of(label: object) -> int:
    """Value of void in a label map, an array or tensor: WIDE_VOID in int16, otherwise VOID."""
    return WIDE_VOID if label.dtype.itemsize == 2 else VOID  # type: ignore[attr-defined]


if not TYPE_CHECKING:  # a type checker would take every name for one of the module's
    _HOMES = {
        **dict.fromkeys(("ConfigError", "DataError", "UserError", "WeightsError"), "errors"),
        **dict.fromkeys(("TrainedNet", "load"), "library.labelling"),
        **dict.fromkeys(("data_module", "input_recipe"), "library.parts"),
        **dict.fromkeys(("RunRecord", "write_report"), "library.runs"),
        "Batch": "data.collate",
        "InputRecipe": "nn.inputs",
        "Network": "nn.streams",
        "SegmentationData": "data.datamodule",
        "SegmentationScores": "task.scores",
        "class_iu": "task.four_scores",
        "network": "build",
    }

    def __getattr__(name):  # noqa: ANN001, ANN202
        """Import a public name on first use: torch takes seconds, which `--help` must not cost."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__():  # noqa: ANN202
        """Return the public names, also those not imported yet."""
        return sorted({*globals(), *__all__})
