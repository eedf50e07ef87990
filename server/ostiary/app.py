"""The composition root: builds everything once, in order, and takes it down in reverse.

It owns start and stop and decides nothing about a call.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import SecretStr

from ostiary import __version__, example_files, policy_files
from ostiary.approvals import Answers
from ostiary.audit.place import AuditPlace
from ostiary.audit.reader import LogReader
from ostiary.audit.recorder import Recorder, recording
from ostiary.budgets import Budgets
from ostiary.changes import Changes
from ostiary.config import Config, environment
from ostiary.cursors import Cursors
from ostiary.embedders import embedders
from ostiary.example_files import ExampleSet
from ostiary.example_watch import following
from ostiary.examples import Examples
from ostiary.export.exporter import Bounds
from ostiary.gate import Gate
from ostiary.holdings import Furniture
from ostiary.identity.principals import configured_principal
from ostiary.jobs import Jobs
from ostiary.meter import Meter
from ostiary.owners import Owners
from ostiary.people import People
from ostiary.policy_files import Policies
from ostiary.policy_watch import PolicyWatch, watching
from ostiary.queue import Queue, open_queue
from ostiary.settling import open_ledger, secret_of
from ostiary.shelves import Shelves, sealing
from ostiary.sources import look_s, sources
from ostiary.stores import stores
from ostiary.taints import Taints
from ostiary.telemetry import tracing
from ostiary.terms import Terms
from ostiary.vault import Vault, open_vault
from ostiary.worlds import Worlds
from ostiary_policies.engine import Engine
from ostiary_policies.model import Principal
from ostiary_tools.api import World
from ostiary_tools.control.approvals import ApprovalTable
from ostiary_tools.control.budgets import BudgetTable
from ostiary_tools.control.bus import Bus
from ostiary_tools.control.collections import CollectionTable
from ostiary_tools.control.cursors import CursorTable
from ostiary_tools.control.jobs import JobTable
from ostiary_tools.control.link import Link
from ostiary_tools.control.migrate import migrate
from ostiary_tools.control.migrated import MigrationTable
from ostiary_tools.control.people import PeopleTable
from ostiary_tools.control.register import Register
from ostiary_tools.control.taints import TaintTable
from ostiary_tools.control.tokens import TokenTable
from ostiary_tools.control.turns import Turns
from ostiary_tools.datasources.port import ChangeLimits, Datasource
from ostiary_tools.datasources.postgres import PostgresSettings, open_postgres
from ostiary_tools.embedded import Cluster, attached, names, status
from ostiary_tools.embedders.opening import opened
from ostiary_tools.packs import Registry, discover
from ostiary_tools.vectors.known import Holdings
from ostiary_tools.vectors.opening import open_stores
from ostiary_tools.view import HashKey, hash_key

Progress = Callable[[str], None]
Table = TypeVar("Table", TokenTable, TaintTable, PeopleTable, MigrationTable)


@dataclass(frozen=True, slots=True)
class House:
    """What a running server is made of."""

    config: Config
    registry: Registry
    policies: Policies
    policy_watch: PolicyWatch
    datasources: Mapping[str, Datasource]
    worlds: Worlds
    recorder: Recorder
    audit: AuditPlace
    cursors: Cursors
    examples: ExampleSet
    meter: Meter
    gate: Gate
    changes: Changes
    tokens: TokenTable
    jobs: Jobs
    queue: Queue
    shelves: Shelves
    vault: Vault
    turns: Turns

    @property
    def owners(self) -> Owners:
        """Who owners of collections are today."""
        return Owners(self.config, self.tokens)

    @property
    def local(self) -> Principal:
        """The one agent where nobody is asked. Whoever may start the process may be it: the system has already decided that."""
        return configured_principal(self.config.agent.name, (self.config.agent.role,), self.config.attributes)


@asynccontextmanager
async def open_house(config: Config, progress: Progress) -> AsyncIterator[House]:
    """Everything, ready to answer calls; what is open is closed again however the body ends."""
    registry = discover()
    policies = await load_policies(config)
    async with AsyncExitStack() as stack:
        cluster = await _cluster(config, stack, progress)
        audit = _audit_place(config, cluster)
        writer_dsn = _dsn(config.control.dsn, cluster, names.WRITER)
        recorder = await stack.enter_async_context(
            recording(
                writer_dsn,
                private_key=audit.private_key,
                public_key=audit.public_key,
                anchor=audit.anchor,
                facts={
                    "version": __version__,
                    "policy": policies.engine.policy_hash,
                    "agent": config.agent.name,
                    "accepted_powers": {name: list(source.accepted_powers) for name, source in config.datasources.items()},
                },
            )
        )
        examples = await example_files.load(config.examples.directory)
        await stack.enter_async_context(following(examples, recorder))
        cursor_table = CursorTable(writer_dsn)
        stack.push_async_callback(cursor_table.close)
        cursors = Cursors(cursor_table, config.limits.cursor_s)
        tokens = TokenTable(writer_dsn)
        stack.push_async_callback(tokens.close)
        bus = Bus(writer_dsn)
        stack.push_async_callback(bus.close)
        job_link = Link(writer_dsn, "jobs")
        stack.push_async_callback(job_link.close)
        job_table = JobTable(job_link)
        secret = await secret_of(config)
        queue = open_queue(writer_dsn, secret)
        stack.push_async_callback(queue.table.link.close)
        approvals = ApprovalTable(writer_dsn)
        stack.push_async_callback(approvals.close)
        people_table = PeopleTable(writer_dsn)
        stack.push_async_callback(people_table.close)
        datasources = await _datasources(config, cluster, stack, bus)
        watch = await stack.enter_async_context(watching(policies, recorder, datasources))
        worlds = Worlds(datasources, registry, mask_key(config), views=config.policy.views)
        taints = Taints(TaintTable(writer_dsn))
        stack.push_async_callback(taints.close)
        changes = Changes(worlds, taints, policies, datasources, bus, look_s=look_s(config))
        stack.push_async_callback(changes.close)
        meter = Meter(await stack.enter_async_context(tracing(environment(), config.server.name)))
        budgets = Budgets(BudgetTable(writer_dsn), meter)
        stack.push_async_callback(budgets.close)
        furniture = await _furniture(config, cluster, stack)
        shelves = Shelves(CollectionTable(writer_dsn, sealing(secret)), furniture, bus, recorder.note)
        stack.push_async_callback(shelves.close)
        register = Register(Link(writer_dsn, "register"))
        stack.push_async_callback(register.link.close)
        vault = open_vault(config, cluster, audit, register)
        gate = Gate(
            registry=registry,
            policies=policies,
            worlds=worlds,
            datasources=datasources,
            recorder=recorder,
            audit_reader=LogReader(audit),
            cursors=cursors,
            examples=Examples(examples, frozenset(datasources)),
            approvals=Answers(approvals, lambda: recorder.epoch),
            people=People(people_table, config.limits.approval_s, alone=config.policy.approvals == "by_people"),
            jobs=job_table,
            queue=queue,
            budgets=budgets,
            taints=taints,
            shelves=shelves,
            vault=vault,
            ledger=await stack.enter_async_context(open_ledger(config, writer_dsn, datasources, recorder)),
            terms=terms(config),
            meter=meter,
        )
        jobs = Jobs(job_table, gate.call)
        stack.push_async_callback(jobs.close)
        kept = (recorder, audit, cursors, examples, meter, gate, changes, tokens, jobs, queue, shelves, vault, Turns(writer_dsn))
        yield House(config, registry, policies, watch, datasources, worlds, *kept)


@asynccontextmanager
async def open_world(config: Config, who: Principal) -> AsyncIterator[tuple[Engine, Registry, World]]:
    """What a call of that principal would be judged by, without a way to run one."""
    policies = await load_policies(config)
    async with open_worlds(config) as (registry, worlds):
        yield policies.engine, registry, await worlds.world(policies.engine, who)


@asynccontextmanager
async def open_worlds(config: Config) -> AsyncIterator[tuple[Registry, Worlds]]:
    """The datasources as anybody sees them under any policies, without a way to run a call."""
    registry = discover()
    async with open_datasources(config) as datasources:
        yield registry, Worlds(datasources, registry, mask_key(config), views=config.policy.views)


@asynccontextmanager
async def open_holdings(config: Config) -> AsyncIterator[Callable[[Engine, Principal], Holdings]]:
    """What callers know of collections as they are now, for commands that run nothing. Raises JournalError, KeyUnusable."""
    async with AsyncExitStack() as stack:
        cluster = await _cluster(config, stack, lambda _: None)
        table = CollectionTable(_dsn(config.control.dsn, cluster, names.WRITER), sealing(await secret_of(config)))
        stack.push_async_callback(table.close)
        furniture, rows = await _furniture(config, cluster, stack), await table.all()
        yield lambda engine, who: furniture.holdings(engine, who, rows)


@asynccontextmanager
async def open_datasources(config: Config) -> AsyncIterator[Mapping[str, Datasource]]:
    """The datasources, for commands that look at their schemas."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(_sample_cluster(config, lambda _: None)) if not config.datasources else None
        yield await _datasources(config, cluster, stack)


