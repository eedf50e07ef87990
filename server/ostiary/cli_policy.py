"""`ostiary policy check | test | explain`: is the policy valid, does it do what is expected, and why.

`check` and `test` read files and nothing else, but for the live schemas that `check` looks at when it is asked to.
`explain` plans a call against the live schema and decides it; it runs nothing and records nothing.
"""

import asyncio
import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

from ostiary.cli_callers import AgentOption, RolesOption, ValuesOption, caller
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json
from ostiary.cli_policy_install import InstalledOption, LoginOption, RowsOption, check_installed
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary.explanation import Explanation
    from ostiary_policies.attributes import AttributeType
    from ostiary_policies.cases import CaseResult
    from ostiary_policies.engine import Engine
    from ostiary_policies.errors import Problem
    from ostiary_policies.model import Principal
    from ostiary_tools.sql.row_rules import Findings

app = typer.Typer(help="Validate policies, run decision tables, say why a call is permitted or denied.", no_args_is_help=True)

_CONFIGURATION_FILE = "ostiary.toml"

PathArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[PATH]", help="Folder of `*.cedar` files, without any configuration; else the policies in force."),
]
BundleOption = Annotated[
    list[str] | None, typer.Option("--bundle", help="With PATH: a shipped bundle in force beside it; may be repeated.")
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="With PATH: a tag of your own; may be repeated.")]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="NAME=TYPE", help="With PATH: an attribute of agents and its type; may be repeated."),
]
CheckedAttributeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME=…",
        help="With PATH: an attribute of agents and its type; with --login: one of the agent and its value; may be repeated.",
    ),
]


@app.command(epilog="Example: ostiary policy check policies/")
def check(
    path: PathArgument = None,
    *,
    bundle: BundleOption = None,
    tag: TagOption = None,
    attribute: CheckedAttributeOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also hold row rules against the tables of the configured datasources.")
    ] = False,
    login: LoginOption = None,
    role: RolesOption = None,
    agent: AgentOption = None,
    datasource: InstalledOption = None,
    rows: RowsOption = False,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Validate policies: syntax, schema, ids, annotations, tags, attributes; with --live also row rules against their tables.

    With --login something else is checked: that this database login has natively what the policies in force let the agent read,
    no more and no less, as `ostiary policy install` makes it.
    """
    if login is not None:
        if path is not None or bundle or tag or live:
            hint = "leave out PATH, `--bundle`, `--tag`, `--live`"
            raise CommandFailed("`--login` is about the policies in force", hint, Exit.USAGE)
        loaded = configured(config)
        check_installed(loaded, caller(loaded, role, agent, attribute), login, datasource, rows=rows, json_=json_)
        return
    if role or agent or datasource or rows:
        raise CommandFailed("`--role`, `--agent`, `--datasource` and `--rows` need `--login`", code=Exit.USAGE)
    engine = _engine(_place(path, bundle, tag, attribute, config), json_=json_)
    found, unjudged = asyncio.run(_live(configured(config), engine)) if live else (None, ())
    if found and found.problems:
        _refuse(found.problems, json_=json_)
    policies, governed = engine.policies.policies, sorted(engine.policies.row_rules.governed)
    if json_:
        told = {"valid": True, "policy_hash": engine.policy_hash, "roles": sorted(engine.roles), "policies": list(policies)}
        row_rules = {"governed": governed, "live": live, "closed": list(found.closed) if found else []}
        told |= {"views_unjudged": list(unjudged)} if unjudged else {}
        print_json({**told, "row_rules": row_rules})
        return
    for file in dict.fromkeys(policy.file for policy in policies.values()):
        typer.echo(f"{file}: {', '.join(policy.id for policy in policies.values() if policy.file == file)}")
    typer.secho(f"{len(policies)} policies are valid, for the roles: {', '.join(sorted(engine.roles)) or 'none'}", fg="green")
    if governed:
        held = "they fit as the tables are now" if live else "--live holds them against the tables"
        typer.echo(f"row rules govern {', '.join(governed)}: {held}")
    for why in found.closed if found else ():
        typer.secho(f"closed to everybody: {one_line(why)}", fg="yellow")
    for view in unjudged:
        typer.secho(f"closed where anything behind it is masked or withheld: {one_line(view)}", fg="yellow")
    typer.echo(f"hash {engine.policy_hash}")


@app.command("test", epilog="Example: ostiary policy test policies/")
def run_tables(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A decision table, or a folder with tables in it or in `tests`; else the one in force."
        ),
    ] = None,
    *,
    bundle: BundleOption = None,
    tag: TagOption = None,
    attribute: AttributeOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Run decision tables: rows that say who wants what, and what is expected.

    A folder without `*.cedar` files is about the shipped bundles.
    """
    place = _place(path, bundle, tag, attribute, config)
    tables = _tables(path or place.directory)
    if path is not None and place.directory is not None and not any(place.directory.glob("*.cedar")):
        place = place._replace(directory=None, bundles=place.bundles or _all_bundles())
    engine = _engine(place, json_=json_)
    results = {str(table): _results(engine, table) for table in tables}
    failed = sum(not result.passed for table in results.values() for result in table)
    passed = sum(map(len, results.values())) - failed
    if json_:
        told = {table: [{**asdict(result), "passed": result.passed} for result in cases] for table, cases in results.items()}
        print_json({"policy_hash": engine.policy_hash, "passed": passed, "failed": failed, "tables": told})
    else:
        _print_failures(results)
        typer.secho(f"{passed} cases pass, {failed} fail, in {len(tables)} tables", fg="red" if failed else "green")
    if failed:
        raise typer.Exit(Exit.FAILED)


