import pytest
import torch
from torch.autograd import gradcheck

from fcnexp import VOID
from fcnexp.task.losses import PixelLoss
from fcnexp.task.masking import SIDES, mask

LABEL = torch.tensor([[[0, 0, VOID, 3], [0, VOID, 3, 1]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("side", "seen"),
    [
        ("background", [[0, 0, 0, 1], [0, 0, 1, 1]]),
        ("foreground", [[1, 1, 0, 0], [1, 0, 0, 0]]),
        ("shape", [[0, 0, 0, 1], [0, 0, 1, 1]]),
    ],
)
def test_masked_input_is_zero_and_void_is_always_masked(side, seen):
    rgb = torch.randn(1, 3, 2, 4)
    filling = torch.full_like(rgb, 7.0)
    found = mask({"rgb": rgb}, LABEL, side, lambda: {"rgb": filling})["rgb"]
    source = filling if side == "shape" else rgb
    assert torch.equal(found, source * torch.tensor(seen))


@pytest.mark.parametrize("side", SIDES)
def test_gradient_of_a_masked_loss(side):
    """Gradient of a convolution's loss with respect to its input, 0 wherever that is masked."""
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    image = torch.randn(1, 3, 2, 4, dtype=torch.float64, requires_grad=True)

    loss_of = PixelLoss(reduction="mean", keep=1, cell=1, balance=None)

    def loss(image, weight):
        seen = mask({"rgb": image}, LABEL, side, lambda: {"rgb": torch.full_like(image, 2)})["rgb"]
        return loss_of(torch.nn.functional.conv2d(seen, weight, padding=1), LABEL)

    assert gradcheck(loss, (image, weight))
    (gradient,) = torch.autograd.grad(loss(image, weight), image, materialize_grads=True)
    shown = {"background": [1, 3], "foreground": [0], "shape": []}[side]
    expected = torch.isin(LABEL, torch.tensor(shown, dtype=torch.uint8))
    assert torch.equal((gradient != 0).any(1), expected)
