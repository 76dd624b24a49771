"""Schema of each command's config: keys and types. Defaults live in conf/."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Regime:
    """Optimiser, loss and batch, tuned together; see conf/regime."""

    steps: int = MISSING
    score_every: int = MISSING
    batch_size: int = MISSING
    accumulate: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    multipliers: dict[str, Any] = MISSING
    new_lr: float = MISSING
    clip: float | None = MISSING
    sampling: str = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING


@dataclass
class TrainerChoice:
    """Devices and number format; see conf/trainer."""

    accelerator: str = MISSING
    devices: int = MISSING
    precision: str = MISSING
    tf32: bool = MISSING
    deterministic: bool = MISSING
    compile: Any = MISSING
    activation_checkpointing: bool = MISSING
    threads: int | None = MISSING


@dataclass
class OpenTrainer(TrainerChoice):
    """The Trainer of a training: arguments of Lightning's own may be added, see `values.typed`."""


@dataclass
class WandbChoice:
    """A W&B run; see conf/logger/wandb.yaml."""

    project: str = MISSING
    entity: str | None = MISSING
    mode: str = MISSING
    checkpoint: str | None = None
    wait: float = MISSING


@dataclass
class Logging:
    """Where metrics go besides metrics.csv; see conf/logger."""

    wandb: WandbChoice | None = MISSING
    tensorboard: bool = MISSING
    images: int = MISSING
    side: int = MISSING
    others: dict[str, Any] = field(default_factory=dict)  # an own logger file need not have it


@dataclass
class EvaluateConfig:
    """Everything `evaluate` reads; see conf/evaluate.yaml."""

    data: dict[str, Any] = MISSING
    trainer: TrainerChoice = MISSING
    checkpoint: str = MISSING
    workers: int = MISSING
    score_batch: int = MISSING
    pictures: int = MISSING
    draw: list[str] = MISSING
    object_sizes: list[float] = MISSING
    trimap: list[int] | None = MISSING
    plain: Any = MISSING
    run: str | None = MISSING


@dataclass
class PredictConfig:
    """Everything `predict` reads; see conf/predict.yaml."""

    checkpoint: str | None = MISSING
    onnx: str | None = MISSING
    input: str = MISSING
    output: str | None = MISSING
    fields: dict[str, str | None] = MISSING
    overlay: bool = MISSING
    beside: bool = MISSING
    save_scores: bool = MISSING
    device: str = MISSING
    memory: str | None = MISSING
    plain: Any = MISSING


@dataclass
class ExportConfig:
    """Everything `export` reads; see conf/export.yaml."""

    checkpoint: str = MISSING
    format: str = MISSING
    output: str | None = MISSING
    labels: bool = MISSING
    overwrite: bool = MISSING
    card: bool = MISSING
    licence: str | None = MISSING


@dataclass
class PrepareConfig:
    """Everything `prepare` reads; see conf/prepare.yaml."""

    data: dict[str, Any] = MISSING
    task: str = MISSING
    archive: str | None = MISSING
    sbd_archive: str | None = MISSING
    context_archive: str | None = MISSING
    digest: str | None = MISSING
    sbd_digest: str | None = MISSING
    context_digest: str | None = MISSING
    mat: str | None = MISSING
    depth: str | None = MISSING
    raw_depth: str | None = MISSING
    intrinsics: list[float] | None = MISSING
    unit: float = MISSING
    nodata: float | None = MISSING
    axes: str | None = MISSING
    rgb: list[int] | None = MISSING
    output: str | None = MISSING
    workers: int = MISSING
    fields: list[str] | None = MISSING
    pictures: int = MISSING


@dataclass
class Masking:
    """Which part of an image is hidden from the net in training and testing; see conf/masking."""

    train: str | None = MISSING
    test: str | None = MISSING


@dataclass
class RunConfig:
    """Everything `train` reads. Defaults live in conf/, types here."""

    data: dict[str, Any] = MISSING
    modality: dict[str, Any] = MISSING
    augment: dict[str, Any] = MISSING
    backbone: dict[str, Any] = MISSING
    head: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    dense: dict[str, Any] = MISSING
    init: dict[str, Any] = MISSING
    regime: Regime = MISSING
    masking: Masking = MISSING
    trainer: OpenTrainer = MISSING
    logger: Logging = MISSING
    callbacks: dict[str, Any] = MISSING
    seed: int = MISSING
    workers: int = MISSING
    score_batch: int = MISSING
    pictures: int = MISSING
    resume: Any = MISSING
    keep_best: bool = MISSING
    dry_run: bool = MISSING
    fail_fast: bool = MISSING
    plain: Any = MISSING
    paper: dict[str, Any] | None = MISSING
    scale: str | None = MISSING


@dataclass
class ExplainConfig(RunConfig):
    """Everything `explain` reads: a run's config, and what to show; see conf/explain.yaml."""

    layer: dict[str, Any] | None = MISSING
    figure: dict[str, Any] | None = MISSING
    image: str | None = MISSING
    checkpoint: str | None = MISSING
    output: str | None = MISSING
    size: list[int] = MISSING
    crops: bool = MISSING
    # Keys that only training reads have defaults here, since an experiment may set them.
    masking: Masking = field(default_factory=lambda: Masking(train=None, test=None))
    callbacks: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    workers: int = 0
    score_batch: int = 1
    pictures: int = 0
    resume: Any = False
    keep_best: bool = False
    dry_run: bool = False
    fail_fast: bool = False
    plain: Any = None
    paper: dict[str, Any] | None = None
    scale: str | None = None


@dataclass
class DashboardConfig:
    """Everything `dashboard` reads; see conf/dashboard.yaml."""

    data: dict[str, Any] = MISSING
    task: str = MISSING
    entity: str | None = MISSING
    project: str = MISSING


@dataclass
class BoundsConfig:
    """Everything `bounds` reads; see conf/bounds.yaml."""

    data: dict[str, Any] = MISSING
    factors: list[int] = MISSING
    protocol: str = MISSING


@dataclass
class BenchConfig:
    """Everything `bench` reads; see conf/bench.yaml."""

    part: Any = MISSING  # a name, or a list of names
    device: str = MISSING
    threads: int | None = MISSING
    rounds: int = MISSING
    nets: list[str] = MISSING
    channels: int = MISSING
    size: list[int] = MISSING
    sizes: list[Any] = MISSING  # lists of two, which OmegaConf cannot type
    memory: bool = MISSING
    dense_size: list[int] = MISSING
    images: int = MISSING
    voc: str | None = MISSING
    sbd: str | None = MISSING
    nyud: str | None = MISSING
    sides: list[int] = MISSING
    batches: list[int] = MISSING
    workers: list[int] = MISSING
    steps: int = MISSING
