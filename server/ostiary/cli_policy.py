"""`ostiary policy check | test | explain`: is the policy valid, does it do what is expected, and why.

`check` and `test` read files and nothing else. `explain` plans a call against the live
schema and decides it; it runs nothing and records nothing.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from ostiary import config, policy_files
from ostiary.exits import Exit
from ostiary_policies.cases import CaseResult, run_table
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError, TableError
from ostiary_policies.explain import explain as sentences_of
from ostiary_policies.model import Permit, Principal
from ostiary_tools.api import Tool, ToolError, World
from ostiary_tools.errors import Refused

app = typer.Typer(
    name="policy", help="Validate policies, run decision tables, say why a call is allowed or denied.", no_args_is_help=True
)

_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)

PathArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Folder of `*.cedar` files, taken without any configuration. Left out: the policies in force.", show_default=False
    ),
]
BundleOption = Annotated[
    list[str] | None, typer.Option("--bundle", help="With PATH: a shipped bundle in force beside it; may be repeated.")
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="With PATH: a tag of your own that policies may use.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="The configuration file.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command()
def check(
    path: PathArgument = None,
    bundle: BundleOption = None,
    tag: TagOption = None,
    config_file: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Validate policies: syntax, schema, ids, annotations, tags.

    Example: ostiary policy check policies/
    """
    engine = _engine(_place(path, bundle, tag, config_file), as_json=as_json)
    policies = engine.policies
    if as_json:
        _print_json(
            {"valid": True, "policy_hash": engine.policy_hash, "roles": sorted(engine.roles), "policies": list(policies.policies)}
        )
        return
    by_file: dict[str, list[str]] = {}
    for policy in policies.policies.values():
        by_file.setdefault(policy.file, []).append(policy.id)
    for file, ids in by_file.items():
        _out.print(f"{file}: {', '.join(ids)}")
    _out.print(
        f"{len(policies.policies)} policies are valid, for the roles {', '.join(sorted(engine.roles)) or 'none'}", style="green"
    )
    _out.print(engine.policy_hash, style="dim")


@app.command("test")
def run_tables(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A decision table, or a folder with tables in it or in its `tests` folder, beside `*.cedar` files or not."
        ),
    ] = None,
    bundle: BundleOption = None,
    tag: TagOption = None,
    config_file: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run decision tables: each row says who wants what, and what is expected.

    Example: ostiary policy test policies/
    """
    place = _place(path, bundle, tag, config_file)
    if path is not None and place.directory is not None and not any(place.directory.glob("*.cedar")):
        # Tables alone: they are about the shipped bundles.
        place = _Place(None, place.bundles or policy_files.BUNDLES, place.tags)
    tables = _tables(path or place.directory)
    if not tables:
        _refuse("there is no decision table", "write `tests/NAME.toml` beside your policies", as_json=as_json)
    engine = _engine(place, as_json=as_json)
    results = {table: _run(engine, table, as_json=as_json) for table in tables}
    failed = sum(not result.passed for table in results.values() for result in table)
    passed = sum(map(len, results.values())) - failed
    if as_json:
        told = {str(table): [{**asdict(result), "passed": result.passed} for result in results[table]] for table in tables}
        _print_json({"policy_hash": engine.policy_hash, "passed": passed, "failed": failed, "tables": told})
    else:
        _print_failures(results)
        _out.print(f"{passed} cases pass, {failed} fail, in {len(tables)} tables", style="red" if failed else "green")
    if failed:
        raise typer.Exit(Exit.FAILED)


@app.command()
def explain(
    *,
    tool: Annotated[str, typer.Option(help="The tool or prompt to call.")] = "query",
    role: Annotated[list[str] | None, typer.Option("--role", help="A role of the agent; several may be given.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent's name.", show_default="the configured agent")] = None,
    sql: Annotated[str | None, typer.Option(help="The argument `sql`.")] = None,
    datasource: Annotated[str | None, typer.Option(help="The argument `datasource`.")] = None,
    arguments: Annotated[str, typer.Option(help="Further arguments, as a JSON object.")] = "{}",
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a call would be permitted or denied. Nothing is run.

    Example: ostiary policy explain --role analyst --tool query --sql 'select email from customers'
    """
    given = _arguments(arguments, sql, datasource, as_json=as_json)
    settings = config.load(config_file, config.environment(), {})
    who = Principal(agent or settings.agent.name, tuple(sorted(set(role or ([settings.agent.role] if agent is None else [])))))
    explanation = asyncio.run(_explain_live(settings, who, tool, given))
    if as_json:
        _print_json(asdict(explanation))
    else:
        headline, *rest = explanation.sentences
        _out.print(headline, style="green" if explanation.allowed else "red")
        for sentence in rest:
            _out.print(f"  {sentence}")
    if not explanation.allowed:
        raise typer.Exit(Exit.FAILED)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call would be permitted or not."""

    allowed: bool
    sentences: tuple[str, ...]
    """A headline, then one for each term or reason."""
    rules: tuple[str, ...]
    policy_hash: str


def explain_call(engine: Engine, principal: Principal, tool: Tool[Any], arguments: Mapping[str, Any], world: World) -> Explanation:
    """Plan the call and decide it, as the gate would, and run nothing."""
    try:
        intent = tool.plan(tool.args.model_validate(dict(arguments)), world)
    except ValidationError as error:
        said = tuple(f"`{'.'.join(map(str, e['loc']))}`: {e['msg'].lower()}" for e in error.errors(include_url=False))
        return Explanation(
            allowed=False, sentences=("the arguments are not valid", *said), rules=(), policy_hash=engine.policy_hash
        )
    except ToolError as error:
        rules = (error.rule,) if isinstance(error, Refused) else ()
        said = (f"refused before any policy was asked: {error.message}", *([f"rule: `{rules[0]}`"] if rules else []))
        hint = (error.hint,) if error.hint else ()
        return Explanation(allowed=False, sentences=(*said, *hint), rules=rules, policy_hash=engine.policy_hash)
    decision = engine.decide(principal, intent)
    if isinstance(decision, Permit):
        return Explanation(
            allowed=True, sentences=tuple(sentences_of(decision)), rules=decision.rules, policy_hash=engine.policy_hash
        )
    forbids = tuple(sorted({rule for reason in decision.reasons for rule in reason.rules}))
    return Explanation(allowed=False, sentences=tuple(sentences_of(decision)), rules=forbids, policy_hash=engine.policy_hash)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where policies come from."""

    directory: Path | None
    bundles: tuple[str, ...]
    tags: frozenset[str]


