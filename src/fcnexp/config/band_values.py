"""Values of `modality=bands`, from the file that describes the data's bands."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from fcnexp.config.identity import OWN_FOLDER
from fcnexp.errors import ConfigError, DataError
from fcnexp.system.bands_file import how_to_write, place_of, read_bands_file

NEEDED = ("mean", "std")


def value_of(key: str, *, _root_: DictConfig) -> Any:
    """Return one value of the bands.yaml of `data`. Raises ConfigError saying what to type.

    Without a folder of one's own there is no such file, and mean and std must be given.
    """
    data = _root_.get("data")
    root = None if data is None else OmegaConf.select(data, "root", throw_on_missing=False)
    if data is None or data.get("_target_") != OWN_FOLDER or root is None:
        if key in NEEDED:
            raise ConfigError(
                "of each band, from the bands.yaml of data=folder data.root=FOLDER, which "
                f"`{how_to_write('FOLDER')}` writes; or give modality.bands.mean=[...] and "
                "modality.bands.std=[...]"
            )
        return None
    given = data.get("bands")
    try:
        found = read_bands_file(place_of(root, given), how_to_write(root, given))
    except DataError as error:
        raise ConfigError(str(error)) from None
    return getattr(found, key)
