"""Build the objects that a config names. Connections between config groups are made here."""

import functools
import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fcnexp.config.hydra_versions import whitelist
from fcnexp.config.overrides import checked
from fcnexp.config.values import to_plain
from fcnexp.config.whole_nets import is_whole, refuse_lone_images
from fcnexp.data.classes import Classes
from fcnexp.data.fit import outputs_of, refuse_missing_field, takes
from fcnexp.data.splits import DataSet
from fcnexp.errors import ConfigError
from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import EDGES, Upsampling, channels_last
from fcnexp.nn.fcn import FCN
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import LateFusion, Network, Stream
from fcnexp.nn.weights.checkpoints import CHECKPOINT_VERSION, parent_weights
from fcnexp.nn.weights.init import refuse_untrained_scores
from fcnexp.run.ranks import divided, share_batches
from fcnexp.scoring.tasks import tasks_of
from fcnexp.task.optim import parameter_groups

if TYPE_CHECKING:  # Lightning takes 300 MB and seconds, which a net alone does not need
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.task.module import SegmentationTask

log = logging.getLogger(__name__)

NET_PARTS = ("modality", "backbone", "head", "model", "dense")  # stored in checkpoints


def network(overrides: Sequence[str]) -> Network:
    """Build the net that `train` would build with these overrides, on the CPU, in eval mode.

    Its forward takes inputs in network space by field, e.g. {"rgb": (N, 3, H, W) BGR minus mean},
    "depth" (N, 1, H, W) log depth minus mean, "hha" (N, 3, H, W) minus mean, "bands" (N, C, H, W)
    standardised, and returns scores (N, K, H, W). No data set is opened. Raises UserError.
    """
    cfg = checked(overrides)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(cfg.seed)
        net, _ = build_net(cfg, outputs_of(part(cfg, "data")))
        first_weights(cfg, net)
    return net.eval()


def part(cfg: DictConfig, name: str, *wires: Any, **settings: Any) -> Any:
    """Instantiate the `_target_` of one config node, then call it with the wires, if any.

    settings: replace values of the node. Raises ConfigError if the part rejects its values.
    """
    try:
        node = OmegaConf.select(cfg, name)
        made = instantiate(node, _convert_="all", **whitelist(node), **settings)
        return made(*wires) if wires else made
    except Exception as error:  # Hydra wraps whatever the constructor raised
        cause = error.__cause__ or error
        refused = isinstance(cause, ValueError | TypeError | ImportError)
        if refused or type(cause).__name__ == "MisconfigurationException":  # Lightning's
            raise ConfigError(f"{name}: {cause}") from None
        raise


def parts(cfg: DictConfig, node: str) -> list[Any]:
    """Instantiate the entries of a node, such as `callbacks`, without null. Raises ConfigError."""
    named = OmegaConf.select(cfg, node)
    return [part(cfg, f"{node}.{name}") for name, each in named.items() if each is not None]


def build_net(cfg: DictConfig, outputs: dict[str, int]) -> tuple[Network, InputRecipe]:
    """Build the net, with torch's default weights, and its input recipe.

    outputs: number of classes by task. Raises ConfigError if the parts do not fit together.
    """
    recipe = part(cfg, "modality")
    num_classes = sum(outputs.values())
    streams = {
        stream[0]: build_scorer(cfg, recipe.channels(stream), num_classes)
        for stream in recipe.streams
    }
    first = next(iter(streams.values()))
    channels = tuple(recipe.channels(stream) for stream in recipe.streams)
    scorer = LateFusion(streams, channels) if len(streams) > 1 else first
    settings = {"edges": edges_of(cfg, first.backbone)} if "edges" in cfg.dense else {}
    dense = part(cfg, "dense", num_classes, scorer, **settings)
    net = Network(FCN(scorer, dense), recipe.streams, outputs)
    check_learned(cfg, net)
    return channels_last(net), recipe


