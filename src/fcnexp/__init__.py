"""fcnexp: replay and extend Fully Convolutional Networks for Semantic Segmentation."""

__version__ = "0.1.0"
VOID = 255  # label that is not a class: neither trained on nor scored
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