def _place(path: Path | None, bundle: list[str] | None, tag: list[str] | None, config_file: Path | None) -> _Place:
    if path is not None:
        folder = path.parent if path.is_file() else path
        return _Place(folder, tuple(bundle or ()), frozenset(tag or ()))
    if bundle or tag:
        raise typer.BadParameter("`--bundle` and `--tag` go with PATH; without it the configuration says both")
    policy = config.load(config_file, config.environment(), {}).policy
    return _Place(policy.directory, policy.bundles, frozenset(policy.tags))


def _engine(place: _Place, *, as_json: bool) -> Engine:
    try:
        return policy_files.read(place.directory, place.bundles, place.tags)
    except PolicyError as error:
        if as_json:
            _print_json({"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        else:
            for problem in error.problems:
                _err.print(str(problem), style="red")
        raise typer.Exit(Exit.USAGE) from error


def _tables(path: Path | None) -> list[Path]:
    if path is None:
        return []
    if path.is_file():
        return [path]
    beside = [table for table in path.glob("*.toml") if table.name != config.FILE_NAME]
    return sorted(beside) + sorted((path / "tests").glob("*.toml"))


def _run(engine: Engine, table: Path, *, as_json: bool) -> list[CaseResult]:
    try:
        return run_table(engine, table.read_text("utf-8"))
    except (TableError, OSError, UnicodeDecodeError) as error:
        _refuse(f"{table}: {error}", as_json=as_json)


def _print_failures(results: Mapping[Path, list[CaseResult]]) -> None:
    for table, cases in results.items():
        for case in cases:
            if not case.passed:
                _out.print(f"{table}: {case.title}", style="red")
                for difference in case.differences:
                    _out.print(f"  {difference}")


def _arguments(text: str, sql: str | None, datasource: str | None, *, as_json: bool) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        _refuse("`--arguments` is no JSON object", as_json=as_json)
    named = {"sql": sql, "datasource": datasource}
    return given | {name: value for name, value in named.items() if value is not None}


async def _explain_live(settings: config.Config, who: Principal, tool: str, arguments: Mapping[str, Any]) -> Explanation:
    # The composition root brings drivers and tool packs with it; `check` and `test` start without them.
    from ostiary.app import open_world  # type: ignore[attr-defined]  # provided by the composition root

    async with open_world(settings, who) as (engine, registry, world):
        found = next((registry[key] for key in sorted(registry) if key[1] == tool), None)
        if found is None:
            known = ", ".join(sorted({name for _, name in registry}))
            return Explanation(
                allowed=False,
                sentences=(f"there is no tool `{tool}`; there are {known}",),
                rules=(),
                policy_hash=engine.policy_hash,
            )
        return explain_call(engine, who, found, arguments, world)


def _refuse(message: str, hint: str = "", *, as_json: bool) -> NoReturn:
    if as_json:
        _print_json({"error": message, "hint": hint})
    else:
        _err.print(f"{message}; {hint}" if hint else message, style="red")
    raise typer.Exit(Exit.USAGE)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
