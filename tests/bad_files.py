"""Valid and invalid input files by kind and name: their bytes, and the expected outcome.

The outcome is what the reader returns (for images the shape and the first pixel), or, as text, a
pattern of the error message.
"""

import numpy as np
from fake_data import LABEL, animated, encoded, mat, palette_png, plain, png_bytes, sbd
from PIL import Image

from fcnexp import VOID

DAMAGED = "damaged or not an image .*; fetch it again"
HTML = b"<html><body>404 not found</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 255, (40, 50, 3), np.uint8))
TURNED = Image.Exif()
TURNED[0x0112] = 6  # stored rotated by 90 degrees
V73 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(384) + b"\x89HDF\r\n\x1a\n"
ZEROS = np.zeros((2, 3), np.uint8)
JPEG, PNG = encoded(NOISE, "JPEG"), encoded(NOISE, "PNG")
RED, BLACK = ((3, 2, 3), [255, 0, 0]), ((3, 2, 3), [0, 0, 0])
GREY = ((3, 2, 3), [90, 90, 90])


def deep_jpeg2000() -> bytes:
    """A colour image whose header says 16 bits per channel; Pillow writes only 8."""
    content = bytearray(plain("RGB", "black", "JPEG2000"))
    first = content.find(b"\xff\x4f\xff\x51") + 42
    for channel in range(3):
        content[first + 3 * channel] = 15
    return bytes(content)


