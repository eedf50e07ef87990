"""Proofs for an outsider: that one record is in the log, and that the log only grew.

A proof is JSON with a signed note, so it needs the public key and nothing else. The
record's body is in it; no other record is.
"""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ostiary.audit.fsck import consistent, included, link_hash
from ostiary.audit.merkle import Peaks, Tree, leaf_hash
from ostiary.audit.notes import BEGINNING, STREAMS, Keys, Unreadable, parse_epoch, parse_note
from ostiary_tools.control.history import History, history
from ostiary_tools.control.journal import StoredCheckpoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoProof(Exception):
    """There is nothing to prove, or not with what the log still has."""


async def prove_record(reader_dsn: str, stream: int, seq: int) -> dict[str, Any]:
    """That record `seq` of a stream is under a signed checkpoint. Raises NoProof, JournalError."""
    async with history(reader_dsn) as log:
        checkpoint = await log.checkpoint(stream, seq)
        if checkpoint is None:
            raise NoProof(f"no checkpoint of stream {stream} covers record {seq}")
        tree = await _tree(log, checkpoint)
        found = await log.newest(stream, seq + 1, 2)
        if not found or found[0].seq != seq:
            raise NoProof(f"record {seq} of stream {stream} is sealed or does not exist")
        row = found[0]
        previous = found[1].hash if len(found) > 1 else await _previous(log, stream, seq)
    return {
        "proof": "inclusion",
        "note": checkpoint.note,
        "record": {
            "stream": stream,
            "seq": seq,
            "ts": (row.ts - _EPOCH) // timedelta(microseconds=1),
            "kind": row.kind.decode(),
            "call": row.call_id.hex,
            "body": row.body,
            "previous": previous.hex(),
        },
        "path": _texts(tree.inclusion(seq - 1, checkpoint.size)),
    }


async def prove_growth(reader_dsn: str, stream: int, old: int, new: int) -> dict[str, Any]:
    """That the checkpoint at `new` continues the one at `old`; each the next that exists. Raises NoProof, JournalError."""
    async with history(reader_dsn) as log:
        first, second = await log.checkpoint(stream, old), await log.checkpoint(stream, new)
        if first is None or second is None:
            raise NoProof(f"stream {stream} has no checkpoints of {old} and {new} records or more")
        tree = await _tree(log, second)
    return {
        "proof": "consistency",
        "old": first.note,
        "note": second.note,
        "path": _texts(tree.consistency(first.size, second.size)),
    }


def check_proof(text: str, public_key: Path) -> str:
    """What a proof shows, in a sentence. Raises NoProof when it shows nothing, Unreadable when it is none."""
    keys = Keys.parse(public_key.read_text("utf-8"))
    try:
        proof = json.loads(text)
        note = parse_note(proof["note"])
        path = [b64decode(node, validate=True) for node in proof["path"]]
        if proof["proof"] == "inclusion":
            record = proof["record"]
            leaf = link_hash(
                bytes.fromhex(record["previous"]),
                (
                    record["stream"],
                    record["seq"],
                    record["ts"],
                    record["kind"].encode(),
                    bytes.fromhex(record["call"]),
                    record["body"].encode(),
                ),
            )
            holds = note.stream == record["stream"] and included(leaf, record["seq"] - 1, note.size, path, note.root)
            said = f"record {record['seq']} of {note.origin} is among the first {note.size}"
        else:
            old = parse_note(proof["old"])
            holds = keys.signed(old) and old.origin == note.origin and consistent(old.size, note.size, path, old.root, note.root)
            said = f"the first {note.size} records of {note.origin} continue its first {old.size}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable("this is no proof of an audit log") from error
    if not keys.signed(note):
        raise NoProof("the checkpoint of the proof is not signed by this key")
    if not holds:
        raise NoProof("the proof does not hold")
    return said


async def _tree(log: History, checkpoint: StoredCheckpoint) -> Tree:
    """Every leaf that is still there, up to the checkpoint: 32 bytes a record in memory."""
    sealed = [seal for seal in await log.seals() if seal.stream == checkpoint.stream]
    peaks = Peaks.unpacked(sealed[-1].size, sealed[-1].peaks) if sealed else Peaks()
    if peaks.size > checkpoint.size:
        raise NoProof(f"the records under the checkpoint of {checkpoint.size} are sealed; their export proves them")
    return Tree(peaks, [leaf_hash(h) for h in await log.hashes(checkpoint.stream, peaks.size, checkpoint.size)])


async def _previous(log: History, stream: int, seq: int) -> bytes:
    """The hash before the first record that is still there."""
    if seq == 1:
        epochs = {epoch.number: epoch for epoch, _ in map(parse_epoch, await log.epochs())}
        return epochs.get(stream // STREAMS, BEGINNING).genesis(await log.installation(), stream)
    return next(seal.hash for seal in await log.seals() if seal.stream == stream and seal.size == seq - 1)


def _texts(path: list[bytes]) -> list[str]:
    return [b64encode(node).decode() for node in path]
