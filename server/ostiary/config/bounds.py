"""The settings of what goes far: files of rows, changes of them, and work that outlives its server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from ostiary.config.secrets import Key
from ostiary.config.section import Name, Section, not_empty
from ostiary.config.section import setting as _setting


class Export(Section):
    """What one exported file may hold at most, and where files go. A policy can lower these and never raise them."""

    directory: Path | None = _setting(
        None,
        "Folder of exported files, the server's own with mode 0700; made when missing.",
        shown="exports in `home.state`",
        example="exports",
    )
    rows: int = _setting(1_000_000, "Rows of a file.", unit="rows", ge=1, le=1_000_000_000)
    bytes: int = _setting(1_000_000_000, "Size of a file.", unit="bytes", ge=1_000)
    folder_bytes: int = _setting(
        10_000_000_000, "Size of all files in the folder; when it is reached, no more is written.", unit="bytes", ge=1_000
    )
    timeout_s: float = _setting(600.0, "Time an export may take.", unit="seconds", gt=0, le=86_400)


class Changes(Section):
    """What one change of rows may do at most, and how long it is kept. A policy can lower its bounds and never raise them."""

    rows: int = _setting(100_000, "Rows of all tables that one change may change.", unit="rows", ge=1, le=10_000_000)
    lock_timeout_s: float = _setting(5.0, "Longest wait of a change for a lock.", unit="seconds", gt=0, le=3600)
    proposal_s: float = _setting(3600.0, "Time in which a proposed change can be applied.", unit="seconds", gt=0, le=604_800)
    undo_s: float = _setting(
        604_800.0, "Time in which an applied change can be undone; its rows are kept as they were, encrypted.", unit="seconds", gt=0
    )
    key: Key | None = _setting(
        None,
        "Secret that what is kept of changes is encrypted with, besides their owners' own. Every server of one control database "
        "needs the same.",
        shown="changes.key in `home.state`, made at the first start",
        example="env:OSTIARY_CHANGES_KEY",
    )


class Jobs(Section):
    """Long work that outlives the server that was asked for it. `ostiary worker` does it."""

    at_once: int = _setting(2, "Jobs that one worker runs at once.", unit="jobs", ge=1, le=64)
    worker: Literal["started", "own"] = _setting(
        "started", "`started`: a server starts a worker when a job waits and there is none; `own`: whoever runs the server does."
    )
    idle_s: float = _setting(
        300.0, "Time without work after which a worker that a server has started ends.", unit="seconds", gt=0, le=86_400
    )
    owners: Mapping[str, Annotated[tuple[Name, ...], AfterValidator(not_empty)]] = _setting(
        {},
        "Agents that come with access tokens of a provider, and the roles that collections of theirs follow rows in. Of all other "
        "agents it is known without their credential who they are.",
        example={"ada": ("curator",)},
    )
