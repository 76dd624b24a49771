"""State dicts of whole nets, by the names that their library gives the tensors."""

import logging

import torch
from torch import Tensor

from fcnexp.errors import WeightsError
from fcnexp.nn.layers import widen
from fcnexp.nn.streams import Network
from fcnexp.nn.weights import state_dicts
from fcnexp.nn.weights.surgery import Transplant
from fcnexp.nn.whole.parts import WholeNet

log = logging.getLogger(__name__)

CLASSIFIERS = ("", "features.")  # beginnings of names in torchvision's files of the backbone alone


def load(net: Network, weights: dict[str, Tensor], kind: str, path: str) -> list[Tensor]:
    """Fill every stream from a state dict of its library, log a report, return what is still new.

    Of a net with another number of classes all but the score layers is copied, and of a classifier
    the backbone alone. The first layer is widened to more input channels by `widen`. kind: what the
    file is. Raises WeightsError if the backbone is not in it, or from another net.
    """
    report = Transplant()
    for scorer in net.scorers().values():
        assert isinstance(scorer, WholeNet)
        try:
            _fill(scorer, weights, report)
        except WeightsError as error:
            raise WeightsError(f"{path}: {kind}: {error}") from None
    log.info("%s: %s: %s", path, kind, report.line())
    return [tensor for tensors in report.new.values() for tensor in tensors]


def _fill(scorer: WholeNet, weights: dict[str, Tensor], report: Transplant) -> None:
    """Copy what fits into one stream. Raises WeightsError."""
    own = {n: v for n, v in scorer.state_dict().items() if not n.endswith("num_batches_tracked")}
    names = {name: _found(scorer.name_in_library(name), weights) for name in own}
    lost = [n for n, there in names.items() if there is None and n.startswith("backbone.")]
    if lost:
        raise WeightsError(
            f"another net: it has no {scorer.name_in_library(lost[0])} of this model's backbone; "
            "choose the model (and model.name, or model.arch and model.encoder) of the file"
        )
    scoring = {id(p) for layer in scorer.score_layers().values() for p in layer.parameters()}
    parameters = dict(scorer.named_parameters())
    wanted = {name: weights[there] for name, there in names.items() if there is not None}
    given = state_dicts.checked(wanted)
    for name, value in list(given.items()):
        if value.ndim == 4 and value.shape[1] == 3 and own[name].shape[1] != 3:
            value = given[name] = torch.from_numpy(widen(value.numpy(), own[name].shape[1]))
            report.widened.append(str(names[name]))
        if value.shape == own[name].shape:
            continue
        if id(parameters.get(name)) not in scoring:
            raise WeightsError(
                f"another net: {names[name]} is {tuple(value.shape)}; the model's is "
                f"{tuple(own[name].shape)}"
            )
        del given[name]  # other classes
    scorer.load_state_dict(given, strict=False)
    used = {names[name] for name in given}
    report.copied += dict.fromkeys(n.rpartition(".")[0] for n in weights if n in used)
    report.unused += dict.fromkeys(n.rpartition(".")[0] for n in weights if n not in used)
    new = {scorer.name_in_library(n): p for n, p in parameters.items() if n not in given}
    for name, parameter in new.items():
        report.new.setdefault(name, []).append(parameter)


def _found(name: str, weights: dict[str, Tensor]) -> str | None:
    """Return a tensor's name in a file: of the whole net, or of a classifier."""
    if name in weights:
        return name
    for start in ("backbone.", "encoder."):
        if name.startswith(start):
            rest = name.removeprefix(start)
            return next((f"{c}{rest}" for c in CLASSIFIERS if f"{c}{rest}" in weights), None)
    return None
