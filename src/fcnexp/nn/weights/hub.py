"""Weights from a repository of the Hugging Face Hub. Needs the extra `hub`."""

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fcnexp.errors import WeightsError
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.init import checkpoint
from fcnexp.system.os_errors import reraise_system_error

log = logging.getLogger(__name__)


def hub(
    net: Network,
    recipe: InputRecipe,
    *,
    repo: str,
    file: str,
    revision: str,
    class_names: Sequence[str] | None = None,
) -> list[Tensor]:
    """Fetch a file of a repository into the Hub's own cache, and load it as a checkpoint.

    repo: `OWNER/NAME`. revision: branch, tag or commit. class_names: as of `init.checkpoint`, which
    says what is copied and what stays new. Raises WeightsError if the file cannot be fetched or
    does not fit.
    """
    path = fetch(repo, file, revision)
    log.info("%s: %s at commit %s", repo, file, path.relative_to(_snapshots(path)).parts[0])
    return checkpoint(net, recipe, path=str(path), class_names=class_names)


def fetch(repo: str, file: str, revision: str) -> Path:
    """Return a file's path in the Hub's cache. Raises WeightsError saying what to do instead."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise WeightsError(
            "init=hub: huggingface_hub is not installed; pip install -e '.[hub]'"
        ) from None
    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except Exception as error:  # of the Hub, of its client, of the network
        reraise_system_error(error)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(
            f"{repo}: {file} at {revision} cannot be fetched ({reason}); check init.repo, "
            "init.file and init.revision, run `hf auth login` if it is private, or download the "
            "file by hand and use init=checkpoint init.path=FILE"
        ) from None


def cached(repo: str, file: str, revision: str) -> Path | None:
    """Return the path of a file that was fetched earlier. Sends nothing."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(repo, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _snapshots(path: Path) -> Path:
    """Folder of the cache that holds a folder for each commit."""
    return next(parent for parent in path.parents if parent.name == "snapshots")
