import numpy as np
import pytest
import torch
from fake_data import own_tree, sbd_tree, voc_tree
from PIL import Image

from fcnexp import VOID
from fcnexp.data.balance import RULES, ClassCounts, class_weights, count_classes
from fcnexp.data.folders import concatenate
from fcnexp.data.own import Folder
from fcnexp.data.palette import save_indexed
from fcnexp.data.sample import Sample, Samples
from fcnexp.data.voc import sbd_segmentation, voc_segmentation
from fcnexp.errors import DataError

LABELS = [[[0, 0, 0, 0], [0, 0, 1, VOID]], [[0, 2, 2, 2], [VOID, VOID, 1, 1]]]


class InMemory(Samples):
    """Labels without files, read by the default `read_label`, as in custom data sets."""

    def __init__(self, labels: list) -> None:
        self.labels, self.ids = labels, [str(i) for i in range(len(labels))]

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.ids[index], {}, torch.tensor(self.labels[index], dtype=torch.uint8))

    def size(self, index: int) -> tuple[int, int]:
        raise NotImplementedError


def test_counts_of_a_small_case():
    counts = count_classes(InMemory(LABELS), 4, None)
    assert counts.pixels.tolist() == [7, 3, 3, 0]
    assert counts.around.tolist() == [13, 13, 6, 0]
    assert counts.shares.tolist() == [7 / 13, 3 / 13, 3 / 13, 0]


def test_void_counts_as_its_training_class():
    counts = count_classes(InMemory(LABELS), 4, 3)
    assert counts.pixels.tolist() == [7, 3, 3, 3] and counts.around.tolist() == [16, 16, 8, 16]


def test_weights_of_a_small_case():
    """Frequencies 7/13, 3/13 and 3/6 where present: their median is 1/2."""
    counts = count_classes(InMemory(LABELS), 4, None)
    assert class_weights(counts, "median") == pytest.approx([13 / 14, 13 / 6, 1, 0])
    assert class_weights(counts, "inverse") == pytest.approx([13 / 21, 13 / 9, 13 / 9, 0])


def test_inverse_weights_have_mean_1_and_equal_class_totals():
    pixels = np.array([70, 0, 1, 12, 5])
    weights = np.array(class_weights(ClassCounts(pixels, pixels), "inverse"))
    assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)
    assert (weights * pixels)[pixels > 0] == pytest.approx(88 / 4)


@pytest.mark.parametrize("rule", RULES)
def test_all_void_labels_give_zero_weights(rule):
    assert class_weights(count_classes(InMemory([[[VOID]]]), 2, None), rule) == [0, 0]


def test_labels_are_read_without_their_images(tmp_path):
    """The images are truncated: reading one would raise."""
    voc_tree(tmp_path / "voc", train=("a", "b"))
    sbd_tree(tmp_path / "sbd")
    own_tree(tmp_path / "own")
    parts = [voc_segmentation(tmp_path / "voc", "train", 21)]
    parts += [sbd_segmentation(tmp_path / "sbd", "train", 21)]
    sets = [*parts, concatenate(parts), Folder(str(tmp_path / "own"), None, None, 0.5).train(())]
    expected = [[samples[i].label for i in range(len(samples))] for samples in sets]
    for image in tmp_path.rglob("*.jpg"):
        image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DataError):
        parts[0][0]
    for samples, labels in zip(sets, expected, strict=True):
        found = [samples.read_label(i) for i in range(len(samples))]
        assert all(map(torch.equal, found, labels))


def test_invalid_label_is_named(tmp_path):
    voc_tree(tmp_path)
    save_indexed(tmp_path / "SegmentationClass/a.png", np.full((2, 3), 77, np.uint8))
    assert Image.open(tmp_path / "SegmentationClass/a.png").size == (3, 2)
    with pytest.raises(DataError, match=r"a\.png: label value 77 in 6 pixels"):
        count_classes(voc_segmentation(tmp_path, "train", 21), 21, None)
