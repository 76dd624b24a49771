"""Parts of a training for another program's loop or Trainer, chosen as on the command line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fcnexp.build import build_data, part
from fcnexp.config.overrides import checked
from fcnexp.nn.inputs import InputRecipe

if TYPE_CHECKING:  # Lightning
    from fcnexp.data.datamodule import SegmentationData


def data_module(overrides: Sequence[str]) -> "SegmentationData":
    """Return the LightningDataModule that `train` would use with these overrides.

    Training batches are endless and depend only on `seed` and the number of the draw; validation
    images come whole, in the order of their list. No file is opened before `setup`, which Trainers
    call; in a loop of your own, call `setup("fit")`. Raises ConfigError.
    """
    return build_data(checked(overrides))


def input_recipe(overrides: Sequence[str]) -> InputRecipe:
    """Return what converts batches to network input, as these overrides choose it.

    `recipe.apply(batch.fields, batch.sizes)` returns what `network(overrides)` takes: float32
    (N, C, H, W) by field. Raises ConfigError.
    """
    recipe: InputRecipe = part(checked(overrides), "modality")
    return recipe
