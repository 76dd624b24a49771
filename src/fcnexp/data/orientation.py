"""EXIF orientation: whether the mask of a photograph was drawn on the stored or the turned one.

Cameras store what the sensor saw, with a note of how to turn it. Viewers and most annotation tools
turn it; others draw on the pixels as stored, and some programs that make images smaller keep the
note although they have turned the pixels.
"""

from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from fcnexp.errors import DataError
from fcnexp.system.os_errors import reraise_system_error

_BACK = {  # what undoes each orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_SIDEWAYS = (5, 6, 7, 8)  # height and width change places


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of an open image, not decoded yet, 1 to 8; 1 if it has no readable note."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # Pillow raises many types on broken notes
        reraise_system_error(error)
        return 1
    return found if found in _BACK else 1


def orient(image: Image.Image, *, upright: bool) -> Image.Image:
    """Decode an open image, turned as its note says or as stored."""
    turned = image.format == "TIFF"  # Pillow turns these, and no others, as it decodes them
    orientation = 1 if turned == upright else orientation_of(image)
    image.load()
    if orientation == 1:
        return image
    if turned:
        return image.transpose(_BACK[orientation])
    ImageOps.exif_transpose(image, in_place=True)
    return image


def drawn_upright(
    image: Image.Image, path: Path, drawn: tuple[int, int], told: bool | None
) -> bool:
    """Whether the mask of an open image was drawn on the turned image.

    drawn: height and width of the mask. told: what `data.upright` says, used if sizes cannot tell.
    Raises DataError if nothing tells.
    """
    orientation = orientation_of(image)
    sizes_tell = orientation in _SIDEWAYS and image.width != image.height
    if orientation == 1:
        return False
    if sizes_tell:
        turned = image.format == "TIFF"  # Pillow gives the size after turning
        own = (image.height, image.width)
        return drawn == (own if turned else own[::-1])
    if told is None:
        raise DataError(untold(path, orientation))
    return told


def untold(path: Path, orientation: int) -> str:
    """Message for an image whose note matters, if neither sizes nor `data.upright` tell."""
    return (
        f"{path}: stored turned (EXIF orientation {orientation}), and the size of its mask does not"
        " tell if the mask was drawn on the turned image; look at both, then set data.upright=true "
        "if it was, as by most annotation tools, or data.upright=false if the mask fits the pixels "
        "as stored"
    )


def telling_nothing(image: Image.Image) -> int:
    """Orientation of an open image if its note matters and no size can explain it; else 1.

    Reads the header alone: a PNG whose note stands after its pixels is judged when it is read.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    orientation = orientation_of(image)
    sizes_tell = orientation in _SIDEWAYS and image.width != image.height
    return 1 if sizes_tell else orientation
