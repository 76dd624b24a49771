"""What each function of torch makes of positions; see `positions`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fcnexp.nn.backbones import windows
from fcnexp.nn.backbones.positioned import EXACT, Positions, running


def moved(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Return what a torch function makes of positions."""
    name = getattr(func, "__name__", "").strip("_")
    if name[:1] in "ir" and name[1:] in _JOINS:  # __iadd__, __radd__
        name = name[1:]
    if name in _KEEPING:
        return args[0]
    if handler := _HANDLERS.get(name):
        return handler(func, args, kwargs)
    if name in _PLAIN:
        return func(*args, **kwargs)
    made = func(*map(_copy, args), **{key: _copy(value) for key, value in kwargs.items()})
    first = args[0] if args and isinstance(args[0], Positions) else None
    if isinstance(made, Tensor) and first is not None and made.shape == first.shape:
        return first if made.is_floating_point() else made  # an activation that is not listed
    return made


def _copy(value: Any) -> Any:
    """Return a copy of positions, since the function may work in place."""
    return value.clone() if isinstance(value, Positions) else value


# Functions that leave every value in its place.
_KEEPING = frozenset(
    """
    relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid
    tanh softplus prelu batch_norm layer_norm group_norm instance_norm rms_norm
    local_response_norm normalize dropout dropout2d alpha_dropout feature_dropout clamp exp log
    sqrt rsqrt pow neg to float double half bfloat16 type type_as detach stochastic_depth abs
    """.split()  # noqa: SIM905
)
# Functions that move values, or write into a map, or are no computation at all.
_PLAIN = frozenset(
    """
    roll flip permute transpose swapaxes movedim reshape view flatten unflatten getitem setitem
    copy get size dim numel chunk split unbind unsqueeze squeeze expand expand_as repeat
    interpolate upsample pixel_shuffle pixel_unshuffle narrow select index_select contiguous
    requires_grad is_floating_point stride clone t T channel_shuffle len
    """.split()  # noqa: SIM905
)
_JOINS = frozenset(["add", "sub", "mul", "truediv", "div"])


