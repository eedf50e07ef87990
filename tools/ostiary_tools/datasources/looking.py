"""A look at all that a transaction did: the tables it wrote, their rows before and after, and what came with it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ostiary_tools.datasources.images import (
    Column,
    Counts,
    Images,
    Layout,
    Place,
    added,
    at,
    keyed,
    marked,
    pair,
    places,
    split,
)
from ostiary_tools.datasources.onlooker import Onlooker
from ostiary_tools.datasources.port import ChangeLimits
from ostiary_tools.datasources.reading import read_versions
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.datasources.statement import PostgresReader
from ostiary_tools.datasources.targets import Direct
from ostiary_tools.datasources.written import Written, whole_parts
from ostiary_tools.effects import Effects, Fired, LockTaken, SequenceUse, TableEffect, Values, Via
from ostiary_tools.errors import Refused, ToolError
from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import Name

_QUERIES = {name: section.query for name, section in load_sections("changing.sql").items()}
_NUMBERS = 2**32
_EXCLUSIVE = "AccessExclusiveLock"
_WRITING = {"RowExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock", _EXCLUSIVE}
_MODES = (
    *("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock"),
    *("ExclusiveLock", _EXCLUSIVE),
)
"""From the weakest on."""
_UNTOLD = "what it changed cannot be told"


@dataclass(frozen=True, slots=True)
class Beginning:
    """How things stood before the first statement."""

    counts: Mapping[int, Counts]
    """Of earlier transactions, by table."""
    multixact: int
    """The next one."""
    sequences: Mapping[int, Any]


async def beginning(reader: PostgresReader, beside: PostgresReader) -> Beginning:
    """Ask both sessions; neither has done anything."""
    sequences = {row["oid"]: row for row in await beside.fetch(_QUERIES["sequences"])}
    [row] = await beside.fetch(_QUERIES["next"])
    return Beginning(await _counted(reader), (row["multixact"] + 1) % _NUMBERS, sequences)


async def _counted(reader: PostgresReader) -> dict[int, Counts]:
    return {row["oid"]: Counts(row["ins"], row["upd"], row["del"]) for row in await reader.fetch(_QUERIES["counted"])}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen."""

    images: Mapping[Name, Images]
    counts: Mapping[int, Counts]
    """By whole table."""
    targets: frozenset[int]
    fired: tuple[Fired, ...]
    cascaded: frozenset[int]
    sequences: tuple[SequenceUse, ...]
    locks: tuple[LockTaken, ...]
    defined: bool
    known: Mapping[Place, Place]
    """Places of rows that became others."""

    async def effects(self, reported: tuple[int, ...]) -> Effects:
        """The same as values; pairing many rows is work for a thread."""
        tables = await asyncio.to_thread(self._tables)
        return Effects(reported, tables, self.fired, self.sequences, self.locks, self.defined)

    def _tables(self) -> tuple[TableEffect, ...]:
        found: list[TableEffect] = []
        for name, images in sorted(self.images.items()):
            layout = images.layout
            rows = pair(images, self.counts[layout.oid], self.known)
            columns = tuple(column.name for column in layout.columns)
            key = tuple(columns[place] for place in layout.key)
            found += [TableEffect(name, columns, key, rows, self._via(layout.oid))] if rows else []
        return tuple(found)

    def _via(self, oid: int) -> Via:
        if oid in self.targets:
            return Via.STATEMENT
        return Via.CASCADE if oid in self.cascaded else Via.TRIGGER


