import math

import pytest
import torch

from fcnexp.labels import VOID
from fcnexp.task.losses import PixelLoss


def test_loss_of_a_case_done_by_hand():
    """Two pixels: scores (0, ln 3) with truth 1, and (0, 0) with truth 0; a third is void."""
    scores = torch.tensor([[[[0.0, 0.0, 9.0]], [[math.log(3), 0.0, -9.0]]]])
    label = torch.tensor([[[1, 0, VOID]]], dtype=torch.uint8)
    total = -math.log(3 / 4) - math.log(1 / 2)
    assert PixelLoss(reduction="sum")(scores, label).item() == pytest.approx(total)
    assert PixelLoss(reduction="mean")(scores, label).item() == pytest.approx(total / 2)


def test_summed_loss_is_per_image():
    scores, label = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5), dtype=torch.uint8)
    loss = PixelLoss(reduction="sum")
    each = [loss(scores[i : i + 1], label[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(scores, label), sum(each) / 2)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_void_has_no_loss_and_no_gradient(reduction):
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    label = torch.full((1, 2, 2), VOID, dtype=torch.uint8)
    loss = PixelLoss(reduction=reduction)(scores, label)
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


def test_loss_of_low_precision_scores_is_float32():
    scores = torch.randn(1, 3, 8, 8).bfloat16()
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    loss = PixelLoss(reduction="sum")(scores, label)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, PixelLoss(reduction="sum")(scores.float(), label))


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction=median: allowed are mean, sum, image_means"):
        PixelLoss(reduction="median")


def test_image_means_add_up_over_images_with_void_as_background():
    """The D2L exercise: `cross_entropy(...).mean over pixels`, summed over the batch."""
    scores, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5), dtype=torch.uint8)
    label[0, :2] = 255
    background = torch.where(label == 255, 0, label).long()
    shares = scores.log_softmax(1).gather(1, background[:, None])[:, 0]
    found = PixelLoss(reduction="image_means", void_as=0)(scores, label)
    torch.testing.assert_close(found, -(shares[0].mean() + shares[1].mean()))


def test_image_means_without_void_weigh_labelled_pixels():
    scores, label = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 255], [255, 2]]], dtype=torch.uint8)
    found = PixelLoss(reduction="image_means")(scores, label)
    torch.testing.assert_close(found, PixelLoss(reduction="mean")(scores, label))
