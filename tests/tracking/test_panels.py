"""Selection, scaling, and error masks of the logged images."""

from types import SimpleNamespace

import numpy as np
import torch

from fcnexp import VOID
from fcnexp.tracking.panels import Panel, Panels, errors, of_one_size, shrunk


def panel(height: int, width: int) -> Panel:
    truth = np.zeros((height, width), np.uint8)
    truth[:, width // 2 :] = 3
    return Panel("a", np.full((height, width, 3), 9, np.uint8), truth, truth.copy())


def test_sides_are_bounded_and_labels_do_not_mix():
    large = panel(100, 40)
    far = large.truth * 80  # 0 and 240: interpolation would produce other values
    small = shrunk(large._replace(truth=far, prediction=far), 25)
    assert small.rgb.shape == (25, 10, 3) and small.truth.shape == (25, 10)
    for label in (small.truth, small.prediction):
        assert set(np.unique(label)) == {0, 240} and (label[:, 5:] == 240).all()
    assert shrunk(panel(20, 25), 25).truth.shape == (20, 25)
    assert shrunk(panel(100, 1), 25).truth.shape == (25, 1)


def test_images_of_different_sizes_are_padded_with_void():
    tall, wide = of_one_size([panel(6, 2), panel(3, 4)])
    assert tall.truth.shape == wide.prediction.shape == wide.rgb.shape[:2] == (6, 4)
    assert (tall.truth[:, 2:] == VOID).all() and (wide.rgb[3:] == 255).all()
    assert (wide.prediction[3:] == VOID).all() and (wide.truth[:3, 2:] == 3).all()


def test_errors_leave_void_out():
    one = panel(1, 4)._replace(prediction=np.array([[0, 3, 3, 0]], np.uint8))
    one.truth[0, 3] = VOID
    assert errors(one).tolist() == [[0, 1, 0, VOID]]


def test_the_same_evenly_spaced_images_are_picked_each_time():
    shown = []
    picks = Panels(3, 10, lambda panels, names, step: shown.append([p.name for p in panels]))
    val = SimpleNamespace(val=range(9))
    trainer = SimpleNamespace(datamodule=val, world_size=1, global_step=4)
    for _ in range(2):
        picks.on_validation_start(trainer, None)
        for i in range(9):
            label = torch.zeros(1, 2, 2, dtype=torch.uint8)
            fields = {"rgb": torch.zeros(1, 3, 2, 2, dtype=torch.uint8)}
            batch = SimpleNamespace(fields=fields, label=label, names=[str(i)])
            picks.on_validation_batch_end(trainer, None, label.long(), batch, i)
        picks.on_validation_end(trainer, SimpleNamespace(class_names=("x",)))
    assert shown == [["0", "4", "8"]] * 2


def test_bands_are_shown_in_the_colours_that_the_net_knows():
    shown = []
    picks = Panels(1, 10, lambda panels, names, step: shown.extend(panels))
    trainer = SimpleNamespace(datamodule=SimpleNamespace(val=range(1)), world_size=1, global_step=4)
    task = SimpleNamespace(
        recipe=SimpleNamespace(bands=SimpleNamespace(rgb=(4, 2, 1))),
        counts=None,
        class_names=("x",),
    )
    picks.on_validation_start(trainer, task)
    bands = torch.stack([torch.arange(9.0).roll(k).view(3, 3) for k in range(5)])[None]
    label = torch.zeros(1, 3, 3, dtype=torch.uint8)
    batch = SimpleNamespace(fields={"bands": bands}, label=label, names=["a"])
    picks.on_validation_batch_end(trainer, task, label.long(), batch, 0)
    picks.on_validation_end(trainer, task)
    highest = [tuple(np.argwhere(shown[0].rgb[..., c] == 255)[0]) for c in range(3)]
    assert highest == [(0, 2), (0, 0), (2, 2)]  # 8, rolled by 3, 1 and 0 places
