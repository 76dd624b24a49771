"""What people and common tools write is read rightly, or refused with what to write instead."""

import numpy as np
import pytest
from peoples_files import BINARY, CASES, Case
from peoples_folders import NAMES, scene, write
from peoples_tools import TOOLS
from PIL import Image

from fcnexp.config.identity import digest
from fcnexp.data.first_look import look_at
from fcnexp.data.own import Folder
from fcnexp.data.pairs import Pairs
from fcnexp.errors import DataError


def folder(root, **options) -> Folder:
    return Folder(str(root), None, None, 0.5, **options)


def read_all(data: Folder):
    return [sample for half in (data.train, data.val) for sample in half(("rgb",))]


def assert_as_drawn(samples, case: Case) -> None:
    assert len(samples) == len(NAMES)
    for number, sample in enumerate(samples):
        label = case.drawn(scene(number, case.size, case.classes)[1])
        np.testing.assert_array_equal(sample.label, label)
        red = sample.fields["rgb"][0].float().numpy()
        objects = np.isin(label, (1, 2))  # JPEG blurs their borders
        assert red[objects].mean() > 200 and red[label == 0].mean() < 110


ALL = CASES | TOOLS


@pytest.mark.parametrize("name", ALL)
def test_is_read_as_drawn_or_refused_with_what_to_write(tmp_path, name):
    case = ALL[name]
    case.write(tmp_path)
    data = folder(tmp_path, **case.options)
    if case.refused is None:
        assert_as_drawn(read_all(data), case)
        assert len(data.train(()).ids) == 4
        return
    with pytest.raises(DataError, match=case.refused):
        read_all(data)


def test_each_file_is_opened_once_per_sample(tmp_path, monkeypatch):
    write(tmp_path)
    samples = folder(tmp_path).train(("rgb",))
    opened, decoded = [], []
    real_open, real_load = Image.open, Image.core.new
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path.name) or real_open(path))
    monkeypatch.setattr(Image.core, "new", lambda *size: decoded.append(size) or real_load(*size))
    samples[0]
    assert sorted(opened) == ["s0.jpg", "s0.png"] and len(decoded) == 2


def test_a_class_without_pixels_is_named_once_for_each_half(tmp_path, caplog):
    write(tmp_path, stored=lambda label: np.where(label == 2, 0, label))
    with caplog.at_level("WARNING"):
        data = folder(tmp_path)
        read_all(data)
    said = [text for text in caplog.messages if "NO PIXEL of c2 in any mask of" in text]
    assert len(said) == 2 and "train" in "".join(said) and "val" in "".join(said)


@pytest.fixture
def masks_read(monkeypatch) -> list[int]:
    """Numbers of the masks read, in order."""
    read, real = [], Pairs.read_label
    monkeypatch.setattr(Pairs, "read_label", lambda self, i: read.append(i) or real(self, i))
    return read


def test_if_every_class_has_pixels_one_mask_is_enough(tmp_path, caplog, masks_read):
    write(tmp_path)
    folder(tmp_path).val(())
    assert len(masks_read) == 1 and not caplog.messages


def test_the_first_look_stops_in_time_and_says_so(tmp_path, caplog, masks_read):
    write(tmp_path, stored=lambda label: label * (label < 2), names=[f"s{i}" for i in range(30)])
    (tmp_path / "train.txt").unlink(), (tmp_path / "val.txt").unlink()
    pairs = folder(tmp_path).train(())
    masks_read.clear()
    with caplog.at_level("INFO"):
        look_at(pairs, "train", seconds=0)
    assert len(masks_read) == 4
    assert f"train: no pixel of c2 in 4 of {len(pairs)} masks; `prepare check` reads" in caplog.text


def test_two_classes_with_void_are_not_taken_for_0_and_255(tmp_path):
    """A rare object, and void in every mask: all of them are read to be sure."""
    yaml = "classes: [bg, lesion]"
    write(tmp_path, classes=2, yaml=yaml, stored=lambda label: label * 255)
    data = folder(tmp_path)
    with pytest.raises(DataError, match="0 and 255 alone"):
        data.val(())
    for name in ("s0", "s5"):  # one of each half
        Image.fromarray(np.tile(np.uint8([[0, 1, 255]]), (24, 32))[:, :32]).save(
            tmp_path / f"masks/{name}.png"
        )
    assert len(folder(tmp_path).train(())) == 4
    write(tmp_path, **BINARY | {"yaml": yaml + "\nvoid: 255"})
    assert len(folder(tmp_path).train(())) == 4  # said to be void


def test_unreadable_masks_are_left_to_whoever_reads_them(tmp_path, caplog):
    write(tmp_path)
    for name in NAMES:
        (tmp_path / f"masks/{name}.png").write_bytes(b"cut")
    samples = folder(tmp_path).train(())
    assert not caplog.messages
    with pytest.raises(DataError, match="damaged"):
        samples[0]


def test_settings_of_custom_data_that_are_null_change_no_digest():
    data = {"_target_": "fcnexp.data.own.Folder", "root": "/a", "val_share": 0.2}
    assert digest({"data": data | {"masks": None, "upright": None}}) == digest({"data": data})
    assert digest({"data": data | {"upright": True}}) != digest({"data": data})


def test_upright_is_true_false_or_null(tmp_path):
    with pytest.raises(ValueError, match="upright=yes: must be true, false or null"):
        folder(tmp_path, upright="yes")