@dataclass(frozen=True, slots=True)
class Looking:
    """How to look."""

    reader: PostgresReader
    onlooker: Onlooker
    limits: ChangeLimits
    start: Beginning
    done: Sequence[Direct]
    tries: int
    """How often the same may have been done, all but once taken back."""
    written: Written

    async def look(self) -> Look:
        """Look now. Raises Refused above `max_rows`, and where it cannot be told."""
        await self.reader.execute("SET LOCAL TimeZone = 'UTC'")  # so that equal values have equal texts on another day
        try:
            return await self._look()
        finally:
            with suppress(ToolError):
                await self.reader.execute("SET LOCAL TimeZone TO DEFAULT")

    async def _look(self) -> Look:
        [transaction] = await self.reader.fetch(_QUERIES["transaction"])
        if not transaction["counts"]:
            raise Refused("effects", f"{_UNTOLD}: the server does not count rows", "its operator can set `track_counts`")
        locks = await self.reader.fetch(_QUERIES["locks"])
        if any(row["kind"] == "f" and _WRITING & set(row["modes"]) for row in locks):
            raise Refused("effects", f"{_UNTOLD}: a foreign table may have been written", "change tables of this database only")
        counts, parts, defined = await self._touched()
        targets = await self._targets()
        async with self.onlooker.look(utc=True) as beside:
            files = {row["oid"]: row["file"] for row in await beside.fetch(_QUERIES["files"], [row["oid"] for row in locks])}
            layouts = await layouts_of(self.reader, counts)
            self._check(counts, layouts, locks, files)
            [after] = await beside.fetch(_QUERIES["next"])
            images: dict[Name, Images] = {}
            for layout in layouts:
                new = layout.oid not in files
                told = None if new else await self._told(beside, layout, counts[layout.oid], parts)
                number, following = transaction["id"], after["transaction"]
                found = told or await self._images(beside, layout, number, following, new=new)
                _check_seen(found, counts[layout.oid])
                images[layout.name] = found
            sequences = await self._sequences(beside, locks)
        cascaded = await self._cascaded(counts)
        fired = await self._fired(counts, parts, layouts, targets)
        taken = tuple(_lock(row, files) for row in locks if row["kind"] != "S")
        known = self.written.became
        return Look(images, counts, frozenset(targets.values()), fired, cascaded, sequences, taken, defined, known)

    async def _touched(self) -> tuple[dict[int, Counts], dict[int, int], bool]:
        """Counts by whole table, the whole of each table that was written, and whether the catalog was."""
        now = await _counted(self.reader)
        nothing = Counts(0, 0, 0)
        changed = {oid: counts.since(self.start.counts.get(oid, nothing)) for oid, counts in now.items()}
        changed = {oid: counts for oid, counts in changed.items() if any(counts)}
        kinds = await self.reader.fetch(_QUERIES["kinds"], list(changed)) if changed else []
        whole: defaultdict[int, Counts] = defaultdict(lambda: nothing)
        for row in kinds:
            if not row["system"]:
                whole[row["root"]] += changed[row["oid"]]
        parts = {row["oid"]: row["root"] for row in kinds if not row["system"]}
        # What was made and dropped again is in no catalog, and then the catalog was written.
        return dict(whole), parts, any(row["system"] for row in kinds)

    async def _targets(self) -> dict[Name, int]:
        names = sorted({name for each in self.done for name in each.targets})
        return {name: oid for name, (oid, _) in (await named(self.reader, names)).items()}

    def _check(
        self, counts: Mapping[int, Counts], layouts: Iterable[Layout], locks: Sequence[Any], files: Mapping[int, int]
    ) -> None:
        check_rows(sum(each.rows for each in counts.values()) // self.tries, self.limits)
        redefined = {row["oid"] for row in locks if _EXCLUSIVE in row["modes"] and row["oid"] in files}
        if any(layout.oid in redefined for layout in layouts):
            message = f"{_UNTOLD}: it redefines a table and changes its rows in one transaction"
            raise Refused("effects", message, "redefine it in one change and change its rows in another")

    async def _told(self, beside: PostgresReader, layout: Layout, counts: Counts, parts: Mapping[int, int]) -> Images | None:
        """The versions that the statements told of, where those are all; `None` where another wrote there too."""
        written = self.written.within(whole_parts(parts, layout.oid))
        if not written.made_all(counts):
            return None
        after = await _at(self.reader, layout, written.added)
        before = await _at(beside, layout, written.removed)
        if not written.is_all(counts):
            before |= await self._before_by_key(beside, layout, after)
            if len(before) != counts.updated + counts.deleted or written.added != written.news:
                return None
        elif len(before) != len(written.removed):
            return None
        return Images(layout, before, after) if len(after) == len(written.added) else None

    async def _before_by_key(self, beside: PostgresReader, layout: Layout, after: Mapping[Place, Values]) -> dict[Place, Values]:
        """Rows as they were whose keys changed rows still have."""
        if not after or not layout.key:
            return {}
        keys = [[values[place] for values in after.values()] for place in layout.key]
        same = await read_versions(beside, keyed(layout), *keys)
        kept = {tuple(row) for row in await self.reader.fetch(places(layout), *split(same))} if same else set()
        return {place: values for place, values in same.items() if place not in kept}

    async def _images(self, beside: PostgresReader, layout: Layout, number: int, following: int, *, new: bool) -> Images:
        """All that differs between the two sessions. One that is not seen beside was made by this change."""
        begun = (following + 3 - number) % _NUMBERS
        after = await read_versions(self.reader, added(layout), min(begun, 2**31 - 1))
        if new:
            return Images(layout, {}, after)
        suspects = await read_versions(beside, marked(layout), str(number % _NUMBERS), str(self.start.multixact))
        kept = {tuple(row) for row in await self.reader.fetch(places(layout), *split(suspects))} if suspects else set()
        gone = {place: values for place, values in suspects.items() if place not in kept}
        # Another may have taken it away meanwhile, and committed: then it is not seen beside any more either.
        still = {tuple(row) for row in await beside.fetch(places(layout), *split(gone))} if gone else set()
        return Images(layout, {place: values for place, values in gone.items() if place in still}, after)

    async def _cascaded(self, counts: Mapping[int, Counts]) -> frozenset[int]:
        rows = await references(self.reader, counts)
        return frozenset(
            row["child"]
            for row in rows
            if (row["deletes"] and counts[row["parent"]].deleted) or (row["updates"] and counts[row["parent"]].updated)
        )

    async def _fired(
        self, counts: Mapping[int, Counts], parts: Mapping[int, int], layouts: Iterable[Layout], targets: Mapping[Name, int]
    ) -> tuple[Fired, ...]:
        names = {layout.oid: layout.name for layout in layouts}
        heard: defaultdict[int, set[str]] = defaultdict(set)
        for oid, written in counts.items():
            heard[oid] |= {word for word, count in zip(("inserts", "updates", "deletes"), written, strict=True) if count}
        for statement in self.done:
            for target in statement.targets & targets.keys():
                heard[targets[target]] |= _HEARD.get(statement.word, set())
        rows = await self.reader.fetch(_QUERIES["triggers"], [*parts, *heard])
        found = {
            Fired(names[whole], row["name"], (row["function_schema"], row["function"]))
            for row in rows
            if (whole := parts.get(row["oid"], row["oid"])) in names and any(row[word] for word in heard[whole])
        }
        return tuple(sorted(found, key=lambda each: (each.table, each.trigger)))

    async def _sequences(self, beside: PostgresReader, locks: Sequence[Any]) -> tuple[SequenceUse, ...]:
        """Of those that this transaction has locked, as drawing does. Numbers that others drew meanwhile are counted too."""
        drawn = {row["oid"]: (row["schema"], row["name"]) for row in locks if row["kind"] == "S"}
        if not drawn:
            return ()
        now = {row["oid"]: row for row in await beside.fetch(_QUERIES["sequences"]) if row["oid"] in drawn}
        return tuple(SequenceUse(name, _drawn(now.get(oid), self.start.sequences.get(oid))) for oid, name in drawn.items())


_HEARD = {"insert": {"inserts"}, "update": {"updates"}, "delete": {"deletes"}, "merge": {"inserts", "updates", "deletes"}}


def _check_seen(found: Images, counts: Counts) -> None:
    """Where row security hides rows from the login, each row that was written must have been seen, or it is refused."""
    exact = (len(found.after), len(found.before)) == (counts.inserted + counts.updated, counts.updated + counts.deleted)
    if found.layout.filtered and not exact:
        message = f"{_UNTOLD}: row security may hide rows that it wrote from the login for changes"
        raise Refused("effects", message, "change the rows that it shows")


async def _at(reader: PostgresReader, layout: Layout, wanted: Iterable[Place]) -> dict[Place, Values]:
    """What is seen at these places."""
    listed = list(wanted)
    return await read_versions(reader, at(layout), *split(listed)) if listed else {}


def check_rows(rows: int, limits: ChangeLimits) -> None:
    """Raise Refused above `max_rows`."""
    if rows > limits.max_rows:
        message = f"it changes more than {limits.max_rows:,} rows in all tables together"
        raise Refused("max_rows", message, "change fewer rows at once")


async def named(reader: PostgresReader, names: Sequence[Name]) -> dict[Name, tuple[int, bool]]:
    """OIDs of those that exist, and whether rows may be locked there. Without a schema the search path is looked through."""
    written = [".".join(quoted(part) for part in name if part) for name in names]
    rows = await reader.fetch(_QUERIES["named"], written) if written else []
    return {name: (row["oid"], row["lockable"]) for name, row in zip(names, rows, strict=True) if row["oid"]}


async def layouts_of(reader: PostgresReader, oids: Iterable[int]) -> list[Layout]:
    """What these tables are now."""
    wanted = list(oids)
    if not wanted:
        return []
    columns: defaultdict[int, list[Any]] = defaultdict(list)
    for row in await reader.fetch(_QUERIES["columns"], wanted):
        columns[row["oid"]].append(row)
    return [_layout(row, columns[row["oid"]]) for row in await reader.fetch(_QUERIES["tables"], wanted)]


async def references(reader: PostgresReader, oids: Iterable[int]) -> list[Any]:
    """Foreign keys among these tables."""
    wanted = list(oids)
    return await reader.fetch(_QUERIES["actions"], wanted) if wanted else []


def _layout(row: Any, columns: Sequence[Any]) -> Layout:
    key = sorted((column["place"], place) for place, column in enumerate(columns) if column["place"])
    return Layout(
        row["oid"],
        (row["schema"], row["name"]),
        row["partitioned"],
        row["filtered"],
        tuple(Column(column["name"], column["type"], column["generated"], column["always"]) for column in columns),
        tuple(place for _, place in key),
    )


def _drawn(now: Any, before: Any) -> int:
    """At least one; a sequence that may not be looked at says no more."""
    if now is None or now["last"] is None or before is None:
        return 1
    drawn: int = now["last"] - (before["last"] if before["last"] is not None else before["start"] - before["step"])
    return max(1, drawn // int(before["step"]))


def _lock(row: Any, files: Mapping[int, int]) -> LockTaken:
    strongest = max(row["modes"], key=_MODES.index)
    words = "".join(f" {letter}" if letter.isupper() else letter.upper() for letter in strongest.removesuffix("Lock"))
    rewritten = row["oid"] in files and files[row["oid"]] != row["file"]
    return LockTaken((row["schema"], row["name"]), words.upper().strip(), row["waiting"], rewritten)
