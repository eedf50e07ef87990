"""The proposal: tags in the form that the configuration reads, for a person to judge and copy. It is in force nowhere."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ostiary_tools.classification.column import Evidence
from ostiary_tools.classification.detection import detect
from ostiary_tools.classification.sampling import RUNS, Sample

_HEAD = """\
# Tags that `ostiary classify` proposes. None is in force: judge each, and copy what you agree to into the configuration.
# Above each line stands why: how many of the sampled values look so, and whether the column's name says it.
"""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Tags for one column."""

    schema: str
    table: str
    column: str
    evidence: tuple[Evidence, ...]
    in_force: frozenset[str]
    """Tags that it has already, by the configuration, by a comment, or by its table."""

    @property
    def path(self) -> str:
        """As the configuration names it."""
        return f"{self.schema}.{self.table}.{self.column}"

    @property
    def tags(self) -> tuple[str, ...]:
        """What is found, in order, each once."""
        return tuple(dict.fromkeys(one.tag for one in self.evidence))

    @property
    def is_new(self) -> bool:
        """Whether a tag is proposed that is not in force."""
        return not self.in_force.issuperset(self.tags)

    @property
    def nameable(self) -> bool:
        """Whether the configuration can name it: a dot parts its names."""
        return not any("." in name for name in (self.schema, self.table, self.column))


@dataclass(frozen=True, slots=True)
class Unread:
    """A relation, or a column of one, of which no value was looked at."""

    schema: str
    table: str
    column: str
    """Empty for all of them."""
    why: str

    @property
    def path(self) -> str:
        """For people."""
        return ".".join(part for part in (self.schema, self.table, self.column) if part)


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that is proposed for one datasource."""

    datasource: str
    columns: tuple[Proposed, ...]
    unread: tuple[Unread, ...]
    relations: int
    """How many were looked at."""


def judged(sample: Sample) -> tuple[Proposed, ...]:
    """What one relation's columns seem to need. It computes for as long as a second: not for the event loop."""
    relation = sample.relation
    return tuple(
        Proposed(relation.schema, relation.name, info.name, evidence, info.tags | relation.tags)
        for info, sampled in zip(relation.columns, sample.columns, strict=True)
        if (evidence := detect(sampled))
    )


def unread(sample: Sample) -> tuple[Unread, ...]:
    """What of one relation was not looked at."""
    relation = sample.relation
    if sample.unread:
        return (Unread(relation.schema, relation.name, "", sample.unread),)
    return tuple(Unread(relation.schema, relation.name, column.name, RUNS) for column in relation.columns if column.runs)


def written(proposals: Sequence[Proposal]) -> str:
    """The file. Names are escaped, so that none can end its line or repaint a terminal."""
    return _HEAD + "".join(f"\n{line}\n" if line.startswith("[") else f"{line}\n" for one in proposals for line in _lines(one))


def _lines(proposal: Proposal) -> Iterator[str]:
    yield f"[datasources.{proposal.datasource}.tags]"
    for column in proposal.columns:
        yield f"# {'; '.join(map(str, column.evidence))}{'' if column.is_new else '; in force already'}"
        line = f"{_escaped(column.path)} = [{', '.join(map(_escaped, column.tags))}]"
        if not column.nameable:
            yield "# the configuration cannot name it, for a name with a dot; write a comment in the database instead:"
        yield line if column.is_new and column.nameable else f"# {line}"
    for one in proposal.unread:
        yield f"# {_escaped(one.path)}: by name and type alone, for {one.why}"


def _escaped(text: str) -> str:
    """A basic string of TOML in which every character is printable."""
    return "".join(
        letter if letter.isprintable() else f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"  # noqa: PLR2004
        for letter in json.dumps(text, ensure_ascii=False)
    )
