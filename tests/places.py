"""Where tests find what lies beside the project."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
