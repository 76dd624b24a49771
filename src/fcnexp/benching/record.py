"""What a bench leaves: bench.json with every sample, BENCH.md with the tables for a page."""

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
    """A bench as far as it has come. facts: of the machine and the command, see `facts`."""

    folder: Path
    facts: dict[str, Any]
    parts: dict[str, list[Table]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self) -> None:
        """Write both files, each whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = {
            name: {"seconds": self.seconds.get(name), "tables": [t.plain() for t in tables]}
            for name, tables in self.parts.items()
        }
        text = json.dumps({**self.facts, "parts": parts}, indent=2)
        write_atomically(self.folder / JSON, text + "\n")
        write_atomically(self.folder / MARKDOWN, self.markdown())

    def markdown(self) -> str:
        """The page: where and when, then the tables of each part."""
        blocks = [self.header()]
        for name, tables in self.parts.items():
            blocks.append(f"### {name}\n")
            blocks += [table.markdown() for table in tables]
        return "\n".join(blocks)

    def header(self) -> str:
        """Machine, versions, date and command."""
        facts, computer = self.facts, self.facts["machine"]
        versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
        gpu = computer["gpu"] or "none, so that nothing is measured on one"
        device = facts["device"]
        return (
            f"{facts['date']}, on {computer['processor']}, {computer['cores']} cores, "
            f"{computer['memory_gib']:.0f} GiB of memory; GPU: {gpu}. Device: {device}, "
            f"{facts['threads']} threads. {versions}. `{facts['command']}`\n"
        )


def facts(
    *, command: str, settings: dict[str, Any], device: torch.device, date: str
) -> dict[str, Any]:
    """What a reader has to know to judge the numbers, and to repeat them."""
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
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": this_process.cores(),
        "memory_gib": psutil.virtual_memory().total / 2**30,
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """Name of the processor, as the system has it."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python and what numbers depend on; peers that are not installed are not in it."""
    found = {"Python": platform.python_version()}
    for name in (*PACKAGES, *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name not in PEERS:
                raise
    return found
