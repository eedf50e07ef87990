"""Follows the files of examples while the server runs: a valid set takes the place of the old one, any other is told and left.

Like the policy files they are read again every second, whole, and what is seen in two looks that follow each other is
taken. Nothing is decided by an example, so a set that is smaller than before, or none, is taken as meant.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.example_files import ExampleError, ExampleSet, Found, judged, told
from ostiary.own_thread import answered
from ostiary.redaction import one_line

_log = logging.getLogger(__name__)

LOOK_S = 1.0
_PATIENCE_S = 10.0
_TOLD_CHARS = 500


async def follow(examples: ExampleSet, recorder: Recorder) -> None:
    """Follow the files for ever."""
    before: Found | None = None
    considered: Found | None = None if examples.refused else examples.found
    while True:
        await asyncio.sleep(LOOK_S)
        found = await _look(examples)
        if found == before and found != considered:
            try:
                await _consider(examples, found, recorder)
            except RecordingFailed as error:
                # Neither taken nor forgotten: the next look comes back to it.
                examples.refused = f"the change cannot be recorded: {error}"
            else:
                considered = found
        before = found


async def _look(examples: ExampleSet) -> Found:
    """What is there; while the folder does not answer, that is told in the place of what was said before."""
    said = examples.refused

    def untold() -> None:
        examples.refused = f"nobody knows, because their folder has not answered for {_PATIENCE_S:g} seconds"
        _log.warning("the files of examples cannot be read: their folder has not answered for %g seconds", _PATIENCE_S)

    found = await answered("example files", examples.look, _PATIENCE_S, untold)
    examples.refused = said
    return found


async def _consider(examples: ExampleSet, found: Found, recorder: Recorder) -> None:
    """Take the set if it is valid. Raises RecordingFailed, and then it is not taken."""
    before = examples.found.digest
    try:
        taken = await asyncio.to_thread(judged, found)
    except ExampleError as error:
        said = one_line(told(error))[:_TOLD_CHARS]
        await recorder.note("examples_refused", {"examples": before, "problem": said, "count": len(error.problems)})
        _log.warning("the files of examples are refused, and the examples before stay in force: %s", said)
        examples.refused = said
    else:
        await recorder.note("examples_changed", {"before": before, "examples": found.digest, "count": len(taken)})
        examples.put_in_force(found, taken)
        _log.info("other examples are in force: %d", len(taken))


@asynccontextmanager
async def following(examples: ExampleSet, recorder: Recorder) -> AsyncIterator[None]:
    """Follow the files while the block lasts. A defect ends the block: files that nobody follows are not passed off as followed."""
    if examples.refused:
        _log.warning("no examples are in force: %s", examples.refused)
    if examples.directory is None:
        yield
        return
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow(examples, recorder), name="example files")
        try:
            yield
        finally:
            task.cancel()
