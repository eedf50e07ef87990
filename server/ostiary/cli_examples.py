"""`ostiary examples add | check | list | remove`: questions with the SQL that answers them, kept in files that people review."""

import asyncio
import re
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary.example_check import Checked
    from ostiary_tools.examples import Example

app = typer.Typer(help="Keep verified examples of questions and their SQL.", no_args_is_help=True)

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.toml", re.ASCII)
RolesOption = Annotated[list[str] | None, typer.Option("--role", help="Only this role, of `agent.roles`; may be repeated.")]


@app.command(epilog="Example: ostiary examples add 'How many orders are open?' --sql \"select count(*) from orders\"")
def add(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="As somebody would ask it.")],
    *,
    sql: Annotated[str, typer.Option("--sql", help="The SELECT that answers it; `-` reads it from stdin.")],
    note: Annotated[str, typer.Option("--note", help="What one has to know to write it.")] = "",
    datasource: Annotated[str | None, typer.Option("--datasource", help="Needed when there are several.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="Name of the file in the folder; else the datasource's.")] = None,
    role: RolesOption = None,
    config: ConfigOption = None,
) -> None:
    """Add an example, once its SQL was held against the live schema. Nothing is run.

    A server that runs takes it within seconds.
    """
    from ostiary.example_edit import with_one_more
    from ostiary.example_files import checked, files_in, judged
    from ostiary_tools.examples import Example

    loaded = configured(config)
    folder = _folder(loaded)
    source = datasource or _only_datasource(loaded)
    name = file or f"{re.sub(r'[^A-Za-z0-9_.-]', '_', source)}.toml"
    if not _FILE.fullmatch(name):
        raise CommandFailed("`--file` is no name of a file", "write one such as `shop.toml`, without a folder", Exit.USAGE)
    text = sys.stdin.read() if sql == "-" else sql
    values = {"question": question.strip(), "datasource": source, "sql": text.strip().rstrip(";").rstrip(), "note": note.strip()}
    if wrong := next(checked(values), ""):
        raise CommandFailed(wrong, code=Exit.USAGE)
    example = Example(**values, file=name, line=0)
    found = files_in(folder)
    judged(found)
    edited = with_one_more(found.texts.get(name, ""), example)
    again = judged(type(found)({**found.texts, name: edited}))
    (result,) = asyncio.run(_check(loaded, [example], role))
    if result.problem:
        raise CommandFailed(f"its SQL does not fit: {one_line(result.problem)}", "nothing was added")
    _write(folder / name, edited)
    added = next(one for one in again if one.file == name and one.question == example.question)
    say(f"added to {folder / name}:{added.line}")
    _print_roles(result)


@app.command(epilog="Example: ostiary examples check --role analyst")
def check(*, role: RolesOption = None, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Hold every example against the live schema, and say for each role whether it is shown it. Nothing is run.

    Exit codes: 0 all fit; 1 one does not. That a role is not shown an example is no failure.
    """
    loaded = configured(config)
    results = asyncio.run(_check(loaded, _examples(loaded), role))
    if json_:
        print_json([{**asdict(one.example), "problem": one.problem, "roles": dict(one.roles)} for one in results])
    else:
        for one in results:
            _print_checked(one)
        failed = sum(bool(one.problem) for one in results)
        typer.secho(f"{len(results) - failed} examples fit, {failed} do not", fg="red" if failed else "green")
    if any(one.problem for one in results):
        raise typer.Exit(Exit.FAILED)


@app.command("list", epilog="Example: ostiary examples list --datasource shop")
def list_(
    *,
    datasource: Annotated[str | None, typer.Option("--datasource", help="Only those of this one.")] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """List the examples with their places. Reads the files and nothing else."""
    found = [one for one in _examples(configured(config)) if datasource in (None, one.datasource)]
    if json_:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        typer.echo(f"{one_line(one.file)}:{one.line}: {one_line(one.datasource)}: {one_line(one.question)}")


@app.command(epilog="Example: ostiary examples remove shop.toml:12")
def remove(
    example: Annotated[str, typer.Argument(metavar="EXAMPLE", help="Its question, or FILE:LINE as `list` prints it.")],
    *,
    config: ConfigOption = None,
) -> None:
    """Remove an example from its file; the rest of the file stays as it is."""
    from ostiary.example_edit import without
    from ostiary.example_files import files_in, judged, key_of

    loaded = configured(config)
    folder = _folder(loaded)
    found = files_in(folder)
    fitting = [one for one in judged(found) if example == f"{one.file}:{one.line}" or key_of(example) == key_of(one.question)]
    if len(fitting) != 1:
        places = ", ".join(f"{one.file}:{one.line}" for one in fitting)
        hint = f"name one of {places}" if fitting else "`ostiary examples list` says which there are"
        raise CommandFailed("there are several such examples" if fitting else "there is no such example", hint, Exit.USAGE)
    (gone,) = fitting
    text = without(found.texts[gone.file], gone.line)
    judged(type(found)({**found.texts, gone.file: text}))
    _write(folder / gone.file, text)
    say(f"removed from {folder / gone.file}")


async def _check(config: "Config", examples: "Iterable[Example]", roles: list[str] | None) -> "list[Checked]":
    from ostiary.app import load_policies, mask_key, open_datasources
    from ostiary.example_check import Installation, check
    from ostiary.example_files import ExampleSet
    from ostiary.examples import Examples
    from ostiary.identity.principals import configured_principal
    from ostiary.worlds import Worlds
    from ostiary_tools.packs import discover

    agent = config.agent
    if unknown := sorted(set(roles or ()) - set(agent.roles)):
        known = ", ".join(f"`{role}`" for role in agent.roles)
        raise CommandFailed(f"role `{one_line(unknown[0])}` is not configured", f"choose among {known}", Exit.USAGE)
    callers = {role: configured_principal(agent.name, (role,), config.attributes) for role in roles or agent.roles}
    engine = (await load_policies(config)).engine
    async with AsyncExitStack() as stack:
        sources = await stack.enter_async_context(open_datasources(config))
        held = Examples(ExampleSet(config.examples.directory), frozenset(sources))
        return await check(
            examples,
            Installation(
                held,
                sources,
                Worlds(sources, discover(), mask_key(config), views=config.policy.views),
                engine,
                callers,
                config.limits.timeout_s,
            ),
        )


def _examples(config: "Config") -> "tuple[Example, ...]":
    from ostiary.example_files import files_in, judged

    return judged(files_in(_folder(config)))


def _folder(config: "Config") -> Path:
    if config.examples.directory is None:
        raise CommandFailed("no folder of examples is configured", "set `examples.directory`", Exit.USAGE)
    return config.examples.directory


def _only_datasource(config: "Config") -> str:
    from ostiary.sources import SAMPLE

    names = tuple(config.datasources) or (SAMPLE,)
    if len(names) > 1:
        known = ", ".join(f"`{name}`" for name in names)
        raise CommandFailed("which datasource is it of?", f"say `--datasource`, one of {known}", Exit.USAGE)
    return names[0]


def _write(path: Path, text: str) -> None:
    from ostiary.example_edit import replace_file

    try:
        replace_file(path, text)
    except OSError as failure:
        raise CommandFailed(f"cannot write `{path}`: {(failure.strerror or 'failed').lower()}", code=Exit.USAGE) from None


def _print_checked(one: "Checked") -> None:
    place = f"{one_line(one.example.file)}:{one.example.line}"
    typer.secho(f"{place}: {one_line(one.example.question)}", fg="red" if one.problem else None)
    if one.problem:
        typer.echo(f"  does not fit: {one_line(one.problem)}")
    _print_roles(one)


def _print_roles(one: "Checked") -> None:
    if shown := [role for role, why in one.roles.items() if not why]:
        typer.echo(f"  shown to {', '.join(shown)}")
    for role, why in one.roles.items():
        if why:
            typer.echo(f"  not to {role}: {one_line(why)}")
