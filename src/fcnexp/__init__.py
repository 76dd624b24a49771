"""fcnexp: replay and extend Fully Convolutional Networks for Semantic Segmentation."""

__version__ = "0.1.0"
