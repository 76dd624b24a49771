"""Nothing is made on the CPU by mistake: nets, losses and scores on a fake `cuda` device.

The config offers thousands of nets, of a second each. The quick tests take every backbone with
every model, head, dense method and modality, and train and score by turns; the slow ones take every
pair of any two options, and do both. Masking, losses, sizes and fast paths take turns. Backward
passes run as well (`fake_gpu.backward`).
"""

import itertools
import random
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

import pytest
import torch
from fake_gpu import FakeGpu, backward, fake_gpu, moved, to_gpu
from omegaconf import DictConfig, OmegaConf

from fcnexp import build
from fcnexp.config.compose import compose_run, conf_dir
from fcnexp.data.collate import Batch, collate
from fcnexp.data.sample import Sample
from fcnexp.errors import ConfigError
from fcnexp.nn.fast.switches import plain
from fcnexp.task.losses import REDUCTIONS, PixelLoss
from fcnexp.task.masking import SIDES
from fcnexp.task.module import SegmentationTask
from fcnexp.task.trimap import TrimapScores

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")

Row = tuple[str, ...]  # one option of each of GROUPS

GROUPS = ("backbone", "model", "head", "dense", "modality")
OPTIONS = {g: sorted(path.stem for path in (conf_dir() / g).glob("*.yaml")) for g in GROUPS}
LIBRARIES = {"timm": "timm", "smp": "segmentation_models_pytorch"}  # of options, extras
ABSENT = {option for option, library in LIBRARIES.items() if find_spec(library) is None}
WHOLE = ("fcn_resnet50", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large", "smp")  # models
OPTIONS = {g: [name for name in names if name not in ABSENT] for g, names in OPTIONS.items()}
# Small nets in place of the options'.
NAMES = {"timm": "mobilenetv3_small_050", "torchvision": "mobilenet_v3_small"}
BANDS = {"mean": [1.0] * 5, "std": [1.0] * 5, "rgb": [3, 2, 1], "nodata": 0, "axes": None}
CLASSES = 4
# Pairs of options that the config refuses, which a test checks.
REFUSED = [
    *itertools.product(["deconvnet"], ["resnet18", "rarefaction", "rarefaction_8"]),
    *itertools.product(["deconvnet"], ["shift_and_stitch", "shift_and_stitch_8"]),
    *itertools.product(["deconvnet", "rarefaction", "rarefaction_8"], ["torchvision", "timm"]),
    *itertools.product(["fcn1s"], ["torchvision", "timm"]),
    *(("rgb_backbone", b) for b in OPTIONS["backbone"] if b not in ("torchvision", "timm", "none")),
    *itertools.product(["rgb_backbone"], WHOLE),
    *itertools.product(["fcn4s", "fcn2s", "fcn1s"], ["shift_and_stitch_8"]),
    *itertools.product(["fcn1s"], ["alexnet", "googlenet", "resnet18"]),
    ("fcn2s", "alexnet"),
    ("fcn32s_fixed", "deconv_all"),
    *itertools.product(
        [n for n in OPTIONS["model"] if n not in ("fcn32s", "fcn_pool5", *WHOLE)], ["deconv_d2l"]
    ),
]
REFUSED = [pair for pair in REFUSED if not ABSENT.intersection(pair)]


def fits(row: Row) -> bool:
    """Return True if the config does not refuse a pair of a row's options.

    Nor a whole net with parts of ours, or the option `none` with another model.
    """
    if row.count("none") != (3 if set(WHOLE).intersection(row) else 0):
        return False
    return not any(one in row and other in row for one, other in REFUSED)


def pairs(row: Row) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    return itertools.combinations(enumerate(row), 2)


def covering(*, all_pairs: bool) -> list[Row]:
    """Return rows that hold every pair of options that fit, or only those with a backbone.

    Greedy, from a fixed seed.
    """
    draw = random.Random(0)
    rows = [row for row in itertools.product(*OPTIONS.values()) if fits(row)]
    draw.shuffle(rows)
    holding: dict[object, list[Row]] = {}
    for row in rows:
        for pair in (pair for pair in pairs(row) if all_pairs or pair[0][0] == 0):
            holding.setdefault(pair, []).append(row)
    missing, chosen = dict.fromkeys(holding), []
    while missing:
        candidates = holding[next(iter(missing))][:40]
        best = max(candidates, key=lambda row: sum(pair in missing for pair in pairs(row)))
        chosen.append(best)
        for pair in pairs(best):
            missing.pop(pair, None)
    return chosen


@cache
def option(group: str, name: str) -> DictConfig:
    """Return what an option of a group holds, without composing all of the config."""
    node = OmegaConf.load(conf_dir() / group / f"{name}.yaml")
    parents = [each for each in node.pop("defaults", []) if isinstance(each, str)]
    return OmegaConf.merge(*(option(group, each) for each in parents), node)


def configured(row: Row) -> DictConfig:
    cfg = whole_config().copy()
    for group, name in zip(GROUPS, row, strict=True):
        cfg[group] = option(group, name)
        if name in NAMES and group == "backbone":
            cfg[group].name = NAMES[name]
        if name.startswith("bands"):
            cfg[group].bands.update(BANDS)  # in place of the data's file
    return cfg


@cache
def whole_config() -> DictConfig:
    return compose_run(["init=scratch"])


def task_of(row: Row, turn: int) -> SegmentationTask:
    """Build the task of a row, without numbers; loss and masking depend on the turn."""
    reduction = REDUCTIONS[turn // 3 % 3]
    with torch.device("meta"):  # makes no numbers
        net, recipe = build.build_net(configured(row), {"class": CLASSES})
    balance = [1.0, 2.0, 3.0, 4.0] if turn % 4 == 0 else None
    void_as = 0 if reduction == "image_means" else None
    loss = PixelLoss(reduction=reduction, keep=1, cell=1, balance=balance, void_as=void_as)
    side = [None, *SIDES][turn // 2 % 4]
    masking = {"train": side, "test": side}
    names = ("a", "b", "c", "d")
    task = SegmentationTask(net, recipe, names, loss=loss, masking=masking)
    task.trimap = TrimapScores(CLASSES, (1, 3)) if turn % 4 == 1 else None
    task.log = task.log_dict = lambda *_, **__: None
    return task


def on_gpu(task: SegmentationTask) -> SegmentationTask:
    """Move a task to the fake GPU."""
    to_gpu(task)
    task._device = torch.device("cuda", 0)  # as Lightning would set it
    task.scores.matrix = moved(task.scores.matrix)
    if task.trimap is not None:
        task.trimap.matrices = moved(task.trimap.matrices)
    return task


def batch_of(task: SegmentationTask, *sizes: tuple[int, int]) -> Batch:
    """Return a batch whose images and labels are on the fake GPU, and whose sizes are not."""
    samples = []
    for number, size in enumerate(sizes):
        fields = {
            name: torch.zeros(n, *size, dtype=torch.float32 if name == "bands" else torch.uint8)
            for name, n in task.recipe.stored_channels.items()
        }
        samples.append(Sample(str(number), fields, torch.zeros(size, dtype=torch.uint8)))
    made = collate(samples)
    fields = {name: moved(field) for name, field in made.fields.items()}
    return made._replace(fields=fields, label=moved(made.label))


def train(task: SegmentationTask, batch: Batch) -> None:
    """Make a pass with its gradients, all of which must exist on the GPU."""
    loss = task.train().training_step(batch, 0)
    learning = [p for p in task.parameters() if p.requires_grad]
    assert loss.is_cuda and loss.dtype == torch.float32 and backward(loss) == len(learning)


def score(task: SegmentationTask, batch: Batch) -> None:
    """Score a batch in float16: the scores are float32 after upsampling."""
    seen: list[torch.Tensor] = []
    hook = task.net.register_forward_hook(lambda net, args, scores: seen.append(scores))
    task.eval()
    with torch.no_grad(), torch.autocast("cuda", torch.float16):
        task.on_validation_start()
        prediction = task.validation_step(batch, 0)
    hook.remove()
    assert all(scores.is_cuda and scores.dtype == torch.float32 for scores in seen)
    assert seen[0].shape[1:] == (CLASSES, *batch.label.shape[1:])
    assert prediction.is_cuda and prediction.dtype == torch.uint8 and task.scores.matrix.is_cuda


@pytest.fixture(scope="module")
def gpu() -> Iterator[FakeGpu]:
    with fake_gpu() as mode:
        yield mode


def run(gpu: FakeGpu, row: Row, turn: int, *, trains: bool, scores: bool) -> None:
    """Train and score a net; in training, Python does not wait for the GPU."""
    task = task_of(row, turn)
    sizes = [(32, 32), (24, 31)] if turn % 3 == 0 else [(32, 32), (32, 32)]
    with gpu, plain(["all"] if turn % 5 == 4 else []):
        on_gpu(task)
        batch = batch_of(task, *sizes)
        gpu.waits()
        if trains:
            train(task, batch)
            # Templates of a trunk that does not learn are kept if its weights are the same.
            allowed = {"aten.equal.default"} if "fcn32s_fixed" in row else set()
            assert set(gpu.waits()) <= allowed
        if scores:
            score(task, batch)


QUICK, ALL = covering(all_pairs=False), covering(all_pairs=True)
MANY_PASSES = {"torchvision", "shift_and_stitch_8"}  # hundreds, each of the whole trunk


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(turn, id="-".join(row), marks=[pytest.mark.slow] * (set(row) >= MANY_PASSES))
        for turn, row in enumerate(QUICK)
    ],
)
def test_net_trains_and_scores_on_one_device(turn, gpu):
    run(gpu, QUICK[turn], turn, trains=turn % 2 == 0, scores=turn % 2 == 1)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(len(ALL)), ids=["-".join(row) for row in ALL])
