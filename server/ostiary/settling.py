"""What became of changes whose process never said: asked of their database, recorded, and written down.

A change in doubt is known by the transaction that was to commit it. While that may still run, nothing is concluded.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.change_body import load_key
from ostiary.config import Config
from ostiary.ledger import Ledger, Lifetimes
from ostiary_tools.change import State
from ostiary_tools.control.changes import ChangeTable, Unsettled
from ostiary_tools.control.connect import JournalError
from ostiary_tools.datasources.port import Datasource, Fate
from ostiary_tools.errors import Unavailable

_log = logging.getLogger(__name__)

_QUIET_S = 20.0
"""Of a change that was said to be committed so long ago and no more, its process is asked no longer."""
_ROUND_S = 20.0
_PATIENCE_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Between questions after a commit whose session broke."""
_ENDS: Mapping[tuple[State, Fate], State] = {
    ("applying", "committed"): "applied",
    ("applying", "aborted"): "failed",
    ("reverting", "committed"): "reverted",
    ("reverting", "aborted"): "applied",
}


@asynccontextmanager
async def open_ledger(config: Config, dsn: str, datasources: Mapping[str, Datasource], recorder: Recorder) -> AsyncIterator[Ledger]:
    """The ledger, in which changes are settled now and again while the block lasts. Raises KeyUnusable."""
    kept = config.changes
    key = kept.key.get_secret_value().encode() if kept.key else await asyncio.to_thread(load_key, config.home.state / "changes.key")
    ledger = Ledger(ChangeTable(dsn), key, Lifetimes(kept.proposal_s, kept.undo_s))
    task = asyncio.create_task(_rounds(ledger, datasources, recorder), name="settling")
    try:
        yield ledger
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ledger.close()


async def settle(ledger: Ledger, datasources: Mapping[str, Datasource], recorder: Recorder, quiet_s: float) -> int:
    """Settle what nobody has spoken of for so long; how many were. Raises JournalError, RecordingFailed."""
    settled = 0
    for unsettled in await ledger.unsettled(quiet_s):
        datasource = datasources.get(unsettled.datasource)
        if datasource is not None and (end := await _end(unsettled, datasource)) is not None:
            settled += await _settled(ledger, recorder, unsettled, end)
    return settled


async def established(datasource: Datasource, transaction: str) -> Fate:
    """What became of a transaction whose commit was not answered; asked until it is certain, for some seconds."""
    fate: Fate = "unknown"
    for pause_s in (*_PATIENCE_S, 0.0):
        try:
            fate = await datasource.fate(transaction)
        except Unavailable:
            fate = "unknown"
        if fate in ("committed", "aborted"):
            return fate
        await asyncio.sleep(pause_s)
    return fate


async def _rounds(ledger: Ledger, datasources: Mapping[str, Datasource], recorder: Recorder) -> None:
    while True:
        try:
            await settle(ledger, datasources, recorder, _QUIET_S)
        except (JournalError, RecordingFailed) as error:
            _log.warning("changes in doubt are not settled yet: %s", error)
        await asyncio.sleep(_ROUND_S)


async def _end(unsettled: Unsettled, datasource: Datasource) -> State | None:
    try:
        fate = await datasource.fate(unsettled.transaction)
    except Unavailable as error:
        _log.warning("what became of change %s cannot be asked now: %s", unsettled.number, error.message)
        return None
    if fate == "unknown":
        _log.warning("what became of change %s is not known to its database any more", unsettled.number)
    return _ENDS.get((unsettled.state, fate))


async def _settled(ledger: Ledger, recorder: Recorder, unsettled: Unsettled, end: State) -> bool:
    # On record first: a change that is known to have been applied must not be one that the log does not know of.
    fields = {"change": str(unsettled.number), "agent": unsettled.agent, "datasource": unsettled.datasource}
    await recorder.note("change_settled", {**fields, "was": unsettled.state, "state": end, "rows": unsettled.rows_changed})
    moved = await ledger.establish(unsettled, end)
    _log.warning("change %s of %s was in doubt and is settled: %s", unsettled.number, unsettled.agent, end)
    return moved
