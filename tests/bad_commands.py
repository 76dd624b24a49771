"""Wrong commands: overrides, files, and the word that the message must contain."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from fake_data import encoded
from made_up_runs import write_confusion, write_job, write_metrics, write_run
from PIL import Image

NOTES = b"\x89PNG\r\n\x1a\n"
DEEP = b"[" * 100_000
# Overrides of `train`, and the key that the message must name.
CONFIGS = {
    "unknown key": (["regime.lrr=1"], "regime.lrr"),
    "unknown key of a part": (["head.dropuot=0.1"], "head.dropuot"),
    "unknown key, added": (["+regime.foo=1"], "regime.foo"),
    "unknown node": (["+foo.bar=1"], "foo"),
    "unknown group": (["modle=fcn8s"], "modle"),
    "unknown option": (["model=fcn9s"], "model=fcn9s"),
    "words for a number": (["regime.lr=fast"], "regime.lr"),
    "number for a list": (["backbone.widths=3"], "backbone"),
    "list for a number": (["seed=[1,2]"], "seed"),
    "dict for a number": (["seed={a: 1}"], "seed"),
    "nothing for a number": (["regime.steps=null"], "regime.steps"),
    "NaN": (["regime.lr=nan"], "regime.lr"),
    "infinity": (["regime.lr=inf"], "regime.lr"),
    "negative rate": (["regime.lr=-1"], "regime.lr"),
    "too many steps for an int": (["regime.steps=1e400"], "regime.steps"),
    "half a step": (["regime.steps=1.5"], "regime.steps"),
    "no batch": (["regime.batch_size=0"], "regime.batch_size"),
    "negative seed": (["seed=-1"], "seed=-1"),
    "seed beyond 32 bits": (["seed=4294967296"], "seed"),
    "negative workers": (["workers=-2"], "workers=-2"),
    "unknown precision": (["trainer.precision=float3"], "trainer.precision"),
    "unknown masking": (["masking.test=all"], "masking.test"),
    "unknown sampling": (["regime.sampling=alphabetical"], "sampling"),
    "skips that are none": (["model.skips=[7]"], "model"),
    "widths that are none": (["backbone.widths=[-1,2,3,4,5,6]"], "backbone"),
    "target of nothing": (["model._target_=fcnexp.nn.gone.Net"], "model._target_"),
    "target that takes other keys": (["model._target_=os.system"], "model"),
    "target that is a number": (["model._target_=3"], "model"),
    "interpolation to nothing": (["seed=${no.such.key}"], "seed"),
    "interpolation in a circle": (["regime.lr=${regime.lr}"], "regime.lr"),
    "interpolation to no resolver": (["seed=${eval:1+1}"], "seed"),
    "environment that is not there": (["data.root=${oc.env:FCNEXP_NOT_SET}"], "data.root"),
    "environment that is secret": (["logger.wandb.entity=${oc.env:WANDB_API_KEY}"], "entity"),
    "secret by its name": (["+logger.wandb.api_key=0123456789abcdef"], "logger.wandb.api_key"),
    "code for a value": (["seed=__import__('os').getpid()"], "seed"),
    "quotes that are open": (["logger.wandb.project='x"], "logger.wandb.project"),
    "no value": (["regime.lr="], "regime.lr"),
    "no key": (["=3"], "=3"),
    "two groups at once": (["model=fcn8s,fcn16s"], "model"),
    "paper's row unknown": (["+paper={table: none, row: x}"], "paper"),
    "checkpoint to start from gone": (["init=checkpoint", "init.path=gone.ckpt"], "gone.ckpt"),
    "checkpoint to start from is text": (["init=checkpoint", "init.path=text"], "text"),
    "caffemodel to start from gone": (
        ["init=caffemodel", "init.path=gone", "backbone=alexnet", "head=linear", "model=fcn32s"],
        "gone",
    ),
    "caffemodel to start from is text": (
        ["init=caffemodel", "init.path=text", "backbone=alexnet", "head=linear", "model=fcn32s"],
        "text",
    ),
    "data that are not there": (["data=voc", "data.root=gone"], "data.root=gone"),
    "run folder with a broken config": (["hydra.run.dir=broken"], "broken"),
}
OTHERS = {
    "no image": ("predict", ["checkpoint=net.ckpt", "input=text"], "text"),
    "list of images that are not there": (
        "predict",
        ["checkpoint=net.ckpt", "input='gone/*.jpg'"],
        "gone",
    ),
    "no ONNX file": ("predict", ["onnx=text", "input=a.png"], "onnx=text"),
    "checkpoint that is a folder": ("predict", ["checkpoint=there", "input=a.png"], "there"),
    "export of no checkpoint": ("export", ["checkpoint=text"], "text"),
    "export over a folder": (
        "export",
        ["checkpoint=net.ckpt", "format=state_dict", "output=there.pt"],
        "there.pt",
    ),
    "classifier's weights are text": (
        "explain",
        ["figure=class_maps", "figure.weights=text", "image=a.png", "figure.shorter_side=224"],
        "text",
    ),
    "classes' names are binary": (
        "explain",
        ["figure=class_maps", "figure.weights=text", "figure.labels=net.ckpt", "image=a.png"],
        "net.ckpt",
    ),
    "photograph is text": ("explain", ["figure=receptive_field", "image=text"], "text"),
    "run without a matrix": ("evaluate", ["run=there"], "run=there"),
    "official file gone": ("prepare", ["data=nyud", "mat=gone.mat", "data.root=n"], "mat=gone.mat"),
    "official file is text": ("prepare", ["data=nyud", "mat=text", "data.root=n"], "mat=text"),
    "official file is another": ("prepare", ["data=nyud", "mat=a.h5", "data.root=n"], "mat=a.h5"),
    "depth of 8 bits": ("prepare", ["hha", "depth=photos", "intrinsics=[1,1,1,1]"], "photos/a.png"),
    "depth of nothing": ("prepare", ["hha", "depth=zero", "intrinsics=[9,9,1,1]"], "zero/a.png"),
    "camera of three numbers": ("prepare", ["hha", "depth=photos", "intrinsics=[1,1,1]"], "intrin"),
    "runs that are not there": ("report", ["gone"], "gone"),
    "report into a file's place": ("report", ["runs", "output=text/x.html"], "text: "),
}


def lay_out(folder: Path) -> None:
    """Write the files that CONFIGS and OTHERS name, except net.ckpt."""
    import h5py

    (folder / "text").write_text("hello, I am text")
    for name in ("there", "there.pt", "photos", "zero", "broken"):
        (folder / name).mkdir()
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    (folder / "photos/a.png").write_bytes(encoded(np.zeros((9, 9), np.uint8), "PNG"))
    (folder / "zero/a.png").write_bytes(encoded(np.zeros((9, 9), np.uint16), "PNG"))
    (folder / "broken/config.yaml").write_bytes(NOTES)
    (folder / "broken/checkpoints").mkdir()
    write_run(folder / "runs/0")
    with h5py.File(folder / "a.h5", "w") as file:
        file["images"] = np.zeros((2, 2), np.uint8)


def tar(path: Path, members: list[tuple[str, bytes, bytes]], *, cut: int | None = None) -> Path:
    """Write a tar file of members: name, type, and content or link target."""
    with tarfile.open(path, "w") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            member.linkname = "" if kind == tarfile.REGTYPE else content.decode()
            archive.addfile(member, io.BytesIO(content))
    if cut is not None:
        path.write_bytes(path.read_bytes()[:cut])
    return path


BASE = "VOCdevkit/VOC2012"
PICTURE = (f"{BASE}/JPEGImages/a.jpg", tarfile.REGTYPE, b"picture")
FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
ARCHIVES = {
    "way up": [PICTURE, (f"{BASE}/JPEGImages/../../../../evil", FILE, b"evil")],
    "absolute": [PICTURE, ("/tmp/evil", FILE, b"evil")],
    "symbolic link": [(f"{BASE}/JPEGImages/a.jpg", LINK, b"/etc/passwd")],
    "symbolic link to a folder": [
        (f"{BASE}/JPEGImages", LINK, b"/tmp"),
        (f"{BASE}/JPEGImages/evil", FILE, b"evil"),
    ],
    "hard link": [PICTURE, (f"{BASE}/JPEGImages/b.jpg", HARD, b"/etc/passwd")],
    "device": [(f"{BASE}/JPEGImages/a.jpg", tarfile.CHRTYPE, b"")],
    "pipe": [(f"{BASE}/JPEGImages/a.jpg", tarfile.FIFOTYPE, b"")],
    "sparse": [(f"{BASE}/JPEGImages/a.jpg", tarfile.GNUTYPE_SPARSE, b"")],
    "of something else": [("elsewhere/a.jpg", FILE, b"picture")],
    "file where a folder is wanted": [
        (f"{BASE}/JPEGImages/a", FILE, b"x"),
        (f"{BASE}/JPEGImages/a/b.jpg", FILE, b"x"),
    ],
}


def bad_runs(folder: Path) -> dict[str, Path]:
    """Create run folders with one damaged file each; return the files by name."""
    rubbish = {
        "empty": b"",
        "text": b"hello",
        "binary": NOTES,
        "a list": b"[1]",
        "null": b"null",
        "nested deep": DEEP,
    }
    found: dict[str, Path] = {}
    for file in ("result.json", "config.yaml", "job.json", "confusion.csv", "metrics.csv"):
        for name, content in rubbish.items():
            if (file, name) == ("metrics.csv", "empty"):
                continue  # a run of no steps logs nothing
            run = whole_run(folder / f"{file} {name}")
            (run / file).write_bytes(content)
            found[f"{file}: {name}"] = run / file
    changes = {
        "score in words": {"scores": {"miou": "high"}},
        "score NaN": {"scores": {"miou": float("nan")}},
        "score above 1": {"scores": {"miou": 7}},
        "class in words": {"class_iou": {"a": "x"}},
        "classes in a list": {"class_iou": [1]},
        "seconds in words": {"train_seconds": "long"},
        "choices in a list": {"choices": [1]},
        "typed a number": {"typed": 3},
        "not done": {"status": "begun"},
    }
    for name, change in changes.items():
        file = whole_run(folder / f"result.json {name}") / "result.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        found[f"result.json: {name}"] = file
    alias = "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    configs = {
        "code": "!!python/object/apply:os.getcwd []",
        "a billion nodes": f"a: &a [1]\n{alias}",
        "a circle": "a: &a [*a]",
        "seed a list": "seed: [1]",
        "paper in words": "paper: x",
        "paper of no table": "paper: {table: x, row: y}",
        "keys of numbers": "1: 2",
    }
    for name, text in configs.items():
        file = whole_run(folder / f"config.yaml {name}") / "config.yaml"
        file.write_text(text)
        found[f"config.yaml: {name}"] = file
    file = whole_run(folder / "config gone") / "config.yaml"
    file.unlink()
    return found | {"config.yaml: gone": file}


def whole_run(folder: Path) -> Path:
    """Create a sweep's run with all files that reports read."""
    run = write_run(folder)
    write_job(run, "done")
    write_metrics(run, [0.1, 0.2])
    write_confusion(run, ["a", "b"], [[1, 0], [0, 1]])
    return run