def check_learned(cfg: DictConfig, net: Network) -> None:
    """Raise ConfigError if an interpolation learns that must not; log if none can learn."""
    learned = cfg.dense.get("learned", "none")
    kernels = [module for module in net.modules() if isinstance(module, Upsampling)]
    if not any(kernel.learned for kernel in kernels):
        if learned != "none":
            log.info(
                "dense.learned=%s: no effect, since this net has no skips to interpolate", learned
            )
        if not list(net.net.dense.parameters()):
            return
    if cfg.model.get("trained") == "scores":
        raise ConfigError(
            "model.trained=scores: trains only the score layers, but this dense part learns too; "
            "choose dense=deconv_fixed"
        )
    if len(net.outputs) > 1:
        raise ConfigError(
            f"dense: a learned interpolation would mix the tasks {', '.join(net.outputs)}; "
            "choose dense=deconv_fixed"
        )


def build_scorer(cfg: DictConfig, in_channels: int, num_classes: int) -> Stream:
    """Build trunk, head and decoder of one stream. Raises ConfigError if they do not fit."""
    if is_whole(cfg):
        return part(cfg, "model", in_channels, num_classes)
    backbone = part(cfg, "backbone", in_channels)
    head = functools.partial(part, cfg, "head", backbone)
    learned = cfg.dense.get("learned", "none") != "none"
    upsampling = functools.partial(Upsampling, edges=edges_of(cfg, backbone), learned=learned)
    between = (upsampling,) if "skips" in cfg.model else ()
    return part(cfg, "model", backbone, head, num_classes, *between)


def edges_of(cfg: DictConfig, backbone: Backbone) -> str:
    """How upsampling continues a score map beyond its border. Raises ConfigError."""
    edges = cfg.dense.get("edges") or ("zeros" if backbone.pads_image else "repeat")
    if edges not in EDGES:
        raise ConfigError(f"dense.edges={edges}: allowed are null, {' and '.join(EDGES)}")
    return edges


def first_weights(cfg: DictConfig, net: Network, data: DataSet | None = None) -> list[Tensor]:
    """Initialise the net as `init` says; return the tensors that stay new. Raises WeightsError."""
    target, named = cfg.init.get("_target_"), {}
    if target and "class_names" in inspect.signature(get_object(target)).parameters:
        named["class_names"] = list((data or part(cfg, "data")).class_names)
    return part(cfg, "init", net, part(cfg, "modality"), **named)


def build_data(cfg: DictConfig) -> "SegmentationData":
    """Build the DataModule of a run; no file is opened yet. Raises ConfigError."""
    from fcnexp.data.datamodule import SegmentationData

    try:
        return SegmentationData(
            part(cfg, "data"),
            part(cfg, "augment"),
            fields=takes(part(cfg, "modality").fields, cfg.augment),
            batch_size=divided(cfg).batch_size,
            score_batch=cfg.score_batch,
            num_workers=cfg.workers,
            seed=cfg.seed,
            sampling=cfg.regime.sampling,
            block=divided(cfg).block,
        )
    except ValueError as error:
        raise ConfigError(f"regime: {error}") from None


def build_loss(cfg: DictConfig, num_classes: int, weights: list[float] | None) -> nn.Module:
    """Build the regime's loss of one task. Raises ConfigError.

    weights: of the classes, if `balance` names a rule to compute them; else None.
    """
    asked = cfg.regime.loss.get("balance") if weights is None else weights
    if asked is not None and len(asked) != num_classes:
        raise ConfigError(
            f"regime.loss.balance: has {len(asked)} weights, but the data set has {num_classes} "
            "classes; give one weight per class, or inverse, median or null"
        )
    settings = {} if weights is None else {"balance": weights}
    return share_batches(part(cfg, "regime.loss", **settings), divided(cfg))


def build_losses(cfg: DictConfig, data: DataSet, weights: list[float] | None) -> list[nn.Module]:
    """Build the regime's loss for each task. Raises ConfigError.

    weights: as of `build_loss`, of the classes of all tasks.
    """
    tasks = tasks_of(data.class_names, outputs_of(data))
    given = cfg.regime.loss.get("balance") if weights is None else weights
    if len(tasks) == 1 or given is None or len(given) != len(data.class_names):
        return [build_loss(cfg, len(data.class_names), weights)] * len(tasks)
    return [build_loss(cfg, len(t.classes), list(given)[t.place]) for t in tasks]


