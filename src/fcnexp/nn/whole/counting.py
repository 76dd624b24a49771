"""Size and cost of a whole net, by torch's own counter."""

from torch import Tensor, no_grad
from torch.utils.flop_counter import FlopCounterMode

from fcnexp.nn.streams import Network


def parameters_by_part(net: Network) -> dict[str, int]:
    """Return the number of learnable parameters of the encoders, and of all that follows them."""
    total = sum(p.numel() for p in net.parameters() if p.requires_grad)
    backbones = [scorer.backbone for scorer in net.scorers().values()]
    encoders = sum(p.numel() for b in backbones for p in b.parameters())  # type: ignore[attr-defined]  # Modules
    return {"backbone": encoders, "rest": total - encoders}


def multiply_adds(net: Network, inputs: dict[str, Tensor]) -> int:
    """Return the multiply-adds of the convolutions and matrix products for inputs by field."""
    with FlopCounterMode(display=False) as counter, no_grad():
        net(inputs)
    return counter.get_total_flops() // 2
