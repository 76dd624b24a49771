"""Checkpoints that no run would write: modifications of a valid checkpoint, by name."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

FIRST = "net.net.scorer.backbone.block1.0.weight"
NAN, INFINITE = float("nan"), float("inf")


class Good(NamedTuple):
    """A valid checkpoint as bytes and loaded. trap: file that malicious code would create."""

    content: bytes
    stored: dict[str, Any]
    trap: Path


class Evil:
    """Object that runs a program when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trap}'",)


def good(content: bytes, trap: Path) -> Good:
    return Good(content, torch.load(io.BytesIO(content), weights_only=True), trap)


def saved(stored: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(stored, buffer, **options)
    return buffer.getvalue()


def facts(*left_out: str, **changes: Any) -> Callable[[Good], bytes]:
    """Change or leave out entries of `fcnexp`, which holds everything except weights."""

    def make(one: Good) -> bytes:
        entries = one.stored["fcnexp"] | changes
        kept = {name: value for name, value in entries.items() if name not in left_out}
        return saved(one.stored | {"fcnexp": kept})

    return make


def config(**changes: Any) -> Callable[[Good], bytes]:
    """Replace parts of the stored config; a change may be a function of the trap."""

    def make(one: Good) -> bytes:
        made = {n: c(one.trap) if callable(c) else c for n, c in changes.items()}
        return facts(config=one.stored["fcnexp"]["config"] | made)(one)

    return make


def inside(part: str, **changes: Any) -> Callable[[Good], bytes]:
    """Change keys in one part of the stored config."""

    def make(one: Good) -> bytes:
        made = {n: c(one.trap) if callable(c) else c for n, c in changes.items()}
        return config(**{part: one.stored["fcnexp"]["config"][part] | made})(one)

    return make


def first(change: Callable[[torch.Tensor], Any]) -> Callable[[Good], bytes]:
    """Change the first weight tensor."""

    def make(one: Good) -> bytes:
        weights = one.stored["state_dict"]
        return saved(one.stored | {"state_dict": weights | {FIRST: change(weights[FIRST])}})

    return make


def also(**more: Any) -> Callable[[Good], bytes]:
    return lambda one: saved(one.stored | more)


def flipped_weight(one: Good) -> bytes:
    """Flip one bit in a weight's exponent."""
    weight = one.stored["state_dict"][FIRST].permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    content = bytearray(one.content)
    content[one.content.index(weight) + 3] ^= 0x10
    return bytes(content)


def zipped(one: Good, *, without: str = "", how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(one.content)) as old, zipfile.ZipFile(buffer, "w", how) as new:
        for name in old.namelist():
            if not without or not name.endswith(without):
                new.writestr(name, old.read(name))
    return buffer.getvalue()


def touching(trap: Path) -> dict[str, str]:
    """Config part that creates a file, by a callable that no block list would contain."""
    return {
        "_target_": "pathlib.Path.touch",
        "self": {"_target_": "pathlib.Path", "_args_": [str(trap)]},
    }


def other_zip(_: Good) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", "hello")
    return buffer.getvalue()


ENTRIES = ("config", "recipe", "precision", "class_names", "outputs", "masking")
REFUSED: dict[str, Callable[[Good], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"hello",
    "cut in the middle": lambda one: one.content[: len(one.content) // 2],
    "cut at its end": lambda one: one.content[:-30],
    "one byte": lambda one: one.content[:1],
    "zeros": lambda one: bytes(len(one.content)),
    "flipped weight": flipped_weight,
    "zip of something else": other_zip,
    "tensor's data missing": lambda one: zipped(one, without="data/0"),
    "pickle missing": lambda one: zipped(one, without="data.pkl"),
    "pickled code": lambda one: saved(Evil(one.trap)),
    "pickled code in addition": lambda one: saved(one.stored | {"more": Evil(one.trap)}),
    "pickled code, no zip": lambda one: pickle.dumps(Evil(one.trap)),
    "pickled code, torch's old format": lambda one: saved(
        Evil(one.trap), _use_new_zipfile_serialization=False
    ),
    "a tensor": lambda _: saved(torch.ones(2)),
    "a list": lambda _: saved([1]),
    "from another program": lambda _: saved({"model": {"conv.weight": torch.ones(2)}}),
    "state dict of export": lambda one: saved(one.stored | {"fcnexp": "{}"}),
    "future version": facts(version=99),
    "old version": facts(version=1),
    "version as text": facts(version="3"),
    "without version": facts("version"),
    **{f"without {name}": facts(name) for name in ENTRIES},
    **{f"{name} is None": facts(**{name: None}) for name in ENTRIES},
    "config is text": lambda one: facts(
        config=f"modality: {{_target_: os.mkdir, path: '{one.trap}'}}"
    )(one),
    "config without head": lambda one: facts(
        config={n: p for n, p in one.stored["fcnexp"]["config"].items() if n != "head"}
    )(one),
    "config calls foreign code": config(backbone=touching),
    "config calls foreign code in a list": inside("backbone", widths=lambda trap: [touching(trap)]),
    "config calls foreign code by interpolation": inside(
        "modality", rgb=lambda trap: f"${{oc.create:{{_target_:os.mkdir,path:'{trap}'}}}}"
    ),
    "config reads the environment": inside("head", dropout="${oc.env:HOME}"),
    "config calls a part that starts programs": config(
        modality={"_target_": "fcnexp.benching.peak.peak"}
    ),
    "config calls a missing part": config(modality={"_target_": "fcnexp.nn.gone.Gone"}),
    "config's target is a number": config(modality={"_target_": 3}),
    "config has an unknown key": inside("head", foo=1),
    "config has a wrong value": inside("backbone", widths="wide"),
    "config has a negative width": inside("backbone", widths=[-1] * 6),
    "config asks for all memory": inside("backbone", widths=[2, 2, 3, 3, 4, 10**9]),
    "no classes": facts(class_names=[], outputs={"class": 0}),
    "classes without names": facts(class_names=["a"]),
    "classes are numbers": facts(class_names=list(range(8))),
    "a billion classes": facts(outputs={"class": 10**9}),
    "a task whose folder is elsewhere": facts(outputs={"class": 7, "../gone": 1}),
    "recipe of a different net": lambda one: facts(
        recipe=one.stored["fcnexp"]["recipe"] | {"streams": [["hha"]]}
    )(one),
    "precision unknown": facts(precision="float3"),
    "masking unknown": facts(masking={"train": None, "test": "all"}),
    "weights are a list": also(state_dict=[1]),
    "weights are none": also(state_dict={}),
    "weight names are numbers": also(state_dict={1: torch.ones(2)}),
    "weight is a number": first(lambda _: 3),
    "weight is NaN": first(lambda weight: weight * NAN),
    "weight is infinite": first(lambda weight: torch.full_like(weight, INFINITE)),
    "weight is integer": first(lambda weight: weight.long()),
    "weight is complex": first(lambda weight: weight * 1j),
    "weight is sparse": first(lambda weight: weight.to_sparse()),
    "weight is on the meta device": first(lambda weight: weight.to("meta")),
    "weight is an expanded view": first(lambda weight: torch.ones(1).expand(weight.shape)),
    "weight has another shape": first(lambda weight: weight[:1].clone()),
    "weight missing": lambda one: saved(
        one.stored
        | {"state_dict": {n: w for n, w in one.stored["state_dict"].items() if n != FIRST}}
    ),
    "one weight too many": lambda one: saved(
        one.stored | {"state_dict": one.stored["state_dict"] | {"net.more": torch.ones(2)}}
    ),
}
ACCEPTED: dict[str, Callable[[Good], bytes]] = {
    "as written": lambda one: one.content,
    "compressed": lambda one: zipped(one, how=zipfile.ZIP_DEFLATED),
    "with additional entries": also(more=[1, "two"]),
}