IMAGES = {
    "empty": (b"", DAMAGED),
    "text": (b"a cat", DAMAGED),
    "web page instead": (HTML, DAMAGED),
    "git-lfs pointer": (LFS, DAMAGED),
    "zero bytes only": (bytes(4096), DAMAGED),
    "mat file": (mat(a=1), DAMAGED),
    "JPEG cut in its magic": (JPEG[:2], DAMAGED),
    "JPEG cut in its header": (JPEG[:100], DAMAGED),
    "JPEG cut in its tables": (JPEG[:400], DAMAGED),
    "JPEG cut in the middle": (JPEG[: len(JPEG) // 2], DAMAGED),
    "JPEG without its last byte": (JPEG[:-1], DAMAGED),
    "PNG cut in its magic": (PNG[:5], DAMAGED),
    "PNG cut in its header": (PNG[:20], DAMAGED),
    "PNG without pixels": (PNG[:41], DAMAGED),
    "PNG cut in the middle": (PNG[: len(PNG) // 2], DAMAGED),
    "PNG of width 0": (png_bytes([b"", b""], width=0, bits=8, kind=0), DAMAGED),
    "PNG that claims 3.6e9 pixels": (
        png_bytes([b""] * 60000, width=60000, bits=8, kind=0),
        "says that it has 3600 megapixels; .* may have 179",
    ),
    "PNG with fewer pixels than it claims": (
        png_bytes([b"\1\2\3"], width=99, bits=8, kind=0),
        DAMAGED,
    ),
    "16-bit grey": (encoded(np.full((2, 3), 900, np.uint16), "PNG"), "more than 8 bits .* save it"),
    "32-bit grey": (encoded(np.full((2, 3), 900, np.int32), "TIFF"), "more than 8 bits .*mode I"),
    "float grey": (encoded(np.full((2, 3), 0.5, np.float32), "TIFF"), "more than 8 bits .*mode F"),
    "16-bit RGB": (
        png_bytes([b"\xff\xff\0\0\0\1" * 3] * 2, width=3, bits=16, kind=2),
        "colour image with more than 8 bits .stored as RGB;16B.*; save it with 8 bits",
    ),
    "16-bit PPM": (b"P6 1 1 999\n" + bytes(6), "more than 8 bits .values up to 999"),
    "16-bit colour JPEG 2000": (deep_jpeg2000(), "more than 8 bits .16 bits per channel"),
    "JPEG 2000": (plain("RGB", "black", "JPEG2000"), BLACK),
    "PNG named jpg": (plain("RGB", "red"), RED),
    "PNG without its end mark": (plain("RGB", "red")[:-12], RED),
    "PNG with trailing bytes": (plain("RGB", "red") + b"more", RED),
    "1x1": (encoded(Image.new("RGB", (1, 1)), "JPEG"), ((3, 1, 1), [0, 0, 0])),
    "1 pixel high": (encoded(Image.new("RGB", (900, 1)), "JPEG"), ((3, 1, 900), [0, 0, 0])),
    "grey": (plain("L", 90, "JPEG"), GREY),
    "grey with alpha": (plain("LA", (90, 0)), GREY),
    "black and white": (plain("1", 1), ((3, 2, 3), [255, 255, 255])),
    "RGBA, transparent": (plain("RGBA", (255, 0, 0, 0)), RED),
    "CMYK": (plain("CMYK", (0, 255, 255, 0), "TIFF"), RED),
    "palette": (encoded(Image.new("RGB", (3, 2), "red").quantize(4), "PNG"), RED),
    "palette, transparent": (
        encoded(Image.new("RGB", (3, 2), "red").quantize(4), "PNG", transparency=b"\0"),
        RED,
    ),
    "EXIF orientation is not applied": (plain("RGB", "black", "JPEG", exif=TURNED), BLACK),
    "broken EXIF": (plain("RGB", "black", "JPEG", exif=b"Exif\0\0MM\0*\0\0"), BLACK),
    "animated GIF": (animated("GIF"), RED),
    "animated PNG": (animated("PNG"), RED),
    "TIFF of two pages": (animated("TIFF"), "TIFF of 2 pages, .*; save each page"),
    "progressive JPEG": (plain("RGB", "black", "JPEG", progressive=True), BLACK),
}
COLOURS = "labels must be palette or grey PNGs .* convert colours to indices first"
LABELS = {
    "empty": (b"", DAMAGED),
    "text": (b"cat", DAMAGED),
    "cut": (palette_png(RNG.integers(0, 20, (64, 64), np.uint8))[:-60], DAMAGED),
    "RGB": (plain("RGB", "red"), f"mode RGB; {COLOURS}"),
    "RGBA": (plain("RGBA", "red"), f"mode RGBA; {COLOURS}"),
    "grey with alpha": (plain("LA", (1, 255)), f"mode LA; {COLOURS}"),
    "16 bits": (encoded(ZEROS.astype(np.uint16), "PNG"), "mode I;16; labels .* 8-bit"),
    "1 bit": (plain("1", 1), "mode 1; labels .* 8-bit"),
    "grey of 2 bits": (png_bytes([b"\x40"], width=3, bits=2, kind=0), "2-bit grey is .*8-bit PNG"),
    "grey of 4 bits": (
        png_bytes([b"\x10\x10"], width=3, bits=4, kind=0),
        "4-bit grey .*8-bit PNG",
    ),
    "grey JPEG": (plain("L", 1, "JPEG"), "JPEG compression mixes .*; save the label as"),
    "grey WebP": (plain("RGB", 1, "WEBP"), "WEBP compression mixes"),
    "float TIFF": (encoded(ZEROS.astype(np.float32), "TIFF"), "mode F; labels"),
    "value 21": (palette_png(ZEROS + np.uint8(21)), "value 21 in 6 pixels; allowed are 0 to 20"),
    "value 254": (palette_png(ZEROS + np.uint8(254)), "value 254 in 6 pixels; .* 255 for void"),
    "many values": (
        palette_png(np.arange(18, 30, dtype=np.uint8)[None]),
        "value 21, 22, 23, 24, 25 in 9 pixels",
    ),
    "all void": (palette_png(ZEROS + np.uint8(VOID)), [[VOID] * 3] * 2),
    "grey": (encoded(LABEL, "PNG"), LABEL.tolist()),
    "palette of 4 bits": (palette_png(ZEROS + np.uint8(3), bits=4), [[3] * 3] * 2),
    "palette, transparent": (palette_png(LABEL, transparency=0), LABEL.tolist()),
    "TIFF named png": (encoded(LABEL, "TIFF"), LABEL.tolist()),
}
SBD_LABELS = {
    "empty": (b"", "not an SBD label, .*; fetch it again"),
    "text": (b"cat", "not an SBD label"),
    "web page instead": (HTML * 9, "not an SBD label"),
    "cut": (sbd(np.minimum(LABEL, 20))[:-20], "not an SBD label"),
    "no GTcls": (mat(GTinst=LABEL), "not an SBD label, .*no 'GTcls'"),
    "no Segmentation": (mat(GTcls={"Boundaries": LABEL}), "not an SBD label.*Segmentation"),
    "GTcls not a struct": (mat(GTcls=LABEL), "not an SBD label"),
    "MATLAB v7.3": (V73, "not an SBD label.*save it with -v7"),
    "float": (sbd(LABEL.astype(float)), "is float64 .* not uint8 .*; save indices as uint8"),
    "int16": (sbd(LABEL.astype(np.int16)), "is int16"),
    "text in it": (sbd("cat"), "Segmentation is <U3"),
    "3-D": (sbd(np.zeros((2, 3, 2), np.uint8)), r"is uint8 \(2, 3, 2\), not uint8 \(height"),
    "with void": (sbd(LABEL), LABEL.tolist()),
    "trailing bytes": (sbd(LABEL) + bytes(8), LABEL.tolist()),
}
ONES = np.ones((2, 3))
NYUD_LABELS = {
    "empty": (b"", "not an NYUD label, .*; fetch it again"),
    "text": (b"wall", "not an NYUD label"),
    "cut": (mat(segmentation=ONES)[:-20], "not an NYUD label"),
    "no segmentation": (mat(labels=ONES), "not an NYUD label, .*no 'segmentation'.*fetch it again"),
    "MATLAB v7.3": (V73, "not an NYUD label.*save it with -v7"),
    "3-D": (mat(segmentation=np.ones((2, 3, 2))), r"float64 \(2, 3, 2\), not numbers \(height"),
    "complex": (mat(segmentation=ONES * 1j), "complex128"),
    "value 41": (mat(segmentation=ONES * 41), "value 41.* in 6 pixels; allowed are 1 to 40"),
    "value -1": (mat(segmentation=-ONES), "value -1.* in 6 pixels"),
    "value 1.5": (mat(segmentation=1.5 * ONES), "value 1.5 in 6 pixels"),
    "NaN": (mat(segmentation=np.nan * ONES), "value nan in 6 pixels"),
    "float": (mat(segmentation=40 * ONES), [[39] * 3] * 2),
    "all void": (mat(segmentation=0 * ONES), [[VOID] * 3] * 2),
}
LISTS = {
    "empty": (b"", "the list is empty; list one image id per line"),
    "blank lines only": (b"\n \r\n\t\n", "the list is empty"),
    "BOM only": (b"\xef\xbb\xbf", "the list is empty"),
    "image": (PNG, "not a UTF-8 text file; list one image id per line"),
    "zero bytes": (b"a\0b\0", "not a UTF-8 text file"),
    "UTF-16": ("a\nb\n".encode("utf-16"), ["a", "b"]),
    "UTF-16 without its mark": ("a\nb\n".encode("utf-16-le"), "not a UTF-8 text file"),
    "Latin-1": ("straße\n".encode("latin-1"), "not a UTF-8 text file"),
    "id that is the parent folder": (b"a\n..\n", r"\.\. is not a file name"),
    "listed twice": (b"a\nb\na\n", "a is listed twice; remove one"),
    "id with folder": (b"a\nJPEGImages/b\n", "JPEGImages/b has a folder; list image ids"),
    "id with folder above": (b"../a\n", r"\.\./a has a folder"),
    "id with Windows folder": (b"images\\a\n", r"images\\a has a folder"),
    "CRLF": (b"a\r\nb\r\n", ["a", "b"]),
    "old Mac line ends": (b"a\rb\r", ["a", "b"]),
    "BOM": (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
    "blank lines between": (b"\na\n\n  b  \n\n", ["a", "b"]),
    "no last line end": (b"a\nb", ["a", "b"]),
    "second column": (b"a 1\nb -1\n", ["a", "b"]),
    "UTF-8": ("straße\n".encode(), ["straße"]),
}
DEPTH16 = np.array([[0, 1, 65535], [900, 901, 902]], np.uint16)
DEPTHS = {
    "empty": (b"", DAMAGED),
    "cut": (encoded(RNG.integers(0, 9999, (64, 64), np.uint16), "PNG")[:-60], DAMAGED),
    "8 bits": (plain("L", 90), "mode L; save depth as a 16-bit grey PNG of millimetres"),
    "RGB": (plain("RGB", "red"), "mode RGB; save depth as a 16-bit grey PNG"),
    "float metres": (encoded(ONES.astype(np.float32), "TIFF"), "mode F; save depth as a 16-bit"),
    "all missing": (encoded(0 * DEPTH16, "PNG"), [[[0] * 3] * 2]),
    "full range": (encoded(DEPTH16, "PNG"), [DEPTH16.tolist()]),
}
HHAS = {
    "empty": (b"", DAMAGED),
    "cut": (PNG[: len(PNG) // 2], DAMAGED),
    "grey": (plain("L", 90), "mode L; save HHA as an RGB PNG of disparity, height and angle"),
    "RGBA": (plain("RGBA", "red"), "mode RGBA; save HHA as an RGB PNG"),
    "palette": (palette_png(LABEL), "mode P; save HHA as an RGB PNG"),
    "as stored": (plain("RGB", (1, 2, 3)), ((3, 2, 3), [1, 2, 3])),
}
