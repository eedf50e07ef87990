"""What of a kept log is before all that it is needed for. Names alone say it, but for the size of a segment. Blocking, for threads.

Histories of timelines stay: they are small, and a way to a later moment may lead through each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ostiary_tools.backup import wal
from ostiary_tools.backup.repository import Repository, read_signed
from ostiary_tools.backup.wal_archive.archive import clusters
from ostiary_tools.backup.wal_archive.segment import BLOCK, DESCRIPTION, FOLDER, NAME, SHORT, decode
from ostiary_tools.errors import Damaged


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What of one cluster's log can go."""

    system_identifier: str
    before: int
    """The LSN from which on it is needed."""
    folders: tuple[str, ...]
    """Of segments and tails, the oldest first."""


def before(repository: Repository, needed: Mapping[str, int]) -> Sequence[Trimmed]:
    """By cluster what ends before the LSN that it is needed from; of a cluster that is not named nothing."""
    found = (
        Trimmed(one, needed[one], tuple(_folders(repository, one, needed[one]))) for one in clusters(repository) if one in needed
    )
    return [one for one in found if one.folders]


def _folders(repository: Repository, system: str, lsn: int) -> Iterator[str]:
    names = repository.storage.names
    blocks = [block for block in names(f"{FOLDER}/{system}") if BLOCK.fullmatch(block) and int(block[8:], 16) << 32 < lsn]
    for block in sorted(blocks, key=lambda block: (block[8:], block)):
        segments = [name for name in names(f"{FOLDER}/{system}/{block}") if NAME.fullmatch(name)]
        whole = (int(block[8:], 16) + 1) << 32 <= lsn
        size = 0 if whole else _size(repository, f"{FOLDER}/{system}/{block}", segments)
        yield from (
            f"{FOLDER}/{system}/{block}/{name}"
            for name in segments
            if whole or (size and wal.begin(name[:SHORT], size) + size <= lsn)
        )


def _size(repository: Repository, block: str, segments: Sequence[str]) -> int:
    """Of every segment of that cluster; zero where none says it, and then nothing goes."""
    for name in segments:
        folder = f"{block}/{name}"
        try:
            return decode(read_signed(repository.storage, repository.seal, f"{folder}/{DESCRIPTION}"), folder).segment_bytes
        except Damaged:
            continue
    return 0
