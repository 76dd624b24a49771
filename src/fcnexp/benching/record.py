"""Record of a bench: bench.json with every sample, and BENCH.md with the tables."""

import importlib.metadata
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fcnexp.benching.tables import Table
from fcnexp.system import this_process
from fcnexp.system.atomic import write_atomically

JSON, MARKDOWN = "bench.json", "BENCH.md"
PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "scipy")
PEERS = ("torchfcn",)


@dataclass
class Record:
    """Results of a benchmark so far. facts: about the machine and the command, see `facts`."""

    folder: Path
    facts: dict[str, Any]
    parts: dict[str, list[Table]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self) -> None:
        """Write both files atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = {
            name: {"seconds": self.seconds.get(name), "tables": [t.plain() for t in tables]}
            for name, tables in self.parts.items()
        }
        text = json.dumps({**self.facts, "parts": parts}, indent=2)
        write_atomically(self.folder / JSON, text + "\n")
        write_atomically(self.folder / MARKDOWN, self.markdown())

    def markdown(self) -> str:
        """Return the page: the header, then the tables of each part."""
        blocks = [self.header()]
        for name, tables in self.parts.items():
            blocks.append(f"### {name}\n")
            blocks += [table.markdown() for table in tables]
        return "\n".join(blocks)

    def header(self) -> str:
        """Return a line with date, machine, versions and command."""
        facts, computer = self.facts, self.facts["machine"]
        versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
        return (
            f"{facts['date']}, on {computer['processor']}, {computer['cores']} cores, "
            f"{computer['memory_gib']:.0f} GiB of memory; GPU: {computer['gpu'] or 'none'}. "
            f"Device: {facts['device']}, {facts['threads']} threads. {versions}. "
            f"`{facts['command']}`\n"
        )


def facts(
    *, command: str, settings: dict[str, Any], device: torch.device, date: str
) -> dict[str, Any]:
    """Return what a reader needs to judge and to reproduce the numbers."""
    return {
        "date": date,
        "command": command,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "machine": computer(),
        "versions": versions(),
        "settings": settings,
    }


def computer() -> dict[str, Any]:
    """Processor, cores, memory and GPU of this machine."""
    import psutil

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": this_process.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": this_process.cores(),
        "memory_gib": psutil.virtual_memory().total / 2**30,
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, with installed peers."""
    found = {"Python": platform.python_version()}
    for name in (*PACKAGES, *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name not in PEERS:
                raise
    return found
