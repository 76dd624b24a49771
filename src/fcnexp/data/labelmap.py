"""Class names of custom data: classes.yaml, or the file of an annotation tool."""

from pathlib import Path

from fcnexp.data.lists import read_lines
from fcnexp.data.palette import ClassesFile, classes_of, read_classes
from fcnexp.errors import DataError

OWN, CVAT, ROBOFLOW = "classes.yaml", "labelmap.txt", "_classes.csv"
PLAIN = ("class_names.txt", "classes.txt")  # of labelme2voc, and of Label Studio and others
_IGNORED = ("void", "ignore", "ignored", "__ignore__")  # as labelled pixels that count for nothing


def classes_file(folder: Path) -> Path:
    """Return the file in a folder that names the classes: classes.yaml unless it is missing."""
    for name in (OWN, "classes.yml", CVAT, *PLAIN, f"train/{ROBOFLOW}", ROBOFLOW):
        if (folder / name).is_file():
            return folder / name
    return folder / OWN


def read_class_file(path: Path) -> ClassesFile:
    """Classes of classes.yaml, CVAT's labelmap.txt, Roboflow's _classes.csv, or a list of names.

    Raises DataError saying what to write.
    """
    if path.name == CVAT:
        return _of_labelmap(path)
    if path.name == ROBOFLOW:
        return _of_table(path)
    if path.name in PLAIN:
        names = read_lines(path, "list one class per line")
        return classes_of({"classes": [name for name in names if name not in _IGNORED]}, path)
    return read_classes(path)


def _of_labelmap(path: Path) -> ClassesFile:
    """Classes of `name:red,green,blue:parts:actions`, one per line."""
    colours: dict[str, list[int]] = {}
    for line in read_lines(path, "list name:red,green,blue:: for each class"):
        if line.startswith("#"):
            continue
        name, *rest = [part.strip() for part in line.rsplit(":", 3)]
        try:
            colours[name] = [int(value) for value in rest[0].split(",")]
        except (IndexError, ValueError):
            raise DataError(f"{path}: {line}: write name:red,green,blue:: for each class") from None
    names = [name for name in colours if name not in _IGNORED]
    for name in colours.keys() & _IGNORED:
        colours["void"] = colours.pop(name)
    return classes_of({"classes": names, "colours": colours}, path)


def _of_table(path: Path) -> ClassesFile:
    """Classes of the lines `value, class`, below a header."""
    values: dict[str, int] = {}
    for line in read_lines(path, "list value,class for each class")[1:]:
        value, _, name = (part.strip() for part in line.partition(","))
        if not value.isdigit() or not name:
            raise DataError(f"{path}: {line}: write value,class for each class, below a header")
        values[name] = int(value)
    names = [name for name in values if name not in _IGNORED]
    void = [value for name, value in values.items() if name in _IGNORED]
    kept = {name: values[name] for name in names}
    return classes_of({"classes": names, "values": kept, "void": void}, path)