def mask_key(config: Config) -> HashKey | None:
    """What `hash` masks are made with."""
    secret = config.policy.mask_key
    return None if secret is None else hash_key(secret.get_secret_value())


@asynccontextmanager
async def open_sources(config: Config, progress: Progress) -> AsyncIterator[list[PostgresSettings]]:
    """Where the datasources are, with the embedded PostgreSQL running while the block lasts if the sample is one."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(_sample_cluster(config, progress)) if not config.datasources else None
        yield sources(config, cluster)


@asynccontextmanager
async def open_backups(config: Config, progress: Progress) -> AsyncIterator[Vault]:
    """What is backed up, for commands that look at it; what is embedded of it runs while the block lasts."""
    async with AsyncExitStack() as stack:
        yield open_vault(config, await _cluster(config, stack, progress))


@asynccontextmanager
async def open_register(config: Config) -> AsyncIterator[Register | None]:
    """What is known to have been kept, to look at; `None` where what is embedded is not there: it is not begun for a look."""
    async with AsyncExitStack() as stack:
        cluster = None
        if config.control.dsn is None:
            if (await status(config.home.data)).data_dir is None:
                yield None
                return
            cluster = await _cluster(config, stack, lambda _: None)
        register = Register(Link(_dsn(config.control.dsn, cluster, names.WRITER), "register"))
        stack.push_async_callback(register.link.close)
        yield register


@asynccontextmanager
async def open_kept(config: Config, progress: Progress, command: str) -> AsyncIterator[tuple[Vault, Recorder]]:
    """The backups with what is known to have been kept, and the audit log, for what a person does with them by a command."""
    async with AsyncExitStack() as stack:
        audit, recorder, writer_dsn = await _log(config, progress, command, stack)
        register = Register(Link(writer_dsn, "register"))
        stack.push_async_callback(register.link.close)
        yield open_vault(config, None, audit, register), recorder


@asynccontextmanager
async def open_audit(config: Config, progress: Progress) -> AsyncIterator[AuditPlace]:
    """Where the audit log is, with its database running while the block lasts."""
    async with AsyncExitStack() as stack:
        cluster = await _cluster(config, stack, progress) if config.control.dsn is None else None
        yield _audit_place(config, cluster)


@asynccontextmanager
async def open_table(config: Config, progress: Progress, table: Callable[[str], Table]) -> AsyncIterator[Table]:
    """A table of the control database as its administrator, to look at."""
    async with open_audit(config, progress) as audit, AsyncExitStack() as stack:
        opened = table(audit.admin_dsn)
        stack.push_async_callback(opened.close)
        yield opened


@asynccontextmanager
async def open_administered(
    config: Config, progress: Progress, table: Callable[[str], Table], command: str
) -> AsyncIterator[tuple[Table, Recorder]]:
    """A table of the control database as its administrator, and the audit log that what he does is recorded in."""
    async with AsyncExitStack() as stack:
        audit, recorder, _ = await _log(config, progress, command, stack)
        opened = table(audit.admin_dsn)
        stack.push_async_callback(opened.close)
        yield opened, recorder


async def _log(config: Config, progress: Progress, command: str, stack: AsyncExitStack) -> tuple[AuditPlace, Recorder, str]:
    """With the login of the service."""
    cluster = await _cluster(config, stack, progress) if config.control.dsn is None else None
    audit = _audit_place(config, cluster)
    writer_dsn = _dsn(config.control.dsn, cluster, names.WRITER)
    keys = {"private_key": audit.private_key, "public_key": audit.public_key, "anchor": audit.anchor}
    facts = {"version": __version__, "command": command}
    return audit, await stack.enter_async_context(recording(writer_dsn, **keys, facts=facts)), writer_dsn


async def load_policies(config: Config) -> Policies:
    """The policies in force."""
    policy = config.policy
    return await policy_files.load(
        policy.directory, bundles=policy.bundles, tags=frozenset(policy.tags), attributes=config.attribute_types
    )


def terms(config: Config) -> Terms:
    """The server's own bounds, as configured."""
    limits, files = config.limits, config.export
    return Terms(
        max_rows=limits.rows,
        timeout_s=limits.timeout_s,
        reply_chars=limits.reply_chars,
        exports=config.export_folder,
        file=Bounds(files.rows, files.bytes, files.folder_bytes),
        file_timeout_s=files.timeout_s,
        calls=limits.calls,
        calls_per_agent=limits.calls_per_agent,
        changes=ChangeLimits(limits.timeout_s, config.changes.lock_timeout_s, config.changes.rows),
    )


