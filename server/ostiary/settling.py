"""What became of changes whose process never said: asked of their database, recorded, and written down.

A change in doubt is known by the transaction that was to commit it. While that may still run, nothing is concluded. What its
database cannot tell any more, as after a failover or from a backup, ends as unknown, and nobody guesses.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.change_body import load_key
from ostiary.config import Config
from ostiary.ledger import Ledger, Lifetimes
from ostiary_tools.change import State
from ostiary_tools.control.changes import ChangeTable, Unsettled
from ostiary_tools.control.connect import JournalError
from ostiary_tools.datasources.port import Datasource, Fate
from ostiary_tools.errors import ToolError, Unavailable

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
    ledger = Ledger(ChangeTable(dsn), await secret_of(config), Lifetimes(kept.proposal_s, kept.undo_s))
    task = asyncio.create_task(_rounds(ledger, datasources, recorder), name="settling")
    try:
        yield ledger
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ledger.close()


async def secret_of(config: Config) -> bytes:
    """The installation's own, under which changes and jobs are kept. Raises KeyUnusable."""
    key = config.changes.key
    return key.get_secret_value().encode() if key else await asyncio.to_thread(load_key, config.home.state / "changes.key")


async def settle(ledger: Ledger, datasources: Mapping[str, Datasource], recorder: Recorder, quiet_s: float) -> int:
    """Settle what nobody has spoken of for so long, and forget what has ended; how many were settled.

    Raises JournalError, RecordingFailed. What cannot be settled now goes behind the others, and none keeps another waiting.
    """
    await ledger.forget()
    settled, left = 0, []
    for unsettled in await ledger.unsettled(quiet_s):
        end = await _end(unsettled, datasources.get(unsettled.datasource))
        if end is None:
            left.append(unsettled)
        else:
            settled += await _settled(ledger, recorder, unsettled, end)
    if left:
        await ledger.postpone(left)
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
    """Until they are cancelled: whatever goes wrong in one, there is a next."""
    while True:
        try:
            await settle(ledger, datasources, recorder, _QUIET_S)
        except (JournalError, RecordingFailed) as error:
            _log.warning("changes in doubt are not settled yet: %s", error)
        except Exception:  # noqa: BLE001  whatever it is, others want to be settled
            _log.exception("changes in doubt are not settled yet")
        await asyncio.sleep(_ROUND_S)


async def _end(unsettled: Unsettled, datasource: Datasource | None) -> State | None:
    """What is certain of it; `unknown` when nobody can tell any more, or nobody could until long after it had expired."""
    fate = await _fate(unsettled, datasource)
    if fate == "unknown" or (fate is None and unsettled.forgettable):
        _log.warning("what became of change %s is not known to its database any more", unsettled.number)
        return "unknown"
    return None if fate is None else _ENDS.get((unsettled.state, fate))


async def _fate(unsettled: Unsettled, datasource: Datasource | None) -> Fate | None:
    if datasource is None:
        _log.warning(
            "what became of change %s cannot be asked: there is no datasource `%s`", unsettled.number, unsettled.datasource
        )
        return None
    try:
        return await datasource.fate(unsettled.transaction)
    except ToolError as error:
        _log.warning("what became of change %s cannot be asked now: %s", unsettled.number, error.message)
    except Exception:  # noqa: BLE001  likewise
        _log.exception("what became of change %s cannot be asked now", unsettled.number)
    return None


async def _settled(ledger: Ledger, recorder: Recorder, unsettled: Unsettled, end: State) -> bool:
    """Whether it was this one to be settled; a process that was taken for dead may have moved it on meanwhile."""
    if not await ledger.establish(unsettled, end):
        return False
    fields = {"change": str(unsettled.number), "agent": unsettled.agent, "datasource": unsettled.datasource}
    try:
        await recorder.note("change_settled", {**fields, "was": unsettled.state, "state": end, "rows": unsettled.rows_changed})
    except RecordingFailed:
        # What became of it must not be known to its owner and not to the log: it is in doubt again, and settled another time.
        await ledger.establish(replace(unsettled, state=end), unsettled.state)
        raise
    _log.warning("change %s of %s was in doubt and is settled: %s", unsettled.number, unsettled.agent, end)
    return True
