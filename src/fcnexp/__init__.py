"""fcnexp: replay and extend Fully Convolutional Networks for Semantic Segmentation."""

__version__ = "0.1.0"
VOID = 255  # label that is not a class: neither trained on nor scored
IMAGE_SUFFIXES = (  # read from folders of images
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".jp2", ".j2k", ".avif", ".tga", ".ppm", ".pgm", ".pnm"),
)
