"""Published figures, each with its source (reference/PAPER.yaml tells where it was read)."""

from typing import NamedTuple


class NetFacts(NamedTuple):
    """A row of table 1 (CVPR 2015): what the paper says of a net."""

    conv_layers: int
    parameters: float  # millions
    field: int  # receptive field, pixels
    stride: int  # greatest
    note: str = ""


TABLE1 = {
    "AlexNet": NetFacts(8, 57, 355, 32),
    "VGG16": NetFacts(16, 134, 404, 32),
    "GoogLeNet": NetFacts(
        22,
        6,
        907,
        32,
        "907 = 715 + 6 * 32: with the classifier's 7x7 average pooling, which sec. 4.1 discards",
    ),
}

# Mean IU (%) of truth shrunk by a factor and enlarged again. Source: arXiv v2, appendix A.
UPPER_BOUNDS = {128: 50.9, 64: 73.3, 32: 86.1, 16: 92.8, 8: 96.4, 4: 98.5}
