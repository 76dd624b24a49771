import torch

from fcnexp.task.module import best_class


def test_best_class_is_the_first_of_the_highest_in_any_order_of_memory():
    scores = torch.randint(4, (2, 7, 9, 11), generator=torch.Generator().manual_seed(0)).float()
    scores[0, 3, 2, 2] = torch.nan
    first = scores.numpy().argmax(1)  # NumPy takes the first, and a NaN for the highest
    assert (scores[0].amax(0) == scores[0].sort(0).values[-2]).any()  # there are ties
    for order in (torch.contiguous_format, torch.channels_last):
        found = best_class(scores.contiguous(memory_format=order), axis=1)
        assert found.dtype == torch.uint8 and found.tolist() == first.tolist()
