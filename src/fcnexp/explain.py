"""Explain a net: `python -m fcnexp.explain model=fcn8s backbone=vgg16 size=[500,500]`.

Or one layer, with a drawing: `python -m fcnexp.explain layer=transposed layer.kernel=4`.
Or draw a figure on an image: `python -m fcnexp.explain figure=receptive_field image=PHOTO`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from fcnexp.errors import ConfigError
from fcnexp.system.places import short

FIGURES = ("receptive_field", "class_maps", "fusion")

if TYPE_CHECKING:
    from torch import Tensor

    from fcnexp.nn.streams import Network
    from fcnexp.task.module import SegmentationTask


def explain(cfg: DictConfig, folder: Path) -> None:
    """Explain a net, a layer, or a net on an image, as the config asks. Raises UserError."""
    from fcnexp.config.checks import check
    from fcnexp.config.schema import ExplainConfig

    cfg = check(cfg, ExplainConfig)
    if cfg.layer is not None and cfg.figure is not None:
        raise ConfigError("layer and figure cannot be combined; leave one of them out")
    if cfg.layer is not None:
        explain_layer(cfg, folder)
        return
    if cfg.figure is not None:
        explain_figure(cfg, folder)
        return
    for key in ("image", "checkpoint", "output"):
        if cfg[key] is not None:
            options = "|".join(FIGURES)
            raise ConfigError(f"{key}={cfg[key]} is only used by a figure; add figure={options}")
    size = list(cfg.size)
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"size={size}: must be height and width, 1 or more; try size=[375,500]")
    explain_net(cfg, (size[0], size[1]))


def explain_net(cfg: DictConfig, size: tuple[int, int]) -> None:
    """Print every map of the net, each crop's derivation, and totals next to the paper's."""
    from fcnexp import build
    from fcnexp.config.whole_nets import is_whole
    from fcnexp.explaining import map_table as tables
    from fcnexp.nn.fcn import SkipNet
    from fcnexp.nn.inspection.trace import trace
    from fcnexp.nn.weights.caffe_names import counts
    from fcnexp.nn.whole.counting import multiply_adds, parameters_by_part
    from fcnexp.papers.published import TABLE1

    net, inputs = build.on_meta(cfg, build.outputs_of(build.part(cfg, "data")), size)
    if is_whole(cfg):
        tables.print_whole(size, parameters_by_part(net), multiply_adds(net, inputs))
        return
    maps = trace(net, inputs)
    tables.print_maps(maps)
    if cfg.crops:
        print("\n".join(["Crops", *tables.derive_crops(maps), ""]))
    scorer = next(iter(net.scorers().values()))
    name = type(scorer.backbone).__name__
    paper = TABLE1.get(name) if isinstance(scorer, SkipNet) else None  # table 1 has FCNs only
    tables.print_totals(maps, counts(net), name, paper)


def explain_layer(cfg: DictConfig, folder: Path) -> None:
    """Print one layer's arithmetic and draw which input cell feeds which output cell."""
    from fcnexp import build
    from fcnexp.explaining.layer_drawings import draw_layer
    from fcnexp.nn.inspection.arithmetic import derivation

    layer = build.part(cfg, "layer")
    path = folder / f"{layer.kind}.png"
    try:
        draw_layer(layer, path)
    except ValueError as error:
        raise ConfigError(f"layer: {error}") from None
    print("\n".join(derivation(layer)))
    print(f"picture {short(path)}")


def explain_figure(cfg: DictConfig, folder: Path) -> None:
    """Draw one figure on an image and print its content as text. Raises UserError."""
    from fcnexp import build, restore
    from fcnexp.data.files import read_rgb
    from fcnexp.explaining import figures
    from fcnexp.nn.weights.checkpoints import read_checkpoint
    from fcnexp.nn.whole.parts import WholeNet
    from fcnexp.system.atomic import make_folder

    figure = build.part(cfg, "figure")
    if cfg.image is None:
        raise ConfigError("image: required for a figure, but not given; add image=PHOTO")
    rgb = read_rgb(Path(cfg.image).expanduser(), upright=True, own=True)
    path = Path(cfg.output).expanduser() if cfg.output else folder / f"{figure.name}.png"
    if path.suffix != ".png":
        raise ConfigError(f"output={cfg.output}: the name of the file must end in .png")
    make_folder(path.parent)
    task = None
    if cfg.checkpoint is not None:
        task = restore.task_of(read_checkpoint(cfg.checkpoint), cfg.checkpoint)
        refuse_other_fields(task.recipe.fields, f"checkpoint={cfg.checkpoint}")
    if isinstance(figure, figures.ClassMaps):
        lines = figure.draw(path, rgb)
    elif isinstance(figure, figures.FusionStages):
        if task is None:
            raise ConfigError(
                "checkpoint: required for figure=fusion, but not given; add "
                "checkpoint=RUN/checkpoints/last.ckpt"
            )
        lines = figure.draw(path, rgb, task)
    else:
        net, inputs, measured = net_on(cfg, rgb, task)
        if any(isinstance(scorer, WholeNet) for scorer in net.scorers().values()):
            raise ConfigError(
                f"figure={figure.name}: drawn from the geometry of an FCN's layers, but this is a "
                "whole net; choose model=fcn8s and a backbone, or a checkpoint of such a net"
            )
        lines = figure.draw(path, rgb, net, inputs, measured=measured)
    print("\n".join([*lines, f"picture {short(path)}"]))


def net_on(
    cfg: DictConfig, rgb: "Tensor", task: "SegmentationTask | None"
) -> tuple["Network", dict[str, "Tensor"], bool]:
    """Return a net, its input from an image, and whether it has weights.

    Weights come from a checkpoint or `init`. Without weights, net and input are on the meta device.
    """
    import torch

    from fcnexp import build

    size = (rgb.shape[1], rgb.shape[2])
    fresh = OmegaConf.select(cfg, "init._target_") == "fcnexp.nn.weights.init.scratch"
    if task is None and fresh:
        net, inputs = build.on_meta(cfg, build.outputs_of(build.part(cfg, "data")), size)
        return net, inputs, False
    if task is not None:
        return task.net, task.recipe.apply({"rgb": rgb[None]}, torch.tensor([size])), True  # type: ignore[return-value]  # a Network
    net, recipe = build.build_net(cfg, build.outputs_of(build.part(cfg, "data")))
    refuse_other_fields(recipe.fields, "modality")
    build.first_weights(cfg, net)
    net.eval()
    return net, recipe.apply({"rgb": rgb[None]}, torch.tensor([size])), True


def refuse_other_fields(fields: Iterable[str], source: str) -> None:
    """Raise ConfigError if a net takes other fields than rgb."""
    if set(fields) != {"rgb"}:
        raise ConfigError(
            f"{source}: takes {', '.join(fields)}, but an image has only rgb; give another net"
        )


def main() -> None:
    """Entry point."""
    from fcnexp.cli import entry

    entry.run(explain, "explain")


if __name__ == "__main__":
    main()