def build_task(
    cfg: DictConfig, data: DataSet, weights: list[float] | None = None
) -> "SegmentationTask":
    """Build the task: the net with its first weights, and everything that training needs.

    weights: of the classes of all tasks, if `regime.loss.balance` is a rule. Raises UserError.
    """
    from fcnexp.task.module import SegmentationTask

    outputs = outputs_of(data)
    net, recipe = build_net(cfg, outputs)
    refuse_missing_field(data, recipe.fields)
    regime, division = cfg.regime, divided(cfg)
    new = first_weights(cfg, net, data)
    if not regime.steps:
        refuse_untrained_scores(net, new, cfg.init.get("path"))
    groups = parameter_groups(
        net,
        new=new,
        scores=net.score_layers(),
        lr=regime.lr,
        weight_decay=regime.weight_decay,
        multipliers=to_plain(regime.multipliers),
        new_lr=regime.new_lr,
    )
    return SegmentationTask(
        net,
        recipe,
        data.class_names,
        outputs=outputs,
        loss=build_losses(cfg, data, weights),
        groups=groups,
        optimizer=part(cfg, "regime.optimizer"),
        schedule=part(cfg, "regime.schedule"),
        seed=cfg.seed,
        passes_per_step=division.accumulate,
        passes_whole=division.passes_whole,
        masking=to_plain(cfg.masking),
        facts=net_facts(cfg, recipe, data),
    )


def net_facts(cfg: DictConfig, recipe: InputRecipe, data: DataSet) -> dict[str, Any]:
    """Content of a checkpoint besides weights, as plain values that load without pickle."""
    from fcnexp.run.trainers import machine

    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {
        "version": CHECKPOINT_VERSION,
        "config": {name: plain[name] for name in (*NET_PARTS, "data")},
        "recipe": recipe.facts(),
        "precision": machine(cfg)["precision"],
        "class_names": list(data.class_names),
        "outputs": outputs_of(data),
        "masking": plain["masking"],
    }


def refuse_unrelated_stages(configs: Sequence[DictConfig]) -> None:
    """Raise ConfigError or WeightsError if a stage's net cannot start from the previous one."""
    parent: Network | None = None
    for cfg in configs:
        net = on_meta(cfg, outputs_of(part(cfg, "data")), size=(65, 97))[0]
        if parent is not None:
            tensors = {f"net.{name}": tensor for name, tensor in parent.state_dict().items()}
            parent_weights(net, {"state_dict": tensors}, "init=staged")
        parent = net


def dry_run(cfg: DictConfig) -> None:
    """Build every part, and run shapes through the net on the meta device.

    No file is opened. Raises ConfigError, and DataError if the data set has no images.
    """
    from fcnexp.run.trainers import machine

    data = build_data(cfg).data
    if isinstance(data, Classes):
        data.val(())  # raises: it has no images
    refuse_missing_field(data, part(cfg, "modality").fields)
    classes = len(data.class_names)
    by_rule = isinstance(cfg.regime.loss.get("balance"), str)
    build_losses(cfg, data, [1.0] * classes if by_rule else None)
    part(cfg, "regime.optimizer")
    part(cfg, "regime.schedule")
    machine(cfg)
    net, inputs = on_meta(cfg, outputs_of(data), size=(65, 97))
    refuse_lone_images(cfg, net, inputs)
    count = f"{sum(parameter.numel() for parameter in net.parameters()):,}"
    log.info("config is fine: a net of %s parameters, %d classes", count, classes)


def on_meta(
    cfg: DictConfig, outputs: dict[str, int], size: tuple[int, int]
) -> tuple[Network, dict[str, Tensor]]:
    """Build the net on the meta device and run it once; return the net and its inputs."""
    with torch.device("meta"):
        net, recipe = build_net(cfg, outputs)
        inputs = {n: torch.zeros(1, f.channels, *size) for n, f in recipe.fields.items()}
        net.eval()(inputs)
    return net, inputs
