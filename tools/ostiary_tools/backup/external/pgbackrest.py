"""pgBackRest: what `info` and `repo-ls` tell of a stanza, and its `restore` into a folder of ours."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary_tools.backup import wal
from ostiary_tools.backup.external.port import (
    STRANGE,
    Described,
    Holding,
    Tool,
    done,
    manifest,
    needed,
    read,
    segment_bytes,
    segments,
    told,
    unread,
)
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.errors import Damaged, ProgramFailed
from ostiary_tools.identifiers import one_line

_LABEL = re.compile(r"[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?", re.ASCII)
_ARCHIVE = re.compile(r"[0-9]+(\.[0-9]+)?-[0-9]+", re.ASCII)
_BLOCK = re.compile(r"[0-9A-F]{16}", re.ASCII)
_SHOWN = 60
_KINDS = {"full": Kind.FULL, "diff": Kind.INCREMENTAL, "incr": Kind.INCREMENTAL}
_QUIET = ("--log-level-file=off", "--log-level-console=off", "--log-level-stderr=error")
_INSIDE = ("--no-link-all", "--reset-link-map", "--reset-tablespace-map", "--reset-recovery-option", "--reset-pg1-host")
"""Whatever its file says, nothing is restored to where it was."""


@dataclass(frozen=True, slots=True)
class PgBackRest:
    """Implements `port.External`."""

    tool: Tool

    async def holding(self) -> Holding:
        """What it keeps of the stanza, in its first repository where it has several."""
        stanza = await self._stanza()
        try:
            return await self._held(stanza)
        except STRANGE:
            raise unread(self.tool) from None

    async def restore(self, backup: Manifest, data_dir: Path) -> None:
        """By its own `restore`, which compares every file, and `archive-get` of each segment up to where it is consistent."""
        log = self._needed(await self._stanza(), backup)
        here = (*self._here(), f"--pg1-path={data_dir}", f"--lock-path={data_dir.parent / 'lock'}")
        # A restore empties the spool of its stanza, which a living server may be using.
        apart = (f"--tablespace-map-all={data_dir.parent / 'tablespaces'}", f"--spool-path={data_dir.parent / 'spool'}")
        try:
            await done(self.tool, *here, *_INSIDE, *apart, f"--set={backup.id}", "--type=immediate", "restore")
            for name in log:
                await done(self.tool, *here, "--no-archive-async", "archive-get", name, str(data_dir / "pg_wal" / name))
        except ProgramFailed as error:
            raise Damaged(backup.id, error.message, "choose another backup, and look at pgBackRest's own log") from None

    def _needed(self, stanza: Mapping[str, Any], backup: Manifest) -> Sequence[str]:
        """The log until it is consistent. Raises Damaged where there is no such backup, and Unavailable."""
        try:
            entry = next((one for one in stanza["backup"] if one["label"] == backup.id), None)
            if entry is not None and _LABEL.fullmatch(backup.id):
                first, last = str(entry["archive"]["start"]), str(entry["archive"]["stop"])
                return needed(backup, segment_bytes(first, str(entry["lsn"]["start"])), last)
        except STRANGE:
            raise unread(self.tool) from None
        raise Damaged(backup.id, f"pgBackRest has no backup `{backup.id}`", "choose another one")

    async def _stanza(self) -> Mapping[str, Any]:
        found = read(self.tool, await told(self.tool, *self._here(), "--output=json", "info"))
        try:
            return next(dict(one) for one in found if one["name"] == self.tool.stanza)
        except STRANGE:
            raise unread(self.tool) from None

    async def _held(self, stanza: Mapping[str, Any]) -> Holding:
        systems = {one["id"]: one for one in stanza["db"]}
        problems = list(_problems(stanza))
        whole = [one for one in stanza["backup"] if not one.get("error") and _LABEL.fullmatch(one["label"])]
        made = [manifest(self.tool, _described(one, systems[one["database"]["id"]])) for one in whole]
        if not made:
            return Holding((), (), tuple(problems))
        newest = whole[-1]
        size = segment_bytes(newest["archive"]["start"], newest["lsn"]["start"])
        system = str(systems[newest["database"]["id"]]["system-id"])
        archives = [one["id"] for one in stanza["archive"] if one["database"]["id"] == newest["database"]["id"]]
        log = await self._log(str(archives[-1])) if archives else {}
        return Holding(tuple(made), segments(self.tool, system, size, log), tuple(problems))

    async def _log(self, archive: str) -> Mapping[str, float]:
        """Segments by name, with when they came."""
        if not _ARCHIVE.fullmatch(archive):
            raise ValueError(archive)
        folder = f"archive/{self.tool.stanza}/{archive}"
        found: dict[str, float] = {}
        for block in filter(_BLOCK.fullmatch, await self._listed(folder)):
            for name, one in (await self._listed(f"{folder}/{block}")).items():
                if wal.is_segment(name[:24]) and name[24:25] == "-":
                    found[name[:24]] = float(one["time"])
        return found

    async def _listed(self, folder: str) -> Mapping[str, Any]:
        """A folder of its repository."""
        return dict(read(self.tool, await told(self.tool, *self._here(), "--output=json", "repo-ls", folder)))

    def _here(self) -> tuple[str, ...]:
        config = (f"--config={self.tool.config}",) if self.tool.config is not None else ()
        return (*config, f"--stanza={self.tool.stanza}", *_QUIET)


def _described(one: Mapping[str, Any], system: Mapping[str, Any]) -> Described:
    return Described(
        one["label"],
        _KINDS[one["type"]],
        one["prior"],
        (one["timestamp"]["start"], one["timestamp"]["stop"]),
        (one["lsn"]["start"], one["lsn"]["stop"]),
        one["archive"]["start"],
        str(system["version"]),
        str(system["system-id"]),
        int(one["info"]["size"]),
        int(one["info"]["repository"]["delta"]),
    )


def _problems(stanza: Mapping[str, Any]) -> Iterator[str]:
    status = stanza["status"]
    if status["code"]:
        yield f"pgBackRest says of it: {one_line(str(status['message']))}"
    for one in stanza["backup"]:
        if one.get("error"):
            yield f"pgBackRest says that its backup `{one_line(str(one['label']), _SHOWN)}` has damaged pages"
