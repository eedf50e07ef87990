"""The invariants of ARCHITECTURE.md, read from the source."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"policies": "ostiary_policies", "tools": "ostiary_tools", "server": "ostiary"}
SOURCES = {
    path.relative_to(ROOT / root).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for root, package in PACKAGES.items()
    for path in sorted((ROOT / root / package).rglob("*.py"))
}
DRIVERS = {"asyncpg", "psycopg", "sqlite3", "duckdb", "chromadb"}
INPUT_OUTPUT = {"asyncio", "io", "os", "pathlib", "socket", "subprocess", "shutil", "tempfile", "urllib", "http", "logging"}


@cache
def trees() -> dict[str, ast.Module]:
    """Of each module; not before a test asks, for every process of the test runner imports this file."""
    return {module: ast.parse(path.read_text()) for module, path in SOURCES.items()}


def imports(module: str) -> Iterator[str]:
    """Full names of what a module imports, wherever in it."""
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(*names: str) -> set[str]:
    """Modules that import any of these packages."""
    return {module for module in trees() for name in imports(module) if name.split(".")[0] in names}


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def callers(name: str) -> set[str]:
    """Modules that call something of this bare name."""
    return {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (getattr(node.func, "id", None) == name or getattr(node.func, "attr", None) == name)
    }


def test_imports_point_one_way():
    """Server → tools → policies."""
    for module in trees():
        for name in imports(module):
            if within(module, "ostiary_policies"):
                assert not within(name, "ostiary_tools", "ostiary"), f"{module} imports {name}"
            if within(module, "ostiary_tools"):
                assert not within(name, "ostiary"), f"{module} imports {name}"


def test_policies_do_no_input_or_output():
    found = {(m, n) for m in trees() if within(m, "ostiary_policies") for n in imports(m) if n.split(".")[0] in INPUT_OUTPUT}
    assert found == set()


def test_policies_open_nothing():
    opened = {
        module for name in ("open", "read_text", "write_text") for module in callers(name) if within(module, "ostiary_policies")
    }
    assert opened == {"ostiary_policies.cedar"}, "only the shipped schema of the package is read"


def test_only_cedar_imports_cedarpy():
    assert importers("cedarpy") == {"ostiary_policies.cedar"}


def test_only_the_protocol_module_and_clients_import_the_sdk():
    # `http` and `identity` use its transports and its form of a caller; only `mcp_app` speaks the protocol.
    doors = {
        "ostiary.mcp_content",
        "ostiary.mcp_calls",
        "ostiary.mcp_errors",
        "ostiary.mcp_input",
        "ostiary.mcp_questions",
        "ostiary.mcp_resources",
        "ostiary.mcp_subscriptions",
        "ostiary.mcp_tasks",
        "ostiary.http.application",
        "ostiary.http.doorstep",
        "ostiary.http.mirroring",
        "ostiary.http.operation",
        "ostiary.http.sessions",
        "ostiary.identity.caller",
    }
    assert importers("mcp", "mcp_types") == {"ostiary.mcp_app", "ostiary.demo", "ostiary.pytest_plugin"} | doors


def test_only_the_database_packages_import_a_driver():
    # A store of vectors is a database by itself, and its driver stays behind the one port.
    stores = ("ostiary_tools.vectors.pgvector", "ostiary_tools.vectors.chroma")
    homes = ("ostiary_tools.datasources", "ostiary_tools.control", "ostiary_tools.embedded", "ostiary_tools.backup", *stores)
    assert {m for m in importers(*DRIVERS) if not within(m, *homes)} == set()


def test_only_the_database_packages_start_programs_and_the_server_itself():
    homes = ("ostiary_tools.embedded", "ostiary_tools.backup")
    assert {m for m in importers("subprocess") if not within(m, *homes)} == set()
    others = {m for m in callers("create_subprocess_exec") if not within(m, *homes)}
    assert others == {"ostiary.http.workers", "ostiary.detached"}, "their program is this one"


def test_only_the_judge_the_drivers_and_readers_of_plans_know_the_grammar():
    # A plan speaks of columns in SQL, and a migration is SQL.
    readers = ("ostiary_tools.sql", "ostiary_tools.datasources", "ostiary_tools.plans", "ostiary_tools.evolution")
    others = {m for m in importers("pglast") if not within(m, *readers)}
    assert others == {"ostiary_tools.identifiers"}, "which words must be quoted is the grammar's to say"


def test_only_the_engine_makes_a_permit():
    assert callers("Permit") == {"ostiary_policies.engine"}


def test_only_the_gate_runs_a_tool():
    runs = {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run"
        if len(node.args) == 2 and getattr(node.args[0], "id", "") == "permit"
    }
    assert runs == {"ostiary.gate"}


def test_only_configuration_reads_the_environment():
    found = {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "expanduser", "expandvars"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and any(a.name in ("environ", "getenv") for a in node.names))
    }
    assert {m for m in found if not within(m, "ostiary.config")} == set()


def test_only_the_composition_root_and_the_commands_open_things():
    openers = {"recording", "open_postgres", "open_stores", "attached", "migrate"}
    found = {module for name in openers for module in callers(name) if within(module, "ostiary")}
    assert {m for m in found if not m.startswith("ostiary.cli")} == {"ostiary.app"}


def test_the_verifier_shares_no_code_with_the_writer():
    verifier = ("ostiary.audit.fsck", "ostiary.audit.notes")
    shared = {
        name for module in verifier for name in imports(module) if within(name, "ostiary", "ostiary_tools", "ostiary_policies")
    }
    assert {name for name in shared if not within(name, *verifier)} == set()


def test_no_switch_turns_a_guarantee_off():
    """Names of parameters, attributes and settings that would be such a switch do not exist."""
    switch = re.compile(
        r"^(skip|disable|bypass|insecure|unsafe|no|without)_(auth|audit|policy|check|checks|verify|verification|gate|tls)|^allow_all$"
    )
    found = set()
    for module, tree in trees().items():
        for node in ast.walk(tree):
            name = getattr(node, "arg", None) or getattr(node, "id", None) or getattr(node, "attr", None)
            if isinstance(name, str) and switch.search(name):
                found.add((module, name))
    assert found == set()


@pytest.mark.parametrize("word", ["manager", "helper", "helpers", "util", "utils", "base", "common", "service"])
def test_modules_are_named_after_a_noun(word: str):
    assert not [module for module in trees() if word in module.rsplit(".", maxsplit=1)[-1].split("_")]


def test_modules_stay_readable():
    """Past 400 lines a module is split by noun."""
    assert {m: n for m, p in SOURCES.items() if (n := len(p.read_text().splitlines())) > 400} == {}


def test_every_module_says_what_it_is_for():
    assert [m for m, tree in trees().items() if tree.body and not ast.get_docstring(tree)] == []


def test_the_architecture_page_stays_short():
    """A page that is read."""
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) < 250
