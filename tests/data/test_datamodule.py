import itertools
import logging
from pathlib import Path

import lightning as L
import pytest
from fake_data import nyud_tree
from PIL import Image

from fcnexp.data.datamodule import SegmentationData
from fcnexp.data.splits import Nyud
from fcnexp.data.transforms import Augment
from fcnexp.errors import DataError


def segmentation_data(root: Path, *, fields=("rgb",), **changes) -> SegmentationData:
    neutral = {
        "resize": None,
        "mirror": 0,
        "scale": (1, 1),
        "jitter": 0,
        "crop": None,
        "drop_smaller": False,
        "colour": 0,
    }
    sampling = changes.pop("sampling", "shuffle")
    augment = Augment(**neutral | changes)
    settings = {"batch_size": 2, "num_workers": 0, "seed": 1337, "sampling": sampling}
    return SegmentationData(Nyud(str(root), "trainval", "test"), augment, fields=fields, **settings)


def four_images(root: Path) -> Path:
    """Training images 5010 to 5013 of height x width 20x24, 19x24, 20x23 and 21x30."""
    nyud_tree(root, train=("5010", "5011", "5012", "5013"))
    for name, size in (("5011", (24, 19)), ("5012", (23, 20)), ("5013", (30, 21))):
        Image.new("RGB", size).save(root / f"data/images/img_{name}.png")
    return root


def batches(data: SegmentationData, count: int) -> list:
    return list(itertools.islice(iter(data.train_dataloader()), count))


def test_batches_have_only_the_requested_fields(tmp_path):
    data = segmentation_data(nyud_tree(tmp_path), fields=("hha", "depth"))
    data.setup("fit")
    for batch in (batches(data, 1)[0], next(iter(data.val_dataloader()))):
        assert list(batch.fields) == ["hha", "depth"]


@pytest.mark.parametrize(
    ("crop", "kept"),
    [((20, 24), ["5010", "5013"]), ((19, 24), ["5010", "5011", "5013"]), (21, ["5013"])],
)
def test_images_smaller_than_the_crop_are_excluded(tmp_path, caplog, crop, kept):
    data = segmentation_data(four_images(tmp_path), crop=crop, drop_smaller=True)
    with caplog.at_level(logging.INFO):
        data.setup("fit")
    assert data.train.ids == kept and data.val.ids == ["5001", "5002"]
    assert f"{len(kept)} of 4 training images have at least" in caplog.text


def test_excluded_images_are_found_by_header_and_not_drawn(tmp_path):
    root = four_images(tmp_path)
    path = root / "data/images/img_5012.png"
    path.write_bytes(path.read_bytes()[:41])  # its header without its pixels
    data = segmentation_data(root, crop=(20, 24), drop_smaller=True)
    data.setup("fit")
    (root / "data/images/img_5013.png").write_bytes(
        (root / "data/images/img_5010.png").read_bytes()  # as large as its label
    )
    assert {name for batch in batches(data, 4) for name in batch.names} == {"5010", "5013"}


def test_excluding_all_images_is_an_error(tmp_path):
    data = segmentation_data(four_images(tmp_path), crop=(22, 1), drop_smaller=True)
    with pytest.raises(DataError, match="none of 4 training images has 22x1 .height x width."):
        data.setup("fit")


def test_scoring_takes_the_images_in_list_order_in_batches(tmp_path):
    nyud_tree(tmp_path, test=("5001", "5002", "5003"))
    for size, expected in ((1, [["5001"], ["5002"], ["5003"]]), (2, [["5001", "5002"], ["5003"]])):
        data = SegmentationData.for_scoring(
            Nyud(str(tmp_path), "trainval", "test"), ("rgb",), 0, score_batch=size
        )
        data.setup("validate")
        assert [batch.names for batch in data.val_dataloader()] == expected


def test_draws_are_the_same_after_resuming(tmp_path):
    names = {}
    for sampling in ("shuffle", "with_replacement"):
        data = segmentation_data(
            nyud_tree(tmp_path / sampling, train=tuple("abcdefg")), sampling=sampling
        )
        data.setup("fit")
        names[sampling] = [batch.names for batch in batches(data, 9)]
        data.first_draw = 4 * data.batch_size
        assert [batch.names for batch in batches(data, 5)] == names[sampling][4:]
    assert names["shuffle"] != names["with_replacement"]


def test_unknown_sampling_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match="sampling=random: choose one of shuffle, with_replacem"):
        segmentation_data(tmp_path, sampling="random")


def test_what_was_not_set_up_says_so(tmp_path):
    data = segmentation_data(nyud_tree(tmp_path))
    with pytest.raises(
        RuntimeError, match=r'call setup\("fit"\) before train_dataloader\(\), as a'
    ):
        data.train_dataloader()
    with pytest.raises(RuntimeError, match=r'call setup\("validate"\) before val_dataloader\(\)'):
        data.val_dataloader()
    scoring = SegmentationData.for_scoring(data.data, ("rgb",), 0)
    with pytest.raises(RuntimeError, match="for_scoring has no training batches"):
        scoring.train_dataloader()


def test_endless_batches_have_no_length(tmp_path):
    data = segmentation_data(nyud_tree(tmp_path))
    data.setup("fit")
    with pytest.raises(
        TypeError, match=r"draws are endless and have no length; Trainer\(max_steps"
    ):
        len(data.train_dataloader())
    assert len(data.val_dataloader()) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"max_epochs": 1},
            "an epoch never ends: .* or limit_train_batches=2",
        ),
        ({}, "an epoch never ends"),
        ({"max_epochs": 1, "limit_train_batches": 2}, None),
        ({"max_steps": 3}, None),
        ({"max_epochs": -1}, None),  # endless, by one's own wish
        ({"max_time": "00:00:00:01"}, None),
        ({"fast_dev_run": True}, None),
    ],
)
def test_ones_own_trainer_must_end(settings, message, tmp_path):
    data = segmentation_data(four_images(tmp_path))
    data.setup("fit")
    data.trainer = L.Trainer(**settings, accelerator="cpu", logger=False)
    if message is None:
        data.train_dataloader()
        return
    with pytest.raises(RuntimeError, match=message):
        data.train_dataloader()
