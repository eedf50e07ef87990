"""Verified examples on disk: `*.toml` files of one folder, which people review like code.

    [[example]]
    question = "How many orders are open?"
    datasource = "shop"
    sql = "select count(*) from orders where status = 'pending'"
    note = "An order is open until it is paid."

`note` may be left out. Files are read and judged as one set: with a problem in any of them, none is taken.
"""

import asyncio
import hashlib
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary.redaction import printable
from ostiary_tools.examples import Example

_MOST_BYTES = 1_000_000
"""Of a file. They are read whole and often; no pipe or device is read at all."""
_MOST = 2_000
"""Examples in all files."""
_FIELDS = {"question": 2_000, "datasource": 200, "sql": 20_000, "note": 1_000}
"""The longest each may be."""
_HEADER = re.compile(r"\s*\[\[\s*example\s*\]\]\s*(#.*)?")
_ANYONE = stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend."""

    file: str
    line: int
    """From one; 0 when the whole file is meant."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class ExampleError(Exception):
    """The files are not taken, with every problem found in them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Found:
    """The files at one look."""

    texts: Mapping[str, str]
    """By name; of those that could be read."""
    problems: tuple[Problem, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for the same names and texts."""
        told = "".join(f"{len(part)}:{part}" for item in sorted(self.texts.items()) for part in item)
        return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"


class ExampleSet:
    """The examples in force. Only `put_in_force` changes them, all at once and for calls that begin afterwards."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.found = Found({})
        """What is in force."""
        self.refused = ""
        """Why what is in the files is not in force, in a sentence; empty while it is."""
        self._examples: Mapping[str, tuple[Example, ...]] = {}

    def of(self, datasource: str) -> tuple[Example, ...]:
        """Those of the datasource."""
        return self._examples.get(datasource, ())

    def look(self) -> Found:
        """Read the files again; blocks for as long as the file system does."""
        return files_in(self.directory)

    def put_in_force(self, found: Found, examples: Iterable[Example]) -> None:
        """Show them from now on."""
        by_source: dict[str, list[Example]] = {}
        for example in examples:
            by_source.setdefault(example.datasource, []).append(example)
        self._examples = {name: tuple(of) for name, of in by_source.items()}
        self.found, self.refused = found, ""


async def load(directory: Path | None) -> ExampleSet:
    """The examples of the folder; none, and `refused` says why, where its files cannot be taken."""
    examples = ExampleSet(directory)

    def read() -> None:
        found = examples.look()
        try:
            examples.put_in_force(found, judged(found))
        except ExampleError as error:
            examples.refused = told(error)

    await asyncio.to_thread(read)
    return examples


def told(error: ExampleError) -> str:
    """The first problem, and how many more there are."""
    more = f"; and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
    return f"{error.problems[0]}{more}"


def files_in(directory: Path | None) -> Found:
    """Read the `*.toml` files of the folder. One that does not exist holds none."""
    problems: list[Problem] = []
    try:
        if directory is not None and directory.stat().st_mode & _ANYONE:
            return Found({}, (Problem(str(directory), 0, "anyone can put examples there; run `chmod o-w` on the folder"),))
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".toml") if directory is not None else []
    except FileNotFoundError:
        paths = []
    except OSError as error:
        return Found({}, (Problem(str(directory), 0, f"the folder of examples cannot be read: {_why(error)}"),))
    return Found(dict(_texts(paths, problems)), tuple(problems))


def judged(found: Found) -> tuple[Example, ...]:
    """Every example of the files. Raises ExampleError with every problem found."""
    problems = list(found.problems)
    examples = [example for file, text in found.texts.items() for example in _parsed(file, text, problems)]
    known: dict[tuple[str, str], Example] = {}
    for example in examples:
        first = known.setdefault((example.datasource, key_of(example.question)), example)
        if first is not example:
            problems.append(Problem(example.file, example.line, f"this question stands in {first.file}:{first.line} already"))
    if len(examples) > _MOST:
        problems.append(Problem(examples[_MOST].file, examples[_MOST].line, f"there are more than {_MOST:,} examples"))
    if problems:
        raise ExampleError(problems)
    return tuple(examples)


def key_of(question: str) -> str:
    """Equal for questions that differ in case and spaces only."""
    return " ".join(question.casefold().split())


def checked(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the fields of an example, a sentence each."""
    for name in values.keys() - _FIELDS.keys():
        yield f"unknown key `{printable(name)[:60]}`; known are {', '.join(_FIELDS)}"
    for name, longest in _FIELDS.items():
        value = values.get(name, "" if name == "note" else None)
        if value is None:
            yield f"`{name}` is missing"
        elif not isinstance(value, str):
            yield f"`{name}` is not a text"
        elif name != "note" and not value.strip():
            yield f"`{name}` is empty"
        elif len(value) > longest:
            yield f"`{name}` is longer than {longest:,} characters"
        elif not all(letter.isprintable() or (letter in "\n\t" and name in ("sql", "note")) for letter in value):
            yield f"`{name}` holds a character that cannot be shown"


def sections(text: str) -> list[tuple[int, str]]:
    """Each `[[example]]` of a valid TOML text: its first line, from one, and its text.

    tomllib keeps no positions. A line that looks like a header may stand in a text of several lines; a piece that is cut
    there is not valid on its own, and the next piece is added.
    """
    lines = [f"{line}\n" for line in text.split("\n")]
    starts = [number for number, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip("\n"))]
    found: list[tuple[int, str]] = []
    covered = 0
    for start in starts:
        if start < covered:
            continue
        for end in (*(other for other in starts if other > start), len(lines)):
            piece = "".join(lines[start:end])
            if _valid(piece):
                found.append((start + 1, piece))
                covered = end
                break
    return found


def _valid(piece: str) -> bool:
    try:
        tomllib.loads(piece)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _parsed(file: str, text: str, problems: list[Problem]) -> Iterator[Example]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        # tomllib's words name a character or a key, never a value.
        problems.append(Problem(file, int(place[1]) if place else 0, "not valid TOML: " + re.sub(r" \(at .*\)$", "", str(error))))
        return
    rows, places = tree.pop("example", []), sections(text)
    if tree or not isinstance(rows, list) or len(places) != len(rows):
        said = f"unknown key `{printable(next(iter(tree)))[:60]}`; " if tree else ""
        problems.append(Problem(file, 0, f"{said}a file is a list of examples, each beginning with a line `[[example]]`"))
        return
    for (line, _), row in zip(places, rows, strict=True):
        if wrong := list(checked(row)):
            problems += [Problem(file, line, message) for message in wrong]
        else:
            texts = {name: row.get(name, "").strip() for name in _FIELDS}
            yield Example(file=file, line=line, **texts)


def _texts(paths: Iterable[Path], problems: list[Problem]) -> Iterator[tuple[str, str]]:
    for path in paths:
        name = printable(path.name)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                problems.append(Problem(name, 0, "it is no file"))
            elif status.st_mode & _ANYONE:
                problems.append(Problem(name, 0, f"it can be changed by anyone; run `chmod o-w {name}`"))
            elif status.st_size > _MOST_BYTES:
                problems.append(Problem(name, 0, f"it is larger than {_MOST_BYTES:,} bytes; split it"))
            else:
                yield name, path.read_text("utf-8")
        except OSError as error:
            problems.append(Problem(name, 0, f"it cannot be read: {_why(error)}"))
        except UnicodeDecodeError as error:
            problems.append(Problem(name, 0, f"it is not UTF-8 at byte {error.start}"))


def _why(error: OSError) -> str:
    return (error.strerror or "it failed").lower()
