"""The audit event: who did what under which rules, and how it ended.

Frozen and versioned. It carries no rows, no values and no secrets: arguments are
redacted before they come here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from ostiary_policies.attributes import Attribute, digest

VERSION = 1
"""Of the record's body; a verifier refuses what it does not know."""


class Kind(StrEnum):
    """What a record tells. The value is one character, as it stands in the table."""

    INTENT = "i"
    """A permitted call, durable before anything of it runs."""
    OUTCOME = "o"
    """How an intent ended."""
    DENIAL = "d"
    """A refused call; nothing of it ran."""
    EVENT = "e"
    """Something about the installation: start, stop, policy loaded, stream taken over, denials folded."""


class Status(StrEnum):
    """How an intent ended."""

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The process died between intent and outcome; written by whoever took its stream over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An intent or a denial."""

    call_id: UUID
    agent: str
    roles: tuple[str, ...]
    transport: str
    """`stdio` or `http`."""
    origin: str
    """`tool`, `resource`, `prompt`, `completion`, `list`, `subscription`, `task`, or `credential`: a refused one, of no call."""
    tool: str
    arguments: Mapping[str, Any]
    """Canonical, redacted."""
    decision: str
    """`permit`, `deny`, `invalid` (arguments), `unknown` (tool), `refused` (grammar), `asked` (by the tool, or for a yes),
    `busy`, `unrecognised` (credential), `unentitled` (one that opens nothing), `error` (a defect).
    """
    rules: tuple[str, ...]
    policy_hash: str
    datasource: str | None = None
    sql: str | None = None
    """The statement as judged, literals redacted."""
    fingerprint: str | None = None
    obligations: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """`names` of the agent's, and a `digest` of them with their values; empty where it has none."""
    taints: tuple[str, ...] = ()
    """What earlier calls had left on the agent, where a policy asks for that."""
    reason: str = ""
    """Of a denial, as the agent was told."""
    trace: str = ""
    """The caller's W3C `traceparent`, or empty."""
    approval: Mapping[str, str] = field(default_factory=dict)
    """Of an intent that a human was asked about: `by` whom, a digest of the `question`, its `number` where it has one."""
    schema_version: str = ""
    change: str = ""
    """The change that the call gives, by the id of the call that proposed it."""
    collections: tuple[str, ...] = ()
    """What the call would do on which, as `search notes`."""
    backups: tuple[str, ...] = ()
    """What it would do on which backups, as `restore shop.full`."""

    def body(self) -> str:
        """Canonical JSON: sorted keys, no spaces, empty fields left out."""
        return canonical(
            {
                "v": VERSION,
                "agent": self.agent,
                "roles": list(self.roles),
                "attributes": dict(self.attributes),
                "taints": list(self.taints),
                "transport": self.transport,
                "origin": self.origin,
                "tool": self.tool,
                "arguments": dict(self.arguments),
                "decision": self.decision,
                "rules": list(self.rules),
                "policy": self.policy_hash,
                "datasource": self.datasource,
                "sql": self.sql,
                "fingerprint": self.fingerprint,
                "obligations": dict(self.obligations),
                "reason": self.reason,
                "approval": dict(self.approval),
                "trace": self.trace,
                "schema": self.schema_version,
                "change": self.change,
                "collections": list(self.collections),
                "backups": list(self.backups),
            }
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended."""

    status: Status
    duration_us: int
    rows: int = 0
    bytes: int = 0
    """UTF-8 bytes of the reply."""
    truncated: bool = False
    sha256: str = ""
    """Of the file that was written, in hex; `rows` and `bytes` are its own then."""
    error: str = ""
    """Code of the error (`timeout`, `database_error 22012` …), never its text."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """Of a call that changes something: the change's `number`, its `state` by then, and `rows` added, changed, gone by table."""

    def body(self) -> dict[str, Any]:
        """JSON-plain fields; the recorder adds `v`, `agent` and the intent's `seq`."""
        return {
            "status": self.status.value,
            "duration_us": self.duration_us,
            "rows": self.rows,
            "bytes": self.bytes,
            "truncated": self.truncated,
            "sha256": self.sha256,
            "error": self.error,
            "change": dict(self.change),
        }


def attributes_told(attributes: tuple[Attribute, ...]) -> Mapping[str, Any]:
    """What a record holds of an agent's attributes: no value, and yet whether another call was made with the same."""
    return {"names": [one.name for one in attributes], "digest": digest(attributes)} if attributes else {}


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode  # made once: it is half the cost


def canonical(fields: Mapping[str, Any]) -> str:
    """JSON with sorted keys and without spaces; `None`, empty and false fields are left out."""
    kept = {k: v for k, v in fields.items() if v not in (None, "", [], {}, False)}
    return _encode(kept)
