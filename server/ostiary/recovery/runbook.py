"""What to do on the worst day, written for this installation: a page of Markdown for paper, whose commands run as they stand.

It is pure, and says nothing that is secret: where keys lie, and not what is in them.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostiary.cli_options import one_line
from ostiary.recovery.report import Report, Source, Taken
from ostiary.recovery.words import counted, duration, moment

KEY = "RECOVERY_KEY"
"""The variable that names the file of the recovery key, which lies elsewhere."""
_ODD = re.compile(r"[^a-z0-9_]")
_CONTROL = "control"
_PLAIN = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
"""As a configuration may name something."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What a runbook names of it."""

    config: Path | None
    """The file that it is configured by."""
    repository: str
    restores: Path
    keys: Path
    recovery: str
    """The public part of the recovery key; empty where there is no repository yet."""
    tables: Mapping[str, tuple[str, str]]
    """By source, one table of its newest logical backup, as schema and name."""


def runbook(report: Report, here: Installation) -> str:
    """All of it."""
    return "\n".join((*_beginning(report, here), *_sources(report, here), *_lost(report, here), *_regularly(report, here))) + "\n"


def _beginning(report: Report, here: Installation) -> Iterator[str]:
    yield "# Runbook: when data is lost"
    yield ""
    yield f"Made {moment(report.made_at)} by `ostiary dr runbook`. Make it anew when the configuration changes, print it, and keep"
    yield "it beside the recovery key, not on this machine. Backups that are named here are the newest of that moment."
    yield ""
    yield "| what | where |"
    yield "|---|---|"
    yield f"| backups | {_cell(here.repository)} |"
    yield f"| keys of this installation | {_cell(here.keys)} |"
    yield f"| recovery key | elsewhere; its public part is {_cell(here.recovery or 'not made yet')} |"
    yield f"| what is restored | {_cell(here.restores)} |"
    yield f"| configuration | {_cell(here.config or 'none: everything is as it comes')} |"
    yield ""
    yield "Nothing here touches what lives: every restore makes something new, and putting it in the place of the old one is your"
    yield "act. Stop whatever still writes to damaged data first."
    yield ""
    yield "## Look before you act"
    yield ""
    yield "What can be restored, up to when, and what is wrong; the exit code is 1 while an objective is missed:"
    yield ""
    yield from _run(f"{_ostiary(here, 'dr', 'report')} || true", _ostiary(here, "backup", "list"))


def _sources(report: Report, here: Installation) -> Iterator[str]:
    for source in report.sources:
        yield f"## {_code(source.name)} is lost or damaged"
        yield ""
        usable = [one for one in source.taken if one.usable]
        if not usable:
            yield "There is nothing to restore it from."
            yield ""
            continue
        newest = usable[-1]
        yield f"{counted(len(usable), 'backup')} can be restored; the newest is {newest.kind}, begun {moment(newest.started_at)}."
        yield from (f"{one.name.capitalize()}: {_measured(one.measured_s)} at the last look." for one in source.objectives)
        yield ""
        if source.tool:
            yield f"It is kept by {_code(source.tool)}, which restores it; the newest backup is {_code(newest.id)}."
            yield ""
            continue
        yield from _ways(source, usable, here)


def _measured(seconds: float | None) -> str:
    return "not measured" if seconds is None else duration(seconds)


def _ways(source: Source, usable: Sequence[Taken], here: Installation) -> Iterator[str]:
    kinds = {one.kind: one for one in usable}
    if "sqlite" in kinds:
        yield "The file, under a new name:"
        yield ""
        yield from _run(_ostiary(here, "restore", kinds["sqlite"].id, f"{_name(source)}_restored", "--to", "file", "--yes"))
        return
    if "logical" in kinds:
        yield "The server lives: a new database beside the damaged one; or, where only some rows are wanted, one table in a schema"
        yield "of its own:"
        yield ""
        commands = [_ostiary(here, "restore", kinds["logical"].id, f"{_name(source)}_restored", "--to", "database", "--yes")]
        if table := here.tables.get(source.name):
            words = ("--to", "schema", "--table", ".".join(table), "--yes")
            commands.append(_ostiary(here, "restore", kinds["logical"].id, f"{_name(source)}_table", *words))
        yield from _run(*commands)
    if _logged(source):
        yield "To the last that is kept of the log, as a server of its own; in the place of `latest` a moment before a mistake,"
        yield "such as `2026-01-31T12:00:00Z`, or `name:…`, `lsn:…`, `xid:…`:"
        yield ""
        yield from _run(_ostiary(here, "restore", source.name, f"{_name(source)}_latest", "--moment", "latest", "--yes"))
    yield "The server is lost: a new one, in a folder, as it was when the backup was made; it says itself how it is started:"
    yield ""
    yield from _run(_ostiary(here, "restore", usable[-1].id, f"{_name(source)}_instance", "--to", "instance", "--yes"))
    if source.name == _CONTROL:
        yield from _put_back()