@app.command(epilog="Example: ostiary policy explain --role analyst --sql 'select email from customers'")
def explain(
    *,
    tool: Annotated[str, typer.Option("--tool", help="The tool or prompt to call.")] = "query",
    role: RolesOption = None,
    agent: AgentOption = None,
    attribute: ValuesOption = None,
    taint: Annotated[list[str] | None, typer.Option("--taint", help="What the agent is tainted with; may be repeated.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="The argument `sql`.")] = None,
    datasource: Annotated[str | None, typer.Option("--datasource", help="The argument `datasource`.")] = None,
    arguments: Annotated[str, typer.Option("--arguments", help="Further arguments, as a JSON object.")] = "{}",
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Say why a call would be permitted or denied. Nothing is run."""
    # The composition root brings drivers and tool packs with it.
    import sqlparse

    from ostiary.redaction import printable

    given = _arguments(arguments, {"sql": sql, "datasource": datasource})
    loaded = configured(config)
    who = replace(caller(loaded, role, agent, attribute), taints=frozenset(taint or ()))
    explanation = asyncio.run(_explain(loaded, who, tool, given))
    if json_:
        print_json({"agent": who.agent, "roles": list(who.roles), **asdict(explanation)})
    else:
        headline, *rest = map(printable, explanation.sentences)
        typer.secho(headline, fg="green" if explanation.allowed else "red")
        for sentence in rest:
            typer.echo(f"  {sentence}")
        for statement in explanation.statements:
            typer.echo("it would run:")
            typer.echo(textwrap.indent(sqlparse.format(printable(statement), reindent=True), "  "))
    if not explanation.allowed:
        raise typer.Exit(Exit.FAILED)


class _Place(NamedTuple):
    """Where policies come from."""

    directory: Path | None
    bundles: tuple[str, ...]
    tags: frozenset[str]
    attributes: "Mapping[str, AttributeType]"


def _place(
    path: Path | None, bundle: list[str] | None, tag: list[str] | None, attribute: list[str] | None, config: Path | None
) -> _Place:
    if path is not None:
        folder = path.parent if path.is_file() else path
        return _Place(folder, tuple(bundle or ()), frozenset(tag or ()), _declared(attribute or ()))
    if bundle or tag or attribute:
        given = next(name for name, value in (("bundle", bundle), ("tag", tag), ("attribute", attribute)) if value)
        raise CommandFailed(f"`--{given}` needs PATH", "without it the configuration says it", Exit.USAGE)
    loaded = configured(config)
    policy = loaded.policy
    return _Place(policy.directory, policy.bundles, frozenset(policy.tags), loaded.attribute_types)


def _declared(written: Iterable[str]) -> "Mapping[str, AttributeType]":
    from pydantic import TypeAdapter, ValidationError

    from ostiary.config.callers import AttributeName
    from ostiary_policies.attributes import AttributeType

    try:
        pairs = [one.partition("=") for one in written]
        return {TypeAdapter(AttributeName).validate_python(name): AttributeType(type_) for name, _, type_ in pairs}
    except (ValueError, ValidationError):
        types = ", ".join(AttributeType)
        hint = f"write a name that policies can ask for and one of {types}, as in `region=text`"
        raise CommandFailed("that declares no attribute", hint, Exit.USAGE) from None


def _all_bundles() -> tuple[str, ...]:
    from ostiary.policy_files import BUNDLES

    return BUNDLES


def _engine(place: _Place, *, json_: bool) -> "Engine":
    from ostiary.policy_files import read
    from ostiary_policies.errors import PolicyError

    try:
        return read(*place)
    except PolicyError as error:
        _refuse(error.problems, json_=json_)


def _refuse(problems: "tuple[Problem, ...]", *, json_: bool) -> NoReturn:
    from ostiary_policies.errors import PolicyError

    if not json_:
        raise PolicyError(problems)
    print_json({"valid": False, "problems": [asdict(problem) for problem in problems]})
    raise typer.Exit(Exit.USAGE)


async def _live(loaded: "Config", engine: "Engine") -> "tuple[Findings, tuple[str, ...]]":
    """What row rules come to, and the views into which no policy reaches though it is configured."""
    from ostiary.app import open_datasources
    from ostiary.fit import fit, unjudged

    inside_views = loaded.policy.views == "as_queries"
    async with open_datasources(loaded) as datasources:
        found = await fit(engine.policies.row_rules, datasources, inside_views=inside_views)
        views = await unjudged(datasources) if inside_views and not found.unseen else ()
    for name, why in found.unseen.items():
        raise CommandFailed(
            f"datasource `{name}` cannot be looked at: {why}", "row rules about it are not checked", Exit.UNAVAILABLE
        )
    return found.findings, views


def _tables(path: Path | None) -> list[Path]:
    found: list[Path] = []
    if path is not None and path.is_file():
        found = [path]
    elif path is not None:
        beside = (table for table in path.glob("*.toml") if table.name != _CONFIGURATION_FILE)
        found = [*sorted(beside), *sorted((path / "tests").glob("*.toml"))]
    if not found:
        raise CommandFailed("there is no decision table", "write `tests/NAME.toml` beside your policies", Exit.USAGE)
    return found


def _results(engine: "Engine", table: Path) -> list["CaseResult"]:
    from ostiary_policies.cases import run_table
    from ostiary_policies.errors import TableError

    try:
        return run_table(engine, table.read_text("utf-8"))
    except TableError as error:
        raise CommandFailed(f"{table}: {error}", code=Exit.USAGE) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{table}: it cannot be read as UTF-8 text", code=Exit.USAGE) from error


def _print_failures(results: Mapping[str, list["CaseResult"]]) -> None:
    for table, cases in results.items():
        for case in cases:
            if not case.passed:
                typer.secho(f"{table}: {case.title}", fg="red")
                for difference in case.differences:
                    typer.echo(f"  {difference}")


def _arguments(text: str, named: Mapping[str, str | None]) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise CommandFailed("`--arguments` is no JSON object", 'write it as `{"name": "value"}`', Exit.USAGE)
    return given | {name: value for name, value in named.items() if value is not None}


async def _explain(loaded: "Config", who: "Principal", tool: str, arguments: Mapping[str, Any]) -> "Explanation":
    from ostiary.app import open_holdings, open_world
    from ostiary.explanation import explain_call
    from ostiary.marks import marked
    from ostiary_tools.api import CollectionName, Surface

    async with open_world(loaded, who) as (engine, registry, world):
        found = registry.get((Surface.TOOL, tool)) or registry.get((Surface.PROMPT, tool))
        if found is None:
            names = sorted({name for surface, name in registry if surface in (Surface.TOOL, Surface.PROMPT)})
            raise CommandFailed(f"there is no tool `{tool}`", f"there are {', '.join(names)}", Exit.USAGE)
        if marked(found.args, CollectionName):
            async with open_holdings(loaded) as holdings:
                return explain_call(engine, who, found, arguments, replace(world, holdings=holdings(engine, who)))
        return explain_call(engine, who, found, arguments, world)
