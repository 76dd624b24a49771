"""`prepare check` of custom data: what would train or score wrongly is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Done, fcnexp
from peoples_folders import colours, save, scene, turned, write
from PIL import Image

NAMES = [f"s{i}" for i in range(24)]


def check(folder: Path, *arguments: str) -> tuple[Done, dict]:
    """Output, and check.json, of the set in `folder/set`."""
    asked = ["check", "data=folder", "data.root=set", "workers=0", "hydra.run.dir=out"]
    done = fcnexp("prepare", *asked, *arguments, folder=folder, cache=folder / "cache")
    record = folder / "out/check.json"
    return done, json.loads(record.read_text()) if record.is_file() else {}


def test_nothing_is_said_of_a_good_set(tmp_path):
    write(tmp_path / "set", names=NAMES)
    done, found = check(tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("LEAK", "REPEATED", "EXIF", "ALIGNMENT", "NO PIXEL", "not declared"):
        assert word not in done.stdout
    assert found["alignment"]["val"] == {"masks": 20, "finding": None, "single": {}}
    assert found["repeated_pictures"] == {"same": [], "alike": []}


def test_pictures_in_both_splits_are_a_leak(tmp_path):
    write(tmp_path / "set", names=NAMES)
    for copy, source in (("s9", "s1"), ("s3", "s2"), ("s11", "s10")):
        picture = Image.fromarray(scene(int(source[1:]))[0])
        picture.save(tmp_path / f"set/images/{copy}.jpg", quality=95)
    Image.fromarray(scene(0)[0]).save(tmp_path / "set/images/s20.jpg", quality=70)
    done, found = check(tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert (
        "LEAK: the same picture, pixel by pixel in train and val, once (train/s1 = val/s9)" in said
    )
    assert "LEAK: nearly the same picture in train and val, once (train/s0 = val/s20)" in said
    assert "REPEATED: the same picture, pixel by pixel in one split, 2 times (train/s2" in said
    assert found["repeated_pictures"] == {
        "same": [["train/s1", "val/s9"], ["train/s2", "train/s3"], ["val/s10", "val/s11"]],
        "alike": [["train/s0", "val/s20"]],
    }


def test_exif_notes_are_counted_with_what_the_masks_show(tmp_path):
    turned(6)(tmp_path / "set")
    save(scene(0)[0], tmp_path / "set/images/s0.jpg", quality=95)  # without a note
    done, found = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "EXIF: 3 of 4 photographs of train have a note that turns them (s1, s2, s3)" in done.stdout
    )
    assert "the masks of 3 were drawn on the turned photograph, of 0 on the stored" in done.stdout
    assert found["exif"]["val"] == {
        name: {"orientation": 6, "applied": True} for name in ("s4", "s5")
    }


def test_mirrored_masks_are_suspicious(tmp_path):
    write(tmp_path / "set", names=NAMES, stored=lambda label: label[:, ::-1])
    done, found = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "masks of val fit the edges in their photographs better if mirrored left" in done.stdout
    assert "20 of 20" in found["alignment"]["val"]["finding"]
    assert set(found["alignment"]["val"]["single"].values()) == {"mirrored left to right"}


def test_a_single_mirrored_mask_is_suspicious(tmp_path):
    write(tmp_path / "set", names=NAMES)
    save(scene(9)[1][:, ::-1], tmp_path / "set/masks/s9.png")
    done, found = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert found["alignment"]["val"]["single"] == {"s9": "mirrored left to right"}
    assert "1 of 20 masks of val fit" in done.stdout and "s9 (mirrored left" in done.stdout


def test_stored_values_are_listed_with_their_meaning(tmp_path):
    lines = "classes: [c0, c1, c2]\nvalues: {c0: 7, c1: 90, c2: 200}\nvoid: [3, 4]"
    write(tmp_path / "set", yaml=lines, stored=lambda label: np.uint8([7, 90, 200])[label])
    bad = np.uint8([[7, 90, 200, 3, 4, 50]]).repeat(4, 0)
    save(bad, tmp_path / "set/masks/s0.png")
    done, found = check(tmp_path)
    assert done.returncode == 1 and "s0.png: value 50 in 4 pixels is neither" in done.stderr
    means = {each["value"]: each["means"] for each in found["train"]["mask_values"]}
    assert means == {
        **{"7": "c0", "90": "c1", "200": "c2", "3": "void", "4": "void", "50": "not declared"}
    }
    assert [each["masks"] for each in found["train"]["mask_values"]] == [4, 4, 4, 1, 1, 1]
    assert ["50", "not", "declared"] in [
        [cell for cell in line.split() if cell not in ("0.17", "1")]
        for line in done.stdout.splitlines()
    ]


def test_stored_colours_are_listed_with_their_meaning(tmp_path):
    yaml = "classes: [c0, c1, c2]\ncolours: [[0, 0, 0], [255, 0, 0], [0, 255, 0]]"
    drawn = colours((0, 0, 0), (255, 0, 0), (0, 255, 0))
    write(tmp_path / "set", yaml=yaml, stored=drawn)
    save(np.full((24, 32, 3), (9, 8, 7), np.uint8), tmp_path / "set/masks/s5.png")
    _, found = check(tmp_path)
    each = {one["value"]: one["means"] for one in found["val"]["mask_values"]}
    assert each == {
        "0": "c0",
        "[255, 0, 0]": "c1",
        "[0, 255, 0]": "c2",
        "[9, 8, 7]": "not declared",
    }


def test_the_sheet_shows_every_class_beside_its_photograph(tmp_path):
    write(tmp_path / "set", names=NAMES, stored=lambda label: np.where(label == 2, 0, label))
    save(scene(7)[1], tmp_path / "set/masks/s7.png")
    done, _ = check(tmp_path, "pictures=3")
    assert done.returncode == 0, done.stderr
    page = np.array(Image.open(tmp_path / "out/sheet.png").convert("RGB"))
    # The outline of class 2, which one image shows, and its swatch in the legend.
    green = (page == (0, 128, 0)).all(-1)
    assert green[:-30].sum() >= 4 * 8 - 4 and green[-30:].sum() > 50


@pytest.mark.parametrize("missing", ["masks", "images"])
def test_a_set_that_cannot_be_opened_prints_no_empty_table(tmp_path, missing):
    write(tmp_path / "set")
    (tmp_path / "set" / missing).rename(tmp_path / "elsewhere")
    done, found = check(tmp_path)
    assert done.returncode == 1 and "contains no images and masks" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout.startswith("record ")
    assert len(found["broken"]) == 2


def test_titles_of_narrow_tables_are_one_line(tmp_path):
    write(tmp_path / "set", classes=2, yaml="classes: [a, b]")
    done, _ = check(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "Labelled pixels (%), and images with the class" in lines
    assert "Values in the masks of train" in lines
