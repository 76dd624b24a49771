"""Whether a module has to run itself, since someone looks on."""

from torch import nn
from torch.nn.modules.module import _has_any_global_hook


def watched(module: nn.Module) -> bool:
    """Whether hooks watch a module, its own or those of all modules, or its `forward` is another.

    A fast way computes without calling the module, so that none of these would have its say.
    """
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in vars(module) or _has_any_global_hook()
