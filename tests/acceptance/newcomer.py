"""What a newcomer has: this installation's command, and the first demonstration."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OSTIARY = str(Path(sys.executable).parent / "ostiary")


@dataclass(frozen=True)
class Demonstration:
    """How the first run of `ostiary demo` in an empty home went."""

    environ: dict[str, str]
    done: subprocess.CompletedProcess[str]
    seconds: float
