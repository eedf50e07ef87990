"""The reference pages, made from the table of settings and the command line: `python -m ostiary.reference docs/reference`.

The built-in functions come from the reviewed inventory. The pages are checked in; a test fails when one differs from
what this makes.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from textwrap import fill
from typing import Any

import typer

from ostiary.cli import app
from ostiary.config.document import toml
from ostiary.config.sources import variable
from ostiary.config.table import SECTIONS, TABLE, Kind, Setting
from ostiary.http.metrics import FAMILIES
from ostiary.meter import BOUNDS_S, OUTCOMES, STAGES_MEAN
from ostiary_tools.sql.inventory import FUNCTIONS, INVENTORY, REASONS, VOLATILE, BuiltIn

_CONFIGURATION = """\
# Configuration

Made from the table of settings by `python -m ostiary.reference docs/reference`; do not edit it.

One file, `ostiary.toml`; the environment overrules it, and the command line overrules both. The file is the one named by
`--config`, else by `OSTIARY_CONFIG`, else `./ostiary.toml` if it belongs to you, else `$XDG_CONFIG_HOME/ostiary/ostiary.toml`.
`ostiary init` writes one with everything in comments, `ostiary check` prints what is in force and where it came from.

A secret never stands in the file. It is a reference, `"env:NAME"` or `"file:/path"` (a file nobody else can read), or a URL
without a password. An unknown key or `OSTIARY_…` variable, a wrong type, a secret that cannot be read, or values that are
unsafe together stop the start with the line and the mend. In the environment a list is written with commas.
"""

_COMMAND_LINE = """\
# Command line

Made from the commands themselves by `python -m ostiary.reference docs/reference`; do not edit it.

Data goes to stdout, everything else to stderr. A failure is one line `error: …`, often with a second, `hint: …`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused, or a check that did not hold |
| 2 | wrong command line, configuration or policies; nothing was started |
| 3 | a database that is needed cannot be reached |
| 70 | a fault of Ostiary itself |
"""

_FUNCTIONS = """\
# Built-in functions

Made from the reviewed inventory by `python -m ostiary.reference docs/reference`; do not edit it.

Functions of `pg_catalog` that an agent may call need no policy: they compute from their arguments alone, or read nothing but
the clock and chance. The others are refused for every role, and no policy opens them. Each name was decided once, all its
overloads as one, on the catalogs of PostgreSQL {versions}; a name that is not listed, because another version brings it, is
refused until it has been reviewed. Functions of extensions and your own are a matter of [policy](policy-language.md).
"""
_METRICS = """\
# Metrics

Made from the table of metrics by `python -m ostiary.reference docs/reference`; do not edit it.

`GET /metrics` of `ostiary serve --http` answers in Prometheus' text format to [who may know](../how-to/watch-the-server.md). The
numbers are of the process that answers, since it started; with `http.workers` each has the label `worker` too. No label holds
a text of a caller's.

| metric | type | labels | what it is |
|---|---|---|---|
{rows}

## Labels

`datasource` is a name of the configuration, `tool` a name of an installed tool, `unknown` for what is none.

`outcome` is `ok`, or the [code](errors.md) that the agent was told; `unknown` for a tool that does not exist for its caller,
`cancelled` for a call that was, `asked` for one that was answered with a question and `cannot_ask` where there was nobody to ask,
`other` for a code of a third party's tool:

{outcomes}, `other`.

`state` is how a job stands: `queued`, `working`, `completed`, `failed` or `cancelled`.

`stage` is a part of a call's way; a histogram has the upper bounds {bounds} seconds:

{stages}
"""
_INTERNALS = "internals of the server"


def pages() -> Mapping[str, str]:
    """File name → text."""
    return {
        "configuration.md": configuration_page(),
        "command-line.md": command_line_page(),
        "built-in-functions.md": functions_page(),
        "metrics.md": metrics_page(),
    }


def metrics_page() -> str:
    """Every metric, and what its labels can be."""
    rows = [f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |" for one in FAMILIES]
    stages = [f"- `{stage}`: {meaning}" for stage, meaning in STAGES_MEAN.items()]
    outcomes = ", ".join(f"`{outcome}`" for outcome in sorted(OUTCOMES))
    bounds = ", ".join(f"{bound:g}" for bound in BOUNDS_S)
    return _METRICS.format(rows="\n".join(rows), stages="\n".join(stages), outcomes=fill(outcomes, 130), bounds=bounds)


def configuration_page() -> str:
    """Every setting, by section."""
    parts = [_CONFIGURATION]
    for path, model in SECTIONS:
        rows = [_row(setting) for setting in TABLE if setting.section == path]
        head = "| setting | type | default | unit | what it is | environment |\n|---|---|---|---|---|---|"
        parts.append("\n".join([f"## [{'.'.join(path)}]", "", cleandoc(model.__doc__ or ""), "", head, *rows, ""]))
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    choices = ", ".join(f"`{choice}`" for choice in setting.choices)
    unset = "required" if setting.required else "unset"
    default = setting.shown or (unset if setting.default is None else f"`{toml(setting.default)}`")
    name = "" if setting.kind in (Kind.MAPPING, Kind.TABLE) else f"`{variable(setting.key)}`"
    cells = (f"`{setting.name}`", choices or setting.kind, default, setting.unit, setting.help, name)
    return "| " + " | ".join(cells) + " |"


def functions_page() -> str:
    """What is refused and why, by group; what is allowed although it is volatile; and what is allowed."""
    versions = sorted({version for one in INVENTORY.values() for version in one.versions})
    parts = [_FUNCTIONS.format(versions=f"{', '.join(map(str, versions[:-1]))} and {versions[-1]}"), "## Refused\n"]
    parts += [_group(group, reason, versions) for group, reason in sorted(REASONS.items())]
    parts += ["## Allowed although volatile\n", *(f"- `{name}`: {why}" for name, why in sorted(VOLATILE.items()))]
    parts += ["\n## Allowed\n", _listed(FUNCTIONS, versions), ""]
    return "\n".join(parts)


def _group(group: str, reason: str, versions: list[int]) -> str:
    names = [name for name, one in INVENTORY.items() if one.decision == group]
    listed = (
        f"{len(names)} functions; `functions.tsv` of the package lists them.\n" if group == _INTERNALS else _listed(names, versions)
    )
    return f"### {group.capitalize()}\n\n{reason}\n\n{listed if names else 'None.'}\n"


def _listed(names: Iterable[str], versions: list[int]) -> str:
    return fill(", ".join(_named(name, INVENTORY[name], versions) for name in sorted(names)), 130, break_on_hyphens=False)


def _named(name: str, one: BuiltIn, versions: list[int]) -> str:
    """With the versions that have it, where not all of them do."""
    seen = sorted(one.versions)
    return f"`{name}`" if seen == versions else f"`{name}` (in {', '.join(map(str, seen))})"


def command_line_page() -> str:
    """The help of every command, as it prints it."""
    parts = [_COMMAND_LINE]
    for words, text in _helps():
        parts.append(f"## {' '.join(words)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _helps() -> Iterator[tuple[tuple[str, ...], str]]:
    yield from _walk(typer.main.get_command(app), ("ostiary",), None)


def _walk(command: Any, words: tuple[str, ...], above: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    # typer carries a click of its own, without types that could be named here.
    context = command.context_class(command, info_name=words[-1], parent=above, terminal_width=100)
    yield words, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*words, name), context)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages().items():
        (folder / file).write_text(text, encoding="utf-8")
