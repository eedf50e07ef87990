"""`ostiary demo`: the whole road on the sample shop, with real servers and real clients.

Agents in four roles each get a server process of their own over stdio, as a desktop
client would start it. What is claimed is checked while it is shown: the first thing
that is not as it should be ends the demonstration with an error.

It always works on the embedded sample, whatever datasources are configured.
"""

import asyncio
import csv
import json
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TextIO

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import TextContent
from rich.console import Console
from rich.text import Text

from ostiary.app import open_audit
from ostiary.audit.export import export_log
from ostiary.audit.place import AuditPlace
from ostiary.audit.reader import words
from ostiary.audit.verify import verify_export
from ostiary.clients import Client as DesktopClient
from ostiary.clients import client_document, printed, serve_command
from ostiary.config import Config
from ostiary.config.document import toml
from ostiary.config.settings import Audit, Home
from ostiary.demo_screen import answered, asked, concluded, heading, listed, quoted, screen
from ostiary.exits import CommandFailed

ROLES = ("observer", "analyst", "engineer", "auditor")

_TURNOVER = """\
select c.name as category, count(distinct o.id) as orders, sum(i.amount) as turnover
from orders o
join order_items i on i.order_id = o.id
join products p on p.id = i.product_id
join categories c on c.id = p.category_id
where o.status in ('paid', 'shipped', 'delivered')
group by c.name order by turnover desc limit 5"""
_ADDRESSES = "select full_name, email, segment from customers order by id limit 2"
_NET = "select sku, net_amount(price) from products order by id limit 2"
_ATTACKS = {
    "select pg_read_file('/etc/passwd')": "rule: function",
    "select 1; delete from orders": "rule: one_statement",
    "with gone as (delete from orders returning *) select count(*) from gone": "rule: ",
}


@dataclass(frozen=True, slots=True)
class Agent:
    """A connected client in one role."""

    name: str
    role: str
    client: Client

    async def call(self, tool: str, /, **arguments: object) -> tuple[str, bool]:
        """The text of the reply, and whether it is an answer rather than a refusal."""
        try:
            reply = await self.client.call_tool(tool, arguments)
        except MCPError as refusal:
            if not str(refusal).startswith("Unknown tool"):
                raise
            return str(refusal), False
        text = "\n".join(block.text for block in reply.content if isinstance(block, TextContent))
        return text, not reply.is_error


async def demonstrate(config: Config, say: Callable[[str], None]) -> None:
    """Show it on stdout, progress through `say`. Raises CommandFailed when something is not as it should be."""
    started = time.monotonic()
    console = screen()
    sample = _sample(config)
    say("starting PostgreSQL with the sample shop")
    with tempfile.TemporaryDirectory(prefix="ostiary-demo-") as name:
        folder = Path(name)
        async with open_audit(sample, say) as place:
            async with _agents(sample, folder, say) as agents:
                await _show_roles(console, agents)
                await _show_answer(console, agents["analyst"])
                await _show_refusals(console, agents)
                await _show_attacks(console, agents["analyst"])
                await _show_records(console, agents)
            await _show_tampering(console, place, folder, agents["analyst"].name)
    _show_connection(console, sample, time.monotonic() - started)


def _sample(config: Config) -> Config:
    """The same home, and nothing else of the configuration: no datasource, no policy of its own.

    Where the audit log is configured to be elsewhere, the checkpoints of this one must not mix with its anchors.
    """
    home = Home(data=config.home.data, state=config.home.state, runtime=config.home.runtime)
    anchor = config.anchor_file if config.control.dsn is None else config.home.state / "demo-anchors"
    return Config(home=home, audit=Audit(anchor=anchor))


@asynccontextmanager
async def _agents(sample: Config, folder: Path, say: Callable[[str], None]) -> AsyncIterator[Mapping[str, Agent]]:
    """A client and a server process for each role. Raises CommandFailed with the last words of a server that ended."""
    run = token_hex(2)
    with (folder / "servers.log").open("w+", encoding="utf-8") as log:
        try:
            async with AsyncExitStack() as stack:
                agents = {}
                say(f"starting a server for each role: {', '.join(ROLES)}")
                for role in ROLES:
                    command = _server(sample, folder, role, f"{role}-{run}")
                    client = await stack.enter_async_context(Client(stdio_client(command, errlog=log)))
                    agents[role] = Agent(f"{role}-{run}", role, client)
                yield agents
        except (MCPError, OSError, BaseExceptionGroup) as failure:
            # Task groups wrap whatever passes through them: our own failures, and the exit that rich asks for when nobody reads on.
            leaves = list(_leaves(failure))
            for leaf in leaves:
                if not isinstance(leaf, MCPError | OSError):
                    raise leaf from None
            log.seek(0)
            raise CommandFailed("a server of the demonstration ended early", _last_words(log)) from failure


