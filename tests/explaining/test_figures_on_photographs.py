"""Class maps of the original GoogLeNet on photographs find the right animal where it is."""

import numpy as np
import pytest
import torch
from commands import fcnexp

from fcnexp.data.files import read_label_png, read_rgb
from fcnexp.explaining.figures import TRAINED_SIDE, class_names, scaled
from fcnexp.nn.inspection.class_map import class_map, load_classifier, whole_image

pytestmark = pytest.mark.real_data

# Photographs, the animals on them, and their class indices in VOC.
ANIMALS = {
    "2007_009794": ("Siamese cat", 8),
    "2007_002445": ("Egyptian cat", 8),
    "2010_000159": ("papillon", 12),
    "2011_002121": ("pug", 12),
}


@torch.inference_mode()
def test_most_probable_class_is_the_animal_and_peaks_on_it(shared_data):
    net = load_classifier(shared_data / "weights/bvlc_googlenet.caffemodel")
    names = class_names(str(shared_data / "weights/synset_words.txt"))
    for photograph, (animal, index) in ANIMALS.items():
        rgb = read_rgb(shared_data / f"voc/JPEGImages/{photograph}.jpg")
        label = read_label_png(shared_data / f"voc/SegmentationClass/{photograph}.png")
        best = int(whole_image(net, scaled(rgb, TRAINED_SIDE)).argmax())
        assert names[best] == animal
        large = scaled(rgb, 384)
        found = class_map(net, large)
        (heat,) = found.of_pixels([best], (large.shape[1], large.shape[2])).numpy()
        places = np.argwhere(heat >= heat.max() - 1e-6).mean(0) * label.shape[0] / large.shape[1]
        assert label[tuple(places.astype(int))] == index, photograph


def test_torchvisions_names_are_in_the_same_order(shared_data):
    ours, theirs = class_names(str(shared_data / "weights/synset_words.txt")), class_names(None)
    same = [a == b for a, b in zip(ours, theirs, strict=True)]
    assert sum(same) > 900  # a few are worded differently


def test_effective_receptive_field_of_googlenet_is_much_smaller(shared_data, tmp_path):
    arguments = [
        f"image={shared_data}/voc/JPEGImages/2010_000159.jpg",
        f"init.path={shared_data}/weights/bvlc_googlenet.caffemodel",
        *("backbone=googlenet", "init=caffemodel", "output=rf.png"),
    ]
    done = fcnexp("explain", "figure=receptive_field", *arguments, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "5b/output" in line)
    assert "field of 715 x 715" in line and int(line.split()[-1]) < 400
