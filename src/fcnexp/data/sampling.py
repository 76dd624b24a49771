"""Which image comes at which draw: a function of the seed and the draw's number only."""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One drawn image. number: counts all draws of a run, and seeds the image's augmentation."""

    image: int  # its place in the data set
    number: int


class EndlessShuffle(Sampler[Draw]):
    """All images in a new random order, again and again without end; training counts steps.

    The order of round r depends on (seed, r) alone. start: number of the first draw.
    """

    def __init__(self, num_images: int, seed: int, start: int = 0) -> None:
        self.num_images, self.seed, self.start = num_images, seed, start

    def __iter__(self) -> Iterator[Draw]:
        """Draws from `start` on, the same as one would get by skipping those before it."""
        number = self.start
        while True:
            turn, done = divmod(number, self.num_images)
            order = np.random.default_rng([self.seed, turn]).permutation(self.num_images)
            for image in order[done:]:
                yield Draw(int(image), number)
                number += 1


class ReleaseDraws(Sampler[Draw]):
    """Any image at any draw, with replacement, in the very order of the reference nets, endless.

    Their Python 2 data layer calls `random.seed(seed)` once, then `random.randint(0, n - 1)` a
    step, which there is `int(random.random() * n)`. `Random(seed).random()` of Python 3 gives the
    same numbers; its `randint` does not. Source: voc_layers.py. start: number of the first draw.
    """

    def __init__(self, num_images: int, seed: int, start: int = 0) -> None:
        self.num_images, self.seed, self.start = num_images, seed, start

    def __iter__(self) -> Iterator[Draw]:
        """Draws from `start` on, the same as one would get by skipping those before it."""
        rng = Random(self.seed)
        for number in count():
            image = int(rng.random() * self.num_images)
            if number >= self.start:
                yield Draw(image, number)


class Dealt(Sampler[Draw]):
    """One process's share of a run's draws: `block` of them go to each of `processes` in turn."""

    def __init__(self, draws: Sampler[Draw], *, rank: int, processes: int, block: int) -> None:
        self.draws, self.rank, self.processes, self.block = draws, rank, processes, block

    def __iter__(self) -> Iterator[Draw]:
        """The draws that are this process's; the first block is that of rank 0."""
        for i, draw in enumerate(self.draws):
            if i // self.block % self.processes == self.rank:
                yield draw
