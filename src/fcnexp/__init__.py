"""fcnexp: replay and extend Fully Convolutional Networks for Semantic Segmentation."""

__version__ = "0.1.0"
VOID = 255  # label that is not a class: neither trained on nor scored
WIDE_VOID = -1  # the same in int16 labels, which more than 255 classes need
MOST_CLASSES = 10_000  # a confusion matrix of 0.8 GB
IMAGE_SUFFIXES = (  # read from folders of images
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".jp2", ".j2k", ".avif", ".tga", ".ppm", ".pgm", ".pnm"),
)


def label_type(classes: int) -> str:
    """Name of the integer type of labels: uint8 up to 255 classes, as 255 is void, else int16."""
    return "uint8" if classes <= VOID else "int16"


def void_of(label: object) -> int:
    """Value of void in a label map, an array or tensor: WIDE_VOID in int16, otherwise VOID."""
    return WIDE_VOID if label.dtype.itemsize == 2 else VOID  # type: ignore[attr-defined]
