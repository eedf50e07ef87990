"""The meanings of each datasource's schema: made beside calls, so that none waits for them, and anew when the schema changes."""

import asyncio
import logging
from importlib.util import find_spec

from ostiary_tools.meaning.index import Meanings, meanings
from ostiary_tools.snapshot import Snapshot

_log = logging.getLogger(__name__)


class MeaningsKept:
    """Those of the last version of each schema; of none where the extra `vector` is not installed."""

    def __init__(self) -> None:
        self._installed = all(find_spec(module) is not None for module in ("numpy", "wordllama"))
        self._made: dict[str, Meanings] = {}
        self._making: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, str] = {}

    def of(self, snapshot: Snapshot) -> Meanings | None:
        """Of this version of the schema, where they are there; else they are begun, and a search goes by letters meanwhile."""
        found = self._made.get(snapshot.datasource)
        if found is not None and found.version == snapshot.version:
            return found
        if (
            self._installed
            and snapshot.datasource not in self._making
            and self._failed.get(snapshot.datasource) != snapshot.version
        ):
            task = asyncio.create_task(self._make(snapshot, found))
            self._making[snapshot.datasource] = task
            task.add_done_callback(lambda _: self._making.pop(snapshot.datasource, None))
        return None

    async def _make(self, snapshot: Snapshot, before: Meanings | None) -> None:
        try:
            self._made[snapshot.datasource] = await asyncio.to_thread(meanings, snapshot, before)
        except Exception:  # noqa: BLE001 what is found by letters alone is found all the same
            self._failed[snapshot.datasource] = snapshot.version
            _log.warning(
                "the schema of `%s` is searched by letters alone: its meanings cannot be made", snapshot.datasource, exc_info=True
            )
