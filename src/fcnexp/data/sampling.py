"""Order of training images: a function of only the seed and the draw's number."""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One drawn image. number: index of the draw in its run; seeds the augmentation."""

    image: int  # index in the data set
    number: int


class EndlessShuffle(Sampler[Draw]):
    """Endless rounds over all images, each in a new random order.

    The order of round r depends only on (seed, r). start: number of the first draw.
    """

    def __init__(self, num_images: int, seed: int, start: int = 0) -> None:
        self.num_images, self.seed, self.start = num_images, seed, start

    def __iter__(self) -> Iterator[Draw]:
        """Draws from `start` on, as if those before it were skipped."""
        number = self.start
        while True:
            turn, done = divmod(number, self.num_images)
            order = np.random.default_rng([self.seed, turn]).permutation(self.num_images)
            for image in order[done:]:
                yield Draw(int(image), number)
                number += 1


class ReleaseDraws(Sampler[Draw]):
    """Endless draws with replacement, in exactly the order of the reference nets.

    Their Python 2 data layer calls `random.seed(seed)` once, then `random.randint(0, n - 1)` each
    step, which in Python 2 is `int(random.random() * n)`. Python 3's `Random(seed).random()` gives
    the same numbers, its `randint` does not. Source: voc_layers.py.
    start: number of the first draw.
    """

    def __init__(self, num_images: int, seed: int, start: int = 0) -> None:
        self.num_images, self.seed, self.start = num_images, seed, start

    def __iter__(self) -> Iterator[Draw]:
        """Draws from `start` on, as if those before it were skipped."""
        rng = Random(self.seed)
        for number in count():
            image = int(rng.random() * self.num_images)
            if number >= self.start:
                yield Draw(image, number)


class Dealt(Sampler[Draw]):
    """The draws of one of several processes, which take turns of `block` draws each."""

    def __init__(self, draws: Sampler[Draw], *, rank: int, processes: int, block: int) -> None:
        self.draws, self.rank, self.processes, self.block = draws, rank, processes, block

    def __iter__(self) -> Iterator[Draw]:
        """Draws of this process; the first block belongs to rank 0."""
        for i, draw in enumerate(self.draws):
            if i // self.block % self.processes == self.rank:
                yield draw

    def __len__(self) -> int:
        """Raise TypeError, by which Lightning, too, knows that the draws are endless."""
        raise TypeError("training draws are endless and have no length; Trainer(max_steps=N) ends")
