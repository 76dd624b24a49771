"""The `data` node of a checkpoint, which may be untrusted, as an option for this machine."""

import os
from typing import Any

from fcnexp.config.identity import GENERATED
from fcnexp.config.moved_parts import renamed
from fcnexp.config.trust import refuse_foreign_code
from fcnexp.errors import WeightsError

CACHE = "~/.cache/fcnexp"  # as in conf/data/shapes.yaml
MOST_PIXELS = 10**9  # of all images: 3 GB of colours; conf's own sets have 10 million


def of_checkpoint(node: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a stored `data` node; data that is generated goes to this machine's cache.

    A set is generated on first use, so the file would otherwise choose where to write, and how
    much. source: file of the config. Raises WeightsError if the node would call foreign code, or
    generate more than any run needs.
    """
    refuse_foreign_code(node, source)
    if renamed({"data": node})["data"].get("_target_") not in GENERATED:
        return node
    images: list[Any] = [node.get("num_train"), node.get("num_val")]
    sides = node.get("side") or node.get("size")
    numbers = [*images, *(sides if isinstance(sides, list | tuple) else [None])]
    if not all(type(number) is int and number > 0 for number in numbers):
        raise WeightsError(
            f"{source}: damaged, numbers or sizes of its data are {str(numbers)[:80]}"
        )
    if sum(images) * max(numbers[2:]) ** 2 > MOST_PIXELS:
        name = node["_target_"].rpartition(".")[2].lower()
        raise WeightsError(
            f"{source}: its data would be generated: {sum(images)} images of up to "
            f"{max(numbers[2:])} pixels a side; to allow this, give the numbers yourself: "
            f"data={name} data.num_train={images[0]} data.num_val={images[1]} ..."
        )
    return {**node, "root": os.environ.get("FCNEXP_CACHE") or CACHE}
