"""Where a copy differs from what was fingerprinted: by name, without a value of a row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ostiary_tools.backup.manifest import Fingerprint, TablePrint
from ostiary_tools.backup.sequences import ends
from ostiary_tools.identifiers import one_line, quoted


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was."""

    name: str
    """What it is, and its quoted name, such as `table "public"."orders"`."""
    words: str
    """How it differs."""

    def __str__(self) -> str:
        return f"{one_line(self.name)}: {self.words}"


def compared(before: Fingerprint, after: Fingerprint) -> tuple[Difference, ...]:
    """All that differs, tables first; none when `after` is what `before` was. Names of databases make no difference.

    Both are to be of one way.
    """
    if before.way is not after.way:
        raise ValueError("prints of two ways are not compared")
    return (
        *_tables({_name(table): table for table in before.tables}, {_name(table): table for table in after.tables}),
        *_sequences(before.sequences, after.sequences),
        *_states(before.objects, after.objects),
        *_states(_extensions(before), _extensions(after)),
    )


def _name(table: TablePrint) -> str:
    return f"table {quoted(table.schema)}.{quoted(table.table)}"


def _tables(before: Mapping[str, TablePrint], after: Mapping[str, TablePrint]) -> Iterator[Difference]:
    for name, was in before.items():
        now = after.get(name)
        if now is None:
            yield Difference(name, "is missing")
        elif now.rows != was.rows:
            yield Difference(name, f"{was.rows:,} rows before, {now.rows:,} now")
        elif now.sum != was.sum:
            yield Difference(name, f"as many rows as before ({was.rows:,}), and not the same")
    yield from (Difference(name, "was not there") for name in after if name not in before)


def _sequences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """What a sequence may have stood at is a span; two that have something in common agree."""
    for name, was in before.items():
        if name not in after:
            yield Difference(f"sequence {name}", "is missing")
        else:
            (low, high), (now_low, now_high) = ends(was), ends(after[name])
            if max(low, now_low) > min(high, now_high):
                yield Difference(f"sequence {name}", f"stands at {after[name]}, and stood at {was}")
    yield from (Difference(f"sequence {name}", "was not there") for name in after if name not in before)


def _states(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for name, was in before.items():
        if name not in after:
            yield Difference(name, "is missing")
        elif after[name] != was:
            yield Difference(name, "is not what it was")
    yield from (Difference(name, "was not there") for name in after if name not in before)


def _extensions(fingerprint: Fingerprint) -> Mapping[str, str]:
    return {f"extension {quoted(name)}": version for name, version in fingerprint.extensions.items()}
