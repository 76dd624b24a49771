"""Lay a net open: `python -m fcnexp.explain model=fcn8s backbone=vgg16 size=[500,500]`.

Or one layer, with a picture: `python -m fcnexp.explain layer=transposed layer.kernel=4`.
"""

from pathlib import Path

from omegaconf import DictConfig

from fcnexp.errors import ConfigError


def explain(cfg: DictConfig, folder: Path) -> None:
    """Print a net's maps, crops and totals, or one layer's arithmetic. Raises UserError."""
    from fcnexp.config import check
    from fcnexp.schema import ExplainConfig

    cfg = check(cfg, ExplainConfig)
    if cfg.layer is not None:
        explain_layer(cfg, folder)
        return
    size = list(cfg.size)
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"size={size}: height and width, both 1 or more, say size=[375,500]")
    explain_net(cfg, (size[0], size[1]))


def explain_net(cfg: DictConfig, size: tuple[int, int]) -> None:
    """Print every map of the net, each crop's derivation, and totals beside the paper's."""
    from fcnexp import build
    from fcnexp.nn.fcn import SkipNet
    from fcnexp.nn.original import counts
    from fcnexp.nn.trace import trace
    from fcnexp.reporting import maps as tables
    from fcnexp.reporting.paper import TABLE1

    net, inputs = build.on_meta(cfg, build.outputs_of(build.part(cfg, "data")), size)
    maps = trace(net, inputs)
    tables.print_maps(maps)
    if cfg.crops:
        print("\n".join(["Crops", *tables.derive_crops(maps), ""]))
    scorer = next(iter(net.scorers().values()))
    name = type(scorer.backbone).__name__
    paper = TABLE1.get(name) if isinstance(scorer, SkipNet) else None  # no others in that table
    tables.print_totals(maps, counts(net), name, paper)


def explain_layer(cfg: DictConfig, folder: Path) -> None:
    """Print one layer's arithmetic and draw which input cell feeds which output cell."""
    from fcnexp import build
    from fcnexp.nn.arithmetic import derivation
    from fcnexp.reporting.layer_pictures import draw_layer

    layer = build.part(cfg, "layer")
    path = folder / f"{layer.kind}.png"
    try:
        draw_layer(layer, path)
    except ValueError as error:
        raise ConfigError(f"layer: {error}") from None
    print("\n".join(derivation(layer)))
    print(f"picture {path}")


def main() -> None:
    """Entry point."""
    from fcnexp import cli

    cli.run(explain, "explain")


if __name__ == "__main__":
    main()
