"""Export a net for other programs: `python -m fcnexp.export checkpoint=... output=fcn.onnx`."""

from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig

from fcnexp import label_type
from fcnexp.errors import ConfigError, ExportError
from fcnexp.system.atomic import digest, make_folder
from fcnexp.system.places import short

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "state_dict": ".pt"}
SUFFIXES |= {"safetensors": ".safetensors"}
TENSORS = ("state_dict", "safetensors")  # formats without the program


def export(cfg: DictConfig, folder: Path) -> None:
    """Write the file, check it, and report how much it differs from the net. Raises UserError."""
    from fcnexp.config.schema import ExportConfig
    from fcnexp.config.values import typed

    cfg = typed(cfg, ExportConfig)
    path = output_path(cfg, folder)

    from fcnexp import restore  # slow to import, so only after the checks
    from fcnexp.exporting import formats
    from fcnexp.exporting.stored import AsStored
    from fcnexp.nn.weights.checkpoints import read_checkpoint

    stored = read_checkpoint(cfg.checkpoint)
    net, recipe = restore.net_of(stored, cfg.checkpoint)
    stored_net = AsStored(net, recipe, labels=cfg.labels)
    source = {
        "name": Path(cfg.checkpoint).name,
        "sha256": digest(Path(cfg.checkpoint).expanduser()),
    }
    facts = formats.facts_of(net, recipe, stored["fcnexp"], source)
    if cfg.format == "state_dict":
        formats.write_state_dict(path, net, facts)
        report = "plain tensors; torch.load reads them with weights_only=True"
    elif cfg.format == "safetensors":
        formats.write_shared(path, net, facts, stored["fcnexp"])
        report = "tensors; evaluate, predict, init=checkpoint and fcnexp.load read it"
    else:
        write = formats.write_onnx if cfg.format == "onnx" else formats.write_program
        report = write(path, stored_net, facts)
    print(f"{short(path)}: {report}")
    if cfg.card:
        from fcnexp.reporting.card import write_card

        card = path.with_name("README.md")
        write_card(card, path, Path(cfg.checkpoint).expanduser(), facts, cfg.licence)
        print(f"{short(card)}: model card; add what you know of the data's licence and its limits")
    for name, kind in facts["takes"].items():
        print(f"  takes {name}: {kind}")
    counts = [*net.outputs.values()]
    kinds = [f"float32 (N, {count}, H, W)" for count in counts]
    kinds += [f"{label_type(count)} (N, H, W)" for count in counts]
    given = zip(stored_net.outputs, kinds, strict=False)
    print(f"  gives {'; '.join(f'{name}: {kind}' for name, kind in given)}")


def output_path(cfg: DictConfig, folder: Path) -> Path:
    """Return the file to write. Raises UserError if it is not possible or options conflict."""
    if cfg.format not in SUFFIXES:
        raise ConfigError(f"format={cfg.format}: allowed are {', '.join(SUFFIXES)}")
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if cfg.format == "onnx" and missing:
        raise ExportError(
            f"format=onnx: {', '.join(missing)} is not installed; pip install -e '.[export]'"
        )
    if cfg.format == "safetensors" and find_spec("safetensors") is None:
        raise ExportError("format=safetensors: not installed; pip install -e '.[export]'")
    if cfg.labels and cfg.format in TENSORS:
        raise ConfigError(
            f"labels=true: format={cfg.format} has no labels; try labels=false, format=onnx"
        )
    suffix = SUFFIXES[cfg.format]
    path = folder / (Path(cfg.checkpoint).stem + suffix)
    if cfg.output is not None:
        path = Path(cfg.output).expanduser()
    if path.suffix != suffix:
        raise ConfigError(
            f"output={path}: a file of format={cfg.format} must end in {suffix}; try "
            f"output={path / 'fcn' if path.is_dir() else path.with_suffix('')}{suffix}"
        )
    if path.exists() and not cfg.overwrite:
        raise ConfigError(f"output={path}: this file exists; choose another, or set overwrite=true")
    if cfg.card and (card := path.with_name("README.md")).exists() and not cfg.overwrite:
        raise ConfigError(
            f"card=true: {card} exists; choose an output in another folder, or set overwrite=true"
        )
    make_folder(path.parent)
    return path


def main() -> None:
    """Entry point."""
    from fcnexp.cli import entry

    entry.run(export, "export")


if __name__ == "__main__":
    main()
