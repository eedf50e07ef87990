"""Calls that a worker makes of itself on behalf of who owns a collection: as that agent is today, and down the one road."""

from ostiary.approvals import Asked, CannotAsk
from ostiary.call import Call
from ostiary.errors import CallFailed, UnknownTool
from ostiary.gate import Gate
from ostiary.owners import NotEntitled, Owners
from ostiary_tools.asking import InputNeeded
from ostiary_tools.vectors.collection import Collection


async def on_behalf(one: Collection, call: Call, gate: Gate, owners: Owners) -> str:
    """Make the call: why it was refused, or nothing. Raises JournalError, RecordingFailed."""
    if one.owner is None:
        return "nobody owns the collection"
    try:
        await gate.call(await owners.today(one.owner), call)
    except NotEntitled as error:
        await gate.refuse(one.owner, call, str(error))
        return str(error)
    except (CallFailed, UnknownTool, Asked, CannotAsk, InputNeeded) as error:
        return str(error)
    return ""