def _nothing(shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Return a map without positions: NaN, or a weight of 0."""
    nothing = torch.nan if running.get().ends else 0.0
    return torch.full(tuple(shape), nothing, dtype=torch.float64)


def _given(names: str, args: tuple, kwargs: dict) -> dict[str, Any]:
    return dict(zip(names.split(), args, strict=False)) | kwargs


def _conv(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    given = _given("input weight bias stride padding dilation groups", args, kwargs)
    x, weight, groups = given["input"], given["weight"], given.get("groups", 1)
    axes = weight.ndim - 2
    stride, dilation = (windows.numbers(given.get(n, 1), axes) for n in ("stride", "dilation"))
    kernel, pad = weight.shape[2:], given.get("padding", 0)
    after = None
    if isinstance(pad, str):
        reach = [(k - 1) * d * (pad == "same") for k, d in zip(kernel, dilation, strict=True)]
        pad, after = [n // 2 for n in reach], reach
    pad = windows.numbers(pad, axes)
    cells = x.shape[-axes:]
    sizes = cells if after and any(after) else [
        windows.out_size(*each)
        for each in zip(cells, kernel, stride, pad, dilation, strict=True)
    ]  # fmt: skip
    if groups == 1 or x.stride(1) == 0:
        x, per_group = _over(x, 1), weight.shape[0]
    else:
        x, per_group = _over(x.unflatten(1, (groups, -1)), 2).squeeze(2), weight.shape[0] // groups
    x = windows.seen(x, kernel, stride, pad, dilation, sizes, ends=running.get().ends)
    return _channels(x, per_group)


def _over(x: Tensor, axis: int) -> Tensor:
    """Return what a sum over an axis makes of positions; the axis keeps one cell."""
    return windows.over(x, axis, ends=running.get().ends)


def _channels(x: Tensor, each: int) -> Tensor:
    """Return every channel `each` times."""
    if x.shape[1] == 1:
        return x.expand(-1, each, *x.shape[2:])
    return x.repeat_interleave(each, 1)


def _transposed(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    names = "input weight bias stride padding output_padding groups dilation"
    given = _given(names, args, kwargs)
    x, kernel = _over(given["input"], 1), given["weight"].shape[2:]
    axes = len(kernel)
    stride, pad = (
        windows.numbers(given.get(n, d), axes) for n, d in (("stride", 1), ("padding", 0))
    )
    more = windows.numbers(given.get("output_padding", 0), axes)
    each = zip(x.shape[-axes:], kernel, stride, pad, more, strict=True)
    sizes = [(n - 1) * s - 2 * p + k + o for n, k, s, p, o in each]
    x = windows.spread(x, kernel, stride, pad, sizes, ends=running.get().ends)
    return _channels(x, given["weight"].shape[1] * given.get("groups", 1))


def _pool(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    largest = "max" in func.__name__
    rest = "padding dilation ceil_mode" if largest else "padding ceil_mode"
    given = _given(f"input kernel stride {rest}", args, kwargs)
    x, kernel = given["input"], windows.numbers(given.get("kernel_size", given.get("kernel")), 2)
    stride = windows.numbers(given.get("stride") or kernel, 2)
    pad, dilation = (
        windows.numbers(given.get(n, d), 2) for n, d in (("padding", 0), ("dilation", 1))
    )
    up = bool(given.get("ceil_mode", False))
    each = zip(x.shape[-2:], kernel, stride, pad, dilation, strict=True)
    sizes = [windows.out_size(*one, up=up) for one in each]
    channels = x.shape[1]
    if x.stride(1) == 0:
        x = x[:, :1]
    x = windows.seen(x, kernel, stride, pad, dilation, sizes, ends=running.get().ends)
    return x.expand(-1, channels, -1, -1)


def _global_pool(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    x, wanted = args[0], args[1] if len(args) > 1 else kwargs["output_size"]
    asked = wanted if isinstance(wanted, tuple | list) else (wanted, wanted)
    size = [old if new is None else new for new, old in zip(asked, x.shape[-2:], strict=True)]
    if tuple(size) == tuple(x.shape[-2:]):
        return x
    running.get().mixing.add("means over the image")
    return _nothing((*x.shape[:-2], *size))


def _reduction(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Handle a mean, a norm ...: it has a position only if all that it is made of has the same."""
    made = func(*args, **kwargs)
    x, shown = args[0], made[0] if isinstance(made, tuple) else made
    if func.__name__ == "norm" and len(args) > 2:
        kwargs = {"dim": args[2], **kwargs}
    dims = kwargs.get("dim", kwargs.get("axis"))
    if dims is None and func.__name__ != "norm" and len(args) > 1:
        dims = args[1]
    dims = tuple(range(x.ndim)) if dims is None else dims
    low, high = x.amin(dims), x.amax(dims)
    if bool((~(high - low > EXACT)).all()):
        found = low.reshape(shown.shape)
    else:
        found = _nothing(shown.shape)
        running.get().mixing.add("means over the image")
    return tuple(found for _ in made) if isinstance(made, tuple) else found


def _linear(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    if not isinstance(args[0], Positions):
        return _nothing((*args[0].shape[:-1], weight.shape[0]))
    return _over(args[0], -1).expand(*args[0].shape[:-1], weight.shape[0])


def _join(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Handle a sum of two paths. Terms and factors that are not maps move nothing."""
    both = [a for a in args[:2] if isinstance(a, Positions)]
    if len(both) == 2:
        met, apart = windows.meet(*both, ends=running.get().ends)
        running.get().apart.append(apart)
        return met
    (x,) = both
    other = next((a for a in args[:2] if isinstance(a, Tensor) and a is not x), None)
    return x if other is None else x.expand(torch.broadcast_shapes(x.shape, other.shape))


def _gate(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Handle a product: of two maps of different size, the smaller is a gate, which is frozen."""
    a, b = args[:2]
    if isinstance(a, Positions) and isinstance(b, Positions):
        shape = torch.broadcast_shapes(a.shape, b.shape)
        gates = [x.ndim == 4 and x.stride(2) == x.stride(3) == 0 for x in (a, b)]  # expanded
        if a.shape != b.shape or any(gates):
            return max((a, b), key=lambda x: (not gates[x is b], x.numel())).expand(shape)
    return _join(func, args, kwargs)


def _matmul(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Handle a product of matrices: attention keeps its values in place, a layer is `_linear`."""
    a, b = args[:2]
    if isinstance(a, Positions) and isinstance(b, Positions):
        if _is_identity(a):
            return b
        running.get().mixing.add("attention")
        return _nothing(
            (*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        )
    if isinstance(a, Positions):
        return _over(a, -1).expand(*a.shape[:-1], b.shape[-1])
    running.get().mixing.add("layers across the image")
    return _nothing((*b.shape[:-2], a.shape[-2], b.shape[-1]))


def _is_identity(x: Tensor) -> bool:
    side = x.shape[-1]
    return side == x.shape[-2] and bool((x == torch.eye(side, dtype=x.dtype)).all())


def _softmax(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Handle attention's softmax, frozen such that each cell attends to itself alone."""
    x, dim = args[0], kwargs.get("dim", args[1] if len(args) > 1 else -1)
    if x.ndim > 2 and dim in (-1, x.ndim - 1) and x.shape[-1] == x.shape[-2]:
        return torch.eye(x.shape[-1], dtype=torch.float64).expand(x.shape)
    return x


def _attention(func: Callable, args: tuple, kwargs: dict) -> Any:
    running.get().mixing.add("attention")
    query, key, value = _given("query key value", args, kwargs).values() if not kwargs else [
        _given("query key value", args, kwargs)[name] for name in ("query", "key", "value")
    ]  # fmt: skip
    kept = value if key.shape[-2] == query.shape[-2] and key.shape[0] == query.shape[0] else None
    found = _nothing((*query.shape[:-1], value.shape[-1])) if kept is None else kept
    return found if "scaled" in func.__name__ else (found, None)


def _cat(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    parts = [p if isinstance(p, Positions) else _nothing(p.shape) for p in args[0]]
    return func(parts, *args[1:], **kwargs)


def _pad(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    given = _given("input pad mode", args, kwargs)
    x, pads = given["input"], given["pad"]
    if given.get("mode") == "reflect" and max(pads) >= min(x.shape[-2:]):
        raise ValueError(f"a map of {tuple(x.shape[-2:])} cells cannot be reflected")
    return windows.padded(x, pads)


def _third(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Handle `addcmul` and the like: parameters are added to a map or multiply it."""
    held = [a for a in args[:3] if isinstance(a, Positions)]
    shape = torch.broadcast_shapes(*(a.shape for a in args[:3]))
    return max(held, key=Tensor.numel).expand(shape)


_HANDLERS: dict[str, Callable[[Callable, tuple, dict], Any]] = {
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _transposed),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _global_pool),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "norm", "std", "var", "var_mean"), _reduction),
    **dict.fromkeys(("add", "sub", "maximum", "minimum"), _join),
    **dict.fromkeys(("mul", "div", "truediv"), _gate),
    **dict.fromkeys(("matmul", "bmm"), _matmul),
    **dict.fromkeys(("cat", "stack", "concat"), _cat),
    **dict.fromkeys(("addcmul", "addcdiv", "lerp"), _third),
    **dict.fromkeys(("scaled_dot_product_attention", "multi_head_attention_forward"), _attention),
    "linear": _linear,
    "softmax": _softmax,
    "pad": _pad,
}
