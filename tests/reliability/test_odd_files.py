"""Pipes, devices, endless links and folders in the place of files: refused by name, never read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from time_limits import in_time

from fcnexp.data.files import read_depth, read_label_mat, read_label_png, read_rgb
from fcnexp.data.lists import read_ids
from fcnexp.data.palette import read_classes
from fcnexp.errors import UserError
from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.predicting.images import find_images, left_out
from fcnexp.reporting.records import read_run
from fcnexp.run.run_folder import stored_config
from fcnexp.scoring.per_image import read_per_image


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def missing(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def folder(path: Path) -> None:
    path.mkdir()


ODD = {
    "pipe": pipe,
    "link to itself": circle,
    "endless device": zero,
    "link to nothing": missing,
    "folder": folder,
}
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "image": ("a.png", lambda path: read_rgb(path)),
    "own image": ("a.png", lambda path: read_rgb(path, own=True)),
    "depth": ("a.png", read_depth),
    "label": ("a.png", read_label_png),
    "SBD label": ("a.mat", read_label_mat),
    "list": ("train.txt", read_ids),
    "classes": ("classes.yaml", read_classes),
    "checkpoint": ("a.ckpt", read_checkpoint),
    "caffemodel": ("a.caffemodel", read_caffemodel),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_by_name(reader, odd, tmp_path):
    name, read = READERS[reader]
    ODD[odd](tmp_path / name)
    with in_time(), pytest.raises(UserError, match=str(tmp_path / name)):
        read(tmp_path / name)


@pytest.mark.parametrize("odd", ODD)
def test_records_that_are_no_files_are_refused_or_absent(odd, tmp_path):
    for name in ("config.yaml", "result.json", "images.npz"):
        ODD[odd](tmp_path / name)
    with in_time():
        for read in (stored_config, read_per_image):
            try:
                found = read(tmp_path)
            except UserError as error:
                assert str(tmp_path) in str(error)
            else:
                assert found is None
        with pytest.raises((UserError, FileNotFoundError)):
            read_run(tmp_path)


def test_odd_files_among_the_images_are_left_out_and_named(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    for number, make in enumerate(ODD.values()):
        make(tmp_path / f"{number}.png")
    with in_time():
        assert find_images(str(tmp_path)) == [tmp_path / "good.png"]
        said = left_out(str(tmp_path))
    assert all(f"{number}.png" in said for number in (0, 1, 2, 4)), said
    assert "a link to none" in said


def test_number_of_odd_files(tell):
    count = len(ODD) * (len(READERS) + 3 + 1)
    tell(f"pipes, devices, endless links, folders in the place of files: {count} tried, 0 read")
