"""Changes of a schema looked at before they run: their steps, the locks they take, the way back, and safer ways."""

from ostiary_tools.evolution.advice import Advice, advise
from ostiary_tools.evolution.linter import Finding, LockMode, Verdict, lint
from ostiary_tools.evolution.reverse import Reverse, reverse
from ostiary_tools.evolution.steps import Change, Step, read

__all__ = ["Advice", "Change", "Finding", "LockMode", "Reverse", "Step", "Verdict", "advise", "lint", "read", "reverse"]