def _audit_place(config: Config, cluster: Cluster | None) -> AuditPlace:
    control, state = config.control, config.home.state
    return AuditPlace(
        reader_dsn=_dsn(control.reader_dsn, cluster, names.READER),
        admin_dsn=_dsn(control.admin_dsn, cluster, names.ADMIN),
        anchor=config.anchor_file,
        public_key=state / "audit.pub",
        private_key=state / "audit.key",
    )


def _dsn(configured: SecretStr | None, cluster: Cluster | None, role: str) -> str:
    """The configured login, or the embedded one; empty where neither is, which no connection accepts."""
    if configured is not None:
        return configured.get_secret_value()
    return cluster.dsn(role, names.CONTROL) if cluster is not None else ""


async def _cluster(config: Config, stack: AsyncExitStack, progress: Progress) -> Cluster | None:
    """The embedded PostgreSQL, with the audit table in it, when any part of the configuration lives there."""
    if config.control.dsn is not None and config.datasources:
        return None
    cluster = await stack.enter_async_context(_sample_cluster(config, progress))
    if config.control.dsn is None:
        await migrate(cluster.dsn(names.ADMIN, names.CONTROL))
    return cluster


def _sample_cluster(config: Config, progress: Progress) -> AbstractAsyncContextManager[Cluster]:
    return attached(config.home.data, progress, runtime_dir=config.home.runtime)


async def _furniture(config: Config, cluster: Cluster | None, stack: AsyncExitStack) -> Furniture:
    """Stores and embedders, none of which is reached for before it is asked."""
    opened_embedders = opened(embedders(config))
    for embedder in opened_embedders.values():
        stack.push_async_callback(embedder.close)
    return Furniture(await stack.enter_async_context(open_stores(stores(config, cluster))), opened_embedders)


async def _datasources(
    config: Config, cluster: Cluster | None, stack: AsyncExitStack, bus: Bus | None = None
) -> dict[str, Datasource]:
    opened: dict[str, Datasource] = {}
    for settings in sources(config, cluster):
        opened[settings.name] = datasource = await open_postgres(settings, bus.publish if bus else None)
        stack.push_async_callback(datasource.close)
    return opened