def test_net_of_any_two_options_trains_and_scores_on_one_device(turn, gpu):
    run(gpu, ALL[turn], turn, trains=True, scores=True)


def test_sampled_loss_is_on_one_device(gpu):
    """It draws on the CPU, so that the draw does not depend on the device."""
    loss = PixelLoss(reduction="mean", keep=0.5, cell=4, balance=None)
    with gpu:
        scores = torch.ones(2, CLASSES, 9, 9, device="cuda", requires_grad=True)
        made = loss(scores, moved(torch.zeros(2, 9, 9, dtype=torch.uint8)))
        assert made.is_cuda and backward(made) == 1


@pytest.mark.parametrize(("one", "other"), REFUSED)
def test_what_is_left_out_is_refused(one, other):
    chosen = {"backbone": "tiny", "model": "fcn32s", "head": "linear", "modality": "rgb"}
    chosen["dense"] = "deconv_fixed"
    chosen |= {group: name for name in (one, other) for group in GROUPS if name in OPTIONS[group]}
    with pytest.raises(ConfigError), torch.device("meta"):
        build.build_net(configured(tuple(chosen[group] for group in GROUPS)), {"class": CLASSES})


def test_tensor_on_the_cpu_is_noticed(gpu):
    """Without this, none of the other tests would mean anything."""
    with gpu:
        on = torch.ones(2, 3, device="cuda", requires_grad=True)
        with pytest.raises(RuntimeError, match="cpu"):
            on + torch.ones(2, 3)
        with pytest.raises(RuntimeError, match="cpu"):
            on.index_select(1, torch.arange(2))
        gpu.waits()
        assert (on * 2).sum().item() == 0
        torch.arange(3).to(on.device)
        assert [wait.partition(" ")[0] for wait in gpu.waits()] == [
            "aten._local_scalar_dense.default",
            "aten._to_copy.default",
        ]
