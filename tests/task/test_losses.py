import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from fcnexp import VOID
from fcnexp.task.losses import REDUCTIONS, PixelLoss


def pixel_loss(**changes) -> PixelLoss:
    """Loss over all pixels with equal weights, except for the changes."""
    return PixelLoss(**{"reduction": "mean", "keep": 1, "cell": 1, "balance": None} | changes)


def test_loss_of_three_pixels_by_hand():
    """Scores (0, ln 3) with label 1, and (0, 0) with label 0; the third pixel is void."""
    scores = torch.tensor([[[[0.0, 0.0, 9.0]], [[math.log(3), 0.0, -9.0]]]])
    label = torch.tensor([[[1, 0, VOID]]], dtype=torch.uint8)
    total = -math.log(3 / 4) - math.log(1 / 2)
    assert pixel_loss(reduction="sum")(scores, label).item() == pytest.approx(total)
    assert pixel_loss(reduction="mean")(scores, label).item() == pytest.approx(total / 2)


def test_summed_loss_is_per_image():
    scores, label = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5), dtype=torch.uint8)
    loss = pixel_loss(reduction="sum")
    each = [loss(scores[i : i + 1], label[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(scores, label), sum(each) / 2)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_void_has_no_loss_and_no_gradient(reduction):
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    label = torch.full((1, 2, 2), VOID, dtype=torch.uint8)
    loss = pixel_loss(reduction=reduction)(scores, label)
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


def test_loss_of_low_precision_scores_is_float32():
    scores = torch.randn(1, 3, 8, 8).bfloat16()
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    loss = pixel_loss(reduction="sum")(scores, label)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, pixel_loss(reduction="sum")(scores.float(), label))


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction=median: allowed are mean, sum, image_means"):
        pixel_loss(reduction="median")


def test_image_means_add_up_over_images_with_void_as_background():
    """The D2L exercise: `cross_entropy(...).mean over pixels`, summed over the batch."""
    scores, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5), dtype=torch.uint8)
    label[0, :2] = 255
    background = torch.where(label == 255, 0, label).long()
    log_p = scores.log_softmax(1).gather(1, background[:, None])[:, 0]
    found = pixel_loss(reduction="image_means", void_as=0)(scores, label)
    torch.testing.assert_close(found, -(log_p[0].mean() + log_p[1].mean()))


def test_image_means_are_over_labelled_pixels():
    scores, label = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 255], [255, 2]]], dtype=torch.uint8)
    found = pixel_loss(reduction="image_means")(scores, label)
    torch.testing.assert_close(found, pixel_loss(reduction="mean")(scores, label))


WEIGHTS = [0.5, 2.0, 0.0, 1.25]  # exact in float32