def _server(sample: Config, folder: Path, role: str, agent: str) -> StdioServerParameters:
    """The command of a real server that is configured by a file of its own, and by no other."""
    file = folder / f"{role}.toml"
    home = {"data": sample.home.data, "state": sample.home.state, "runtime": sample.home.runtime}
    sections: dict[str, Mapping[str, object]] = {
        "server": {"log_level": "error"},
        "agent": {"name": agent, "role": role},
        "home": {name: path for name, path in home.items() if path is not None},
        "audit": {"anchor": sample.anchor_file},
    }
    lines = [f"[{section}]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in keys.items()) for section, keys in sections.items()]
    file.write_text("\n".join(lines), encoding="utf-8")
    # The SDK hands a server none of our variables, so the file alone says what is in force.
    return StdioServerParameters(command=sys.executable, args=["-m", "ostiary", "serve", "--config", str(file)], cwd=folder)


async def _show_roles(console: Console, agents: Mapping[str, Agent]) -> None:
    heading(
        console, "1  What each role sees", "One server process per agent, started over stdio. Policy decides what exists for whom."
    )
    offered = {}
    rows = []
    for agent in agents.values():
        offered[agent.role] = sorted(tool.name for tool in (await agent.client.list_tools()).tools)
        reply, good = await agent.call("whoami")
        _hold(good and f"agent: {agent.name}" in reply, f"`whoami` of {agent.role} names its agent")
        extent = re.search(r"^datasource: shop \((\d+) tables and views, (\d+) readable\)$", reply, re.MULTILINE)
        _hold(extent is not None, f"{agent.role} is told of the sample shop")
        seen, readable = extent.groups() if extent else ("", "")
        rows.append((Text(agent.role, "bold magenta"), ", ".join(offered[agent.role]), f"sees {seen}, reads {readable}"))
    listed(console, ("role", "tools", "tables"), rows)
    _hold("query" in offered["analyst"] and "query" not in offered["observer"], "an analyst may query, an observer may not")
    _hold([role for role in ROLES if "audit_log" in offered[role]] == ["auditor"], "only an auditor reads the audit log")


async def _show_answer(console: Console, analyst: Agent) -> None:
    heading(
        console, "2  A question and its answer", "Rows come as CSV, marked as data, with what a model needs to know at the end."
    )
    reply = await _query(console, analyst, _TURNOVER, answer=True)
    _hold("5 rows" in reply, "the turnover of five categories is answered")


async def _show_refusals(console: Console, agents: Mapping[str, Agent]) -> None:
    heading(
        console,
        "3  What a role may not have",
        "The policy knows tables, columns and functions: a role gets masks instead of values, or a refusal with its rule.",
    )
    reply = await _query(console, agents["analyst"], _ADDRESSES, answer=True)
    masked = re.findall(r"^,(.)\*\*\*@\S+,\w+$", reply, re.MULTILINE)
    _hold(len(masked) == 2, "an analyst gets no names, and of addresses a mask")  # noqa: PLR2004  as many as it asked for
    reply = await _query(console, agents["engineer"], _ADDRESSES, answer=True)
    _hold(re.findall(r"^\w+ \w+,(.)[\w.]+@\S+,\w+$", reply, re.MULTILINE) == masked, "an engineer gets the values of the same rows")
    reply = await _query(console, agents["analyst"], _NET, answer=False)
    _hold(
        "net_amount" in reply and "rule: default-deny" in reply and "hint: " in reply,
        "the refusal names function, rule and next step",
    )
    observer = agents["observer"]
    asked(console, observer.name, "query")
    hidden, good = await observer.call("query", sql="select 1")
    answered(console, hidden, good=good)
    unknown, _ = await observer.call("no_such_tool", sql="select 1")
    _hold(not good and hidden.replace("query", "no_such_tool") == unknown, "a hidden tool is answered like one that does not exist")
    concluded(console, "the same words as for a tool that does not exist: what is hidden cannot be probed")


async def _show_attacks(console: Console, analyst: Agent) -> None:
    heading(console, "4  Attacks", "Statements are parsed by PostgreSQL's own grammar; only what is known to read is run.")
    for sql, rule in _ATTACKS.items():
        reply = await _query(console, analyst, sql, answer=False)
        _hold(rule in reply, f"`{sql}` is refused under a rule")


async def _show_records(console: Console, agents: Mapping[str, Agent]) -> None:
    heading(console, "5  The audit log", "The auditor asks for the records of `query`: every call above, the refused ones too.")
    auditor = agents["auditor"]
    reply, good = await auditor.call("audit_log", tool="query", limit=100)
    _hold(good, "the auditor reads the audit log")
    ours = {agent.name for agent in agents.values()}
    records = [record for record in reversed(_records(reply)) if record["agent"] in ours]
    expected = [
        *[("analyst", "intent", "permit"), ("analyst", "outcome", "ok")] * 2, ("analyst", "denial", "deny"),
        ("engineer", "intent", "permit"), ("engineer", "outcome", "ok"), ("observer", "denial", "unknown"),
        *[("analyst", "denial", "refused")] * len(_ATTACKS),
    ]  # fmt: skip
    found = [(r["agent"].rpartition("-")[0], r["kind"], r["decision"] or r["status"]) for r in records]
    # Outcomes may be written a moment after the next call began.
    _hold(sorted(found) == sorted(expected), "every call of `query` is on record, and no other")
    listed(console, ("time", "agent", "record", "rows", "rules", "statement or reason"), map(_record_row, records))
    verdict, good = await auditor.call("audit_verify")
    asked(console, auditor.name, "audit_verify")
    answered(console, verdict, good=good)
    _hold(good and "as they were written" in verdict, "the audit log verifies")


async def _show_tampering(console: Console, place: AuditPlace, folder: Path, agent: str) -> None:
    heading(console, "6  A forged copy", "The log is exported and verified with the public key alone; then one record is changed.")
    export = folder / "audit.jsonl"
    count = await export_log(place.reader_dsn, export)
    report = await asyncio.to_thread(verify_export, export, place.public_key, None)
    _hold(report.exit_code == 0, f"the export verifies, but: {words(report)}")
    console.print()
    concluded(console, f"the export of {count} records verifies")
    forged = folder / "forged.jsonl"
    stream, seq = await asyncio.to_thread(_forge, export, forged, agent)
    report = await asyncio.to_thread(verify_export, forged, place.public_key, None)
    named = any((finding.stream, finding.seq) == (stream, seq) for finding in report.findings)
    _hold(report.exit_code == 1 and named, "the verifier names the record that was changed")
    console.print(Text(f'In a copy, the denial of {agent} in record {seq} now reads "permit":'))
    answered(console, words(report), good=False)
    concluded(console, "the copy fails, and the record is named")


def _show_connection(console: Console, sample: Config, seconds: float) -> None:
    command = serve_command(None, None)
    heading(console, "7  Connect a desktop client", "This starts Ostiary in Claude Desktop, on the sample, in the role analyst:")
    quoted(console, printed(client_document(DesktopClient.CLAUDE_DESKTOP, command)))
    console.print(Text("To print it again, with the file it belongs into (or for `vscode` and `cursor`):", "dim"))
    quoted(console, " ".join((*command[:-1], "config", "--client", DesktopClient.CLAUDE_DESKTOP)))
    console.print()
    concluded(console, f"all of this was checked while it ran, in {seconds:.0f} s")
    console.print(Text(f"The sample stays in {sample.home.data}; `ostiary reset` deletes it.", "dim"), soft_wrap=True)


async def _query(console: Console, agent: Agent, sql: str, *, answer: bool) -> str:
    """Ask, show, and hold the agent to the expected kind of reply."""
    asked(console, agent.name, "query", sql)
    reply, good = await agent.call("query", sql=sql)
    answered(console, reply, good=good)
    _hold(good is answer, f"{agent.role} is {'answered' if answer else 'refused'}")
    return reply


def _records(reply: str) -> Sequence[Mapping[str, str]]:
    """The records of an `audit_log` reply: CSV between two marks, and a closing line."""
    return list(csv.DictReader(reply.splitlines()[1:-2]))


def _record_row(record: Mapping[str, str]) -> Sequence[Text | str]:
    decision = record["decision"] or record["status"]
    told = Text.assemble(f"{record['kind']} ", (decision, "green" if decision in ("permit", "ok") else "bold red"))
    clock = record["at"].partition("T")[2][:8]
    return (
        clock,
        record["agent"],
        told,
        record["rows"],
        record["rules"].replace(" ", "\n"),
        " ".join((record["reason"] or record["sql"]).split()),
    )


def _forge(export: Path, forged: Path, agent: str) -> tuple[int, int]:
    """Write a copy in which the agent's denial is a permit; stream and number of that record."""
    lines = export.read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(lines):
        record = json.loads(line)
        if f'"agent":"{agent}"' in record.get("body", "") and '"decision":"deny"' in record["body"]:
            record["body"] = record["body"].replace('"decision":"deny"', '"decision":"permit"')
            lines[place] = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
            forged.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return record["stream"], record["seq"]
    raise CommandFailed(f"the export holds no denial of {agent}", "please report it")


def _hold(true: bool, claim: str) -> None:
    if not true:
        raise CommandFailed(f"the demonstration did not hold: {claim}", "please report it; `ostiary audit verify` tells more")


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for below in failure.exceptions:
            yield from _leaves(below)
    else:
        yield failure


def _last_words(log: TextIO) -> str:
    """The last error a server told, or its last line."""
    lines = [line.strip() for line in log if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "nothing")
    return f"it said: {said.removeprefix('error: ')}"
