"""Which image comes at which draw: a function of the seed and the draw's number only."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One drawn image. number: counts all draws of a run, and seeds the image's augmentation."""

    image: int  # its place in the data set
    number: int


class EndlessShuffle(Sampler[Draw]):
    """All images in a new random order, again and again without end; training counts steps.

    The order of round r depends on (seed, r) alone.
    """

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images, self.seed = num_images, seed

    def __iter__(self) -> Iterator[Draw]:
        """Draws from the first on."""
        number = 0
        while True:
            order = np.random.default_rng([self.seed, number // self.num_images])
            for image in order.permutation(self.num_images):
                yield Draw(int(image), number)
                number += 1