def _put_back() -> Iterator[str]:
    """Of the control database: putting it back is not enough."""
    yield "Calls are recorded in it, so while it is away nothing is restored but by the files alone, as below."
    yield ""
    yield "A copy of it is an earlier moment, and the anchors of this installation say what came after. Once it stands in the place"
    yield "of the old one, every call is refused (rule `audit_put_back`) until a person has the log go on:"
    yield ""
    yield "1. Stop every server and worker. Fetch the newest copy of the anchors from where this machine cannot write."
    yield "2. `ostiary audit verify` says what is there; `ostiary audit open-epoch --reason …`, with `--anchor` for each copy of"
    yield "   anchors, says what is lost, puts that on record, and ends approvals, changes, jobs and cursors that came to life."
    yield "3. What it cannot end you see to: tokens revoked since are valid again (`ostiary tokens list`), taints left since are"
    yield "   gone, budgets count anew, and collections and migrations are as they were."
    yield "4. Start one server, and take a full backup."
    yield ""


def _logged(source: Source) -> bool:
    """Whether the newest that can be restored is in the log."""
    newest = max(source.windows, key=lambda window: window.end, default=None)
    return newest is not None and newest.end > newest.start and _PLAIN.fullmatch(source.name) is not None


def _lost(report: Report, here: Installation) -> Iterator[str]:
    yield "## This machine is lost"
    yield ""
    yield f"On any machine with Ostiary, PostgreSQL's programs and a copy of {_code(here.repository)}, in that place here."
    yield f"`{KEY}` is the path of the recovery key's file. No configuration, no policy and no control database are asked."
    yield ""
    commands = []
    for source in report.sources:
        usable = [one for one in source.taken if one.usable]
        if usable and not source.tool:
            to = "file" if usable[-1].kind == "sqlite" else "instance"
            what = (source.name, "--moment", "latest") if _logged(source) else (usable[-1].id, "--to", to)
            words = ("restore", what[0], f"./{_name(source)}_from_files", *what[1:], "--repository", here.repository)
            commands.append(f'{shlex.join(("ostiary", *words))} --identity "${KEY}"')
    yield from _run(*commands)
    yield "Without Ostiary it goes by `age`, `zstd` and PostgreSQL's own programs; `RESTORE.txt` beside the backups says how."
    yield ""


def _regularly(report: Report, here: Installation) -> Iterator[str]:
    yield "## So that it goes well"
    yield ""
    yield "A drill proves a backup by restoring it. Once a year show that the recovery key is still there and still decrypts."
    yield ""
    newest = [[one.id for one in source.taken if one.usable][-1:] for source in report.sources if not source.tool]
    drills = [_ostiary(here, "drill", *ids) for ids in newest if ids]
    prove = f'{_ostiary(here, "backup", "prove")} --recovery-key "${KEY}"'
    yield from _run(*drills, prove)


def _run(*commands: str) -> Iterator[str]:
    if commands:
        yield "```console"
        yield from commands
        yield "```"
        yield ""


def _ostiary(here: Installation, *words: str) -> str:
    config = ("--config", str(here.config)) if here.config is not None else ()
    return shlex.join(("ostiary", *words, *config))


def _name(source: Source) -> str:
    """As a database and a file can be called; a name as it is stands in no command."""
    return _ODD.sub("_", source.name)


def _code(text: object) -> str:
    """Within a line: no backtick of a name ends it."""
    return f"`{one_line(str(text)).replace('`', chr(39))}`"


def _cell(text: object) -> str:
    return _code(text).replace("|", "\\|")
