"""Why a set of policies or a decision table is not accepted. Nothing of a refused set is ever in force."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend."""

    file: str
    line: int
    """Of the policy's first line, from 1; 0 when the whole file is meant."""
    policy: str
    """The policy's `@id`, or empty when it has none yet."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = f"policy `{self.policy}`: " if self.policy else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}: {subject}{self.message}{hint}"


class PolicyError(Exception):
    """The set is refused, with every problem found in it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TableError(Exception):
    """A decision table that cannot be run: bad TOML, an unknown key, a value of the wrong type."""
