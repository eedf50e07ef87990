"""Barman: what `list-backups`, `show-backup` and `list-files` tell of a server, and its `recover` into a folder of ours."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary_tools.backup import file_sums, wal
from ostiary_tools.backup.external.port import (
    STRANGE,
    Described,
    Holding,
    Tool,
    contained,
    done,
    manifest,
    read,
    segment_bytes,
    segments,
    told,
    unread,
)
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.errors import Damaged, ProgramFailed, Refused, Unavailable
from ostiary_tools.identifiers import one_line

_ID = re.compile(r"[0-9]{8}T[0-9]{6}(-[0-9]+)?", re.ASCII)
_DONE = "DONE"
_UNFINISHED = frozenset({"STARTED", "SYNCING", "EMPTY", "WAITING_FOR_WALS"})
_WALS = "barman_wal"
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Barman:
    """Implements `port.External`."""

    tool: Tool

    async def holding(self) -> Holding:
        """What it keeps of the server."""
        listed = await self._of("list-backups")
        try:
            return await self._held(listed)
        except STRANGE:
            raise unread(self.tool) from None

    async def restore(self, backup: Manifest, data_dir: Path) -> None:
        """By its own `recover`, each file held against the manifest that PostgreSQL wrote where it has one."""
        if not _ID.fullmatch(backup.id):
            raise Damaged(backup.id, f"Barman has no backup `{backup.id}`", "choose another one")
        shown = await self._of("show-backup", backup.id)
        if not isinstance(shown, dict) or shown.get("tablespaces", True):
            # It would restore each of them to where it was.
            raise Refused("tablespaces", "Barman restores tablespaces to where they live", "drill it on another machine")
        options = ("--target-immediate", "--recovery-staging-path", str(data_dir.parent), "--no-get-wal")
        await self._done(backup, "recover", *options, self.tool.stanza, backup.id, str(data_dir))
        # It has copied files without a look into them; a copy by rsync has nothing that they could be held against.
        if await asyncio.to_thread(completed, data_dir):
            await self._done(backup, "verify-backup", self.tool.stanza, backup.id)

    async def _done(self, backup: Manifest, *words: str) -> None:
        try:
            await done(self.tool, *self._here(), *words)
        except ProgramFailed as error:
            raise Damaged(backup.id, error.message, "choose another backup, and look at Barman's own log") from None

    async def _held(self, listed: Any) -> Holding:
        problems: list[str] = []
        made: list[Manifest] = []
        log: dict[str, float] = {}
        system, size = "", 1 << 24
        for one in sorted(listed, key=lambda one: str(one["backup_id"])):
            id_ = one["backup_id"]
            if not isinstance(id_, str) or not _ID.fullmatch(id_):  # it is to be a word on a command line
                problems.append(f"Barman has a backup of a strange name, `{one_line(str(id_), _SHOWN)}`, which is not looked at")
                continue
            if one["status"] != _DONE:
                if one["status"] not in _UNFINISHED:
                    problems.append(f"Barman says that its backup `{id_}` is {one_line(str(one['status']), _SHOWN)}")
                continue
            shown = await self._of("show-backup", id_)
            if shown["backup_id"] != id_:
                raise ValueError(id_)
            made.append(manifest(self.tool, described := _described(shown)))
            system, size = described.system_identifier, segment_bytes(described.first_segment, described.lsns[0])
            log |= await self._log(described.id)
        return Holding(tuple(made), segments(self.tool, system, size, log), tuple(problems))

    async def _log(self, backup: str) -> Mapping[str, float]:
        """Segments up to the next backup by name, with when they came."""
        paths = await self._of("list-files", "--target", "wal", backup)
        return await asyncio.to_thread(_times, [Path(path) for path in paths])

    async def _of(self, command: str, *words: str) -> Any:
        """`words` are options of ours, and ids."""
        ids = tuple(word for word in words if _ID.fullmatch(word))
        options = tuple(word for word in words if word not in ids)
        try:
            text = await told(self.tool, *self._here(), "-f", "json", command, *options, self.tool.stanza, *ids)
        except ProgramFailed as error:
            raise Unavailable(error.message, "see what `barman check` says of it") from None
        found = read(self.tool, text)
        try:
            return found["_INFO" if command == "list-files" else self.tool.stanza]
        except (KeyError, TypeError):
            raise unread(self.tool) from None

    def _here(self) -> tuple[str, ...]:
        return ("-c", str(self.tool.config)) if self.tool.config is not None else ()


def _described(shown: Mapping[str, Any]) -> Described:
    base = shown["base_backup_information"]
    version = int(shown["postgresql_version"])
    parent = shown.get("catalog_information", {}).get("parent_backup_id") or shown.get("parent_backup_id")
    return Described(
        shown["backup_id"],
        Kind.INCREMENTAL if parent else Kind.FULL,
        parent or None,
        (float(base["begin_time_timestamp"]), float(base["end_time_timestamp"])),
        (base["begin_lsn"], base["end_lsn"]),
        base["begin_wal"],
        f"{version // 10_000}.{version % 10_000}",
        str(shown.get("system_id") or shown.get("systemid") or "unknown"),
        int(base["disk_usage_bytes"]),
        int(base["disk_usage_bytes"]),
    )


def _times(paths: list[Path]) -> dict[str, float]:
    """What cannot be looked at is there, and nobody knows since when."""
    return {path.name: path.stat().st_mtime for path in paths if wal.is_segment(path.name) and path.is_file()}


def completed(data_dir: Path) -> bool:
    """Put the log where a server looks for it; whether there is a manifest of PostgreSQL's. Blocking. Raises Damaged."""
    contained(data_dir)  # a link in it could have what lives moved, or moved to
    wals = data_dir / _WALS
    segments_ = sorted(path for path in wals.rglob("*") if wal.is_name(path.name) and path.is_file()) if wals.is_dir() else []
    (data_dir / "pg_wal").mkdir(exist_ok=True)
    for path in segments_:
        path.replace(data_dir / "pg_wal" / path.name)
    return bool(list(data_dir.glob(f"{file_sums.NAME}*")))