def case(height: int = 5, width: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores float64 (2, 4, H, W) and a label, 20 % of it void."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(2, 4, height, width))
    label = rng.integers(0, 4, (2, height, width))
    label[rng.random(label.shape) < 0.2] = VOID
    return torch.tensor(scores), torch.tensor(label, dtype=torch.uint8)


def by_loops(scores, label, reduction, weights, kept=None, void_as=None) -> float:
    """Loss computed with a loop over images and pixels."""
    scores, label = scores.numpy(), label.numpy()
    sums, masses = np.zeros(len(label)), np.zeros(len(label))
    for n, i, j in np.ndindex(*label.shape):
        k = void_as if label[n, i, j] == VOID else label[n, i, j]
        if k is None or (kept is not None and not kept[n, i, j]):
            continue
        values = scores[n, :, i, j]
        sums[n] += weights[k] * (math.log(sum(math.exp(v) for v in values)) - values[k])
        masses[n] += weights[k]
    if reduction == "sum":
        return sums.sum() / len(label)
    if reduction == "mean":
        return sums.sum() / masses.sum()
    return (sums / masses).sum()


def kept_pixels(loss: PixelLoss, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Pixels that a call with this seed counts, bool (N, H, W), derived from the gradient."""
    scores = torch.zeros(shape[0], 4, *shape[1:], requires_grad=True)
    torch.manual_seed(seed)
    loss(scores, torch.zeros(shape, dtype=torch.uint8)).backward()
    return (scores.grad != 0).any(1).numpy()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("void_as", [None, 1])
@pytest.mark.parametrize("keep", [1, 0.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_loss_equals_the_slow_way(reduction, void_as, keep, weights):
    scores, label = case()
    loss = pixel_loss(reduction=reduction, void_as=void_as, keep=keep, cell=2, balance=weights)
    kept = kept_pixels(pixel_loss(keep=keep, cell=2), (2, 5, 7), seed=1)
    torch.manual_seed(1)
    found = loss(scores, label).item()
    slow = by_loops(scores, label, reduction, weights or [1] * 4, kept, void_as)
    assert found == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("size", [1, 1 / 1024])  # the latter's weights sum to less than 1
def test_balanced_mean_equals_torchs(size):
    scores, label = case()
    weights = [size * weight for weight in WEIGHTS]
    theirs = torch.nn.functional.cross_entropy(
        scores, label.long(), torch.tensor(weights).double(), ignore_index=VOID
    )
    torch.testing.assert_close(pixel_loss(balance=weights)(scores, label), theirs)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_batch_of_classes_with_weight_zero_has_no_loss_and_no_gradient(reduction):
    scores = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = pixel_loss(reduction=reduction, balance=WEIGHTS)
    found = loss(scores, torch.full((2, 3, 3), 2, dtype=torch.uint8))
    found.backward()
    assert found.item() == 0 and not scores.grad.any()


def test_all_pixels_of_a_cell_are_kept_or_ignored_independently_of_other_images():
    kept = kept_pixels(pixel_loss(keep=0.5, cell=3), (4, 10, 8), seed=0)
    for top in range(0, 10, 3):
        for left in range(0, 8, 3):
            square = kept[:, top : top + 3, left : left + 3].reshape(4, -1)
            assert (square == square[:, :1]).all()
    assert not (kept == kept[:1]).all() and 0 < kept.mean() < 1


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.9])
def test_fraction_of_kept_cells_is_the_probability(keep):
    cells = 2 * 60 * 40
    kept = kept_pixels(pixel_loss(keep=keep, cell=2), (2, 120, 80), seed=0)
    assert abs(kept.mean() - keep) < 4 * math.sqrt(keep * (1 - keep) / cells)


def test_sampled_sum_over_p_is_the_full_sum_on_average():
    """The mean of D draws is within 4 standard errors; each cell is drawn independently."""
    keep, draws, cell = 0.25, 400, 2
    scores, label = case(16, 18)
    sampled, full = (pixel_loss(reduction="sum", keep=k, cell=cell) for k in (keep, 1))
    each = torch.nn.functional.cross_entropy(
        scores, label.long(), ignore_index=VOID, reduction="none"
    )
    in_cells = each.view(2, 8, cell, 9, cell).sum((2, 4)) / 2  # of the 2 images
    deviation = math.sqrt((in_cells**2).sum() * (1 - keep) / keep / draws)
    found = [sampled(scores, label).item() / keep for _ in range(draws)]
    assert deviation < 0.05 * full(scores, label).item()
    assert abs(np.mean(found) - full(scores, label).item()) < 4 * deviation


def test_sampled_mean_is_over_the_kept_pixels():
    """If all pixels have the same scores, the mean does not depend on the draw."""
    scores, label = torch.randn(1, 4, 1, 1).expand(1, 4, 9, 9), torch.ones(1, 9, 9).byte()
    full = pixel_loss()(scores, label)
    for _ in range(5):
        torch.testing.assert_close(pixel_loss(keep=0.3)(scores, label), full)


def test_nothing_is_drawn_in_scoring_or_if_all_pixels_are_kept():
    scores, label = case()
    state = torch.get_rng_state()
    assert pixel_loss(keep=0.1).eval()(scores, label) == pixel_loss()(scores, label)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("controls", [{"keep": 0.5, "cell": 2}, {"balance": WEIGHTS}])
def test_gradient_of_the_loss(reduction, controls):
    scores, label = case(4, 5)
    loss = pixel_loss(reduction=reduction, **controls)

    def seeded(scores):
        torch.manual_seed(2)
        return loss(scores, label)

    assert gradcheck(seeded, scores.requires_grad_())
