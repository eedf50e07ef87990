"""The settings: every name, type, default, unit and sentence of help stands here and nowhere else.

The models validate what the sources say and type what the rest of the program reads; `table` walks them. They know nothing of
files, environment or command line.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from ostiary.config.backup import Backup, External, Plan, Sqlite
from ostiary.config.bounds import Changes, Export, Jobs
from ostiary.config.callers import Attribute, AttributeName, Certificate, OAuth, Proxy, Tokens, Way
from ostiary.config.embedders import Embedder
from ostiary.config.secrets import Dsn, Key, Keys
from ostiary.config.section import Name, Section
from ostiary.config.section import matching as _matching
from ostiary.config.section import not_empty as _not_empty
from ostiary.config.section import setting as _setting
from ostiary.config.vectors import Store
from ostiary_policies.attributes import AttributeType
from ostiary_tools.backup.storage.bucket import Address
from ostiary_tools.backup.storage.opening import address
from ostiary_tools.powers import OVER_PRIVILEGED

Identifier = Annotated[str, _matching(r"[^\0]{1,63}", "a name of 1 to 63 characters")]
PowerName = Annotated[str, _matching("|".join(OVER_PRIVILEGED), f"one of {', '.join(OVER_PRIVILEGED)}")]
Tag = Annotated[str, _matching(r"[a-z][a-z0-9_]*(:[a-z0-9_]+)?", "a tag such as `pii` or `pii:email`")]
TagTarget = Annotated[str, _matching(r"[^.]+\.[^.]+(\.[^.]+)?", "`schema.table` or `schema.table.column`")]


class Server(Section):
    """How the server names itself and what it tells the operator."""

    name: str = _setting("ostiary", "Name that clients see.", min_length=1)
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "The least severe message that is logged to stderr.")
    log_format: Literal["auto", "console", "json"] = _setting(
        "auto", "How a message looks; `auto` is console on a terminal and JSON elsewhere."
    )


class Http(Section):
    """The server over HTTP, for `ostiary serve --http`."""

    host: str = _setting(
        "127.0.0.1", "Address to listen on. Any but this machine's own needs a way to recognise callers.", min_length=1
    )
    port: int = _setting(8765, "Port to listen on; 0 takes a free one.", unit="port", ge=0, le=65_535)
    workers: int = _setting(
        1,
        "Processes that answer on that port; clients of the 2025 era need one. Bounds on calls and connections hold for each.",
        unit="processes",
        ge=1,
        le=64,
    )
    authentication: tuple[Way, ...] = _setting(
        (),
        "How callers are recognised: any of `oauth`, `tokens` and `proxy`. With none, whoever reaches the port is the `[agent]`.",
        example=("oauth", "tokens", "proxy"),
    )
    hosts: tuple[str, ...] = _setting(
        ("127.0.0.1:*", "localhost:*", "[::1]:*"),
        "What the `Host` of a request may be; `:*` stands for any port. A name clients reach the server by belongs here.",
        example=("db.example.com",),
    )
    origins: tuple[str, ...] = _setting(
        ("http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"), "What the `Origin` of a request may be, if it has one."
    )
    request_bytes: int = _setting(4_194_304, "Size of a request.", unit="bytes", ge=1_000, le=100_000_000)
    sessions: int = _setting(1_000, "Sessions of the 2025 era open at once.", unit="sessions", ge=1, le=100_000)
    sessions_per_agent: int = _setting(100, "Of these, those that one agent may have open.", unit="sessions", ge=1, le=100_000)
    idle_session_s: float = _setting(1800.0, "Age at which a session that nobody uses ends.", unit="seconds", gt=0, le=86_400)
    streams_per_agent: int = _setting(100, "Event streams that one agent may have open at once.", unit="streams", ge=1, le=100_000)
    connections: int = _setting(2_000, "Connections open at once; one more is answered 503.", unit="connections", ge=1, le=100_000)
    headers: int = _setting(100, "Headers of a request.", unit="headers", ge=10, le=10_000)
    header_bytes: int = _setting(32_768, "Size of a request's headers together.", unit="bytes", ge=1_000, le=1_000_000)
    receive_s: float = _setting(30.0, "Time in which a request must have arrived, headers and body.", unit="seconds", gt=0, le=3600)
    send_s: float = _setting(
        30.0,
        "Time in which a client must have taken in what was sent to it; then its connection ends.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    keep_alive_s: int = _setting(5, "How long an idle connection is kept open.", unit="seconds", ge=1, le=3600)
    state_keys: Keys | None = _setting(
        None,
        "Keys, a line each, that seal what a client is given to bring back with an answer. Every server behind one address "
        "needs the same; unset, a server makes its own, for all its workers. The first seals and all open: to change one, add the "
        "new one last everywhere, then put it first, then remove the old one.",
        example="env:STATE_KEYS",
    )
    shutdown_s: int = _setting(10, "How long calls may go on after the server was asked to stop.", unit="seconds", ge=1, le=3600)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of `state_keys`, none when it is unset."""
        return tuple(self.state_keys.get_secret_value().split()) if self.state_keys is not None else ()


class Operation(Section):
    """Who may know how the server does: what is wrong, in `/readyz`, and `/metrics`. Everybody may ask whether it is ready."""

    roles: tuple[Name, ...] = _setting(
        ("operator",), "Roles whose callers may. Where no caller is asked for a credential, whoever asks from this machine may."
    )


class Agent(Section):
    """Who calls on stdio, and over HTTP where no caller is asked. Whoever starts the server decides this; the caller cannot."""

    name: Name = _setting("local", "The agent's name, in policies and in the audit table.")
    role: Name = _setting("analyst", "The role it acts in; one of `roles`.")
    roles: Annotated[tuple[Name, ...], AfterValidator(_not_empty)] = _setting(
        ("observer", "analyst", "engineer", "operator", "auditor", "curator", "custodian"),
        "The roles that `role` and `--role` may choose among.",
    )


class Home(Section):
    """Folders of this installation. A relative path is taken from the folder of the configuration file."""

    data: Path = _setting(
        ...,
        "The embedded PostgreSQL and its databases.",
        example="/var/lib/ostiary",
        shown="$XDG_DATA_HOME/ostiary; /var/lib/ostiary as root",
    )
    state: Path = _setting(
        ...,
        "The signing key and the anchors of the audit table; outside `data`.",
        example="/var/lib/ostiary-state",
        shown="$XDG_STATE_HOME/ostiary; /var/lib/ostiary-state as root",
    )
    runtime: Path | None = _setting(
        None,
        "An existing folder for the embedded PostgreSQL's socket; short, because a socket's path is.",
        example="/run/user/1000",
        shown="$XDG_RUNTIME_DIR, else the system's folder for temporary files",
    )


class Control(Section):
    """The PostgreSQL database of the audit table. With nothing set, it lives in the embedded PostgreSQL."""

    dsn: Dsn | None = _setting(None, "Login of the audit writer, which may only insert.", example="env:CONTROL_DSN")
    reader_dsn: Dsn | None = _setting(
        None, "Login that reads the audit table; another than the writer's.", example="env:CONTROL_READER_DSN"
    )
    admin_dsn: Dsn | None = _setting(
        None,
        "Login of the owner, used by `audit install` and `audit seal` only; leave it out where the server runs.",
        example="file:/run/secrets/control-admin",
    )
    backup_dsn: Dsn | None = _setting(
        None,
        "Login for backups of it, which are called `control`: it may read everything, and for full ones also replicate.",
        example="env:CONTROL_BACKUP_DSN",
    )


class Audit(Section):
    """The proof that is kept of the audit table."""

    anchor: Path | None = _setting(
        None, "File outside the database that checkpoints are anchored in.", shown="anchors in `home.state`", example="anchors"
    )


class Policy(Section):
    """Which policies decide."""

    bundles: tuple[Name, ...] = _setting(
        ("observer", "analyst", "engineer", "operator", "auditor", "curator", "custodian"), "The shipped bundles in force."
    )
    directory: Path | None = _setting(
        None, "Folder of your own `*.cedar` files, in force beside the bundles; followed while a server runs.", example="policies"
    )
    tags: tuple[Tag, ...] = _setting((), "Tags of your own that policies and datasources may use.")
    views: Literal["as_tables", "as_queries"] = _setting(
        "as_tables", "What a view is to policies: a table of its own, or its query too, inside which they hold as outside."
    )
    approvals: Literal["at_client", "by_people"] = _setting(
        "at_client",
        "Whose word `@approval` takes for one human's yes: the client's for its user, where it can ask; or people's alone, by "
        "`ostiary approvals`. For two humans, and where the client cannot ask, it is always people's.",
    )
    mask_key: Key | None = _setting(
        None,
        "Key of `hash` masks: equal values have equal hashes as long as it is the same. Without one, a column with such a mask "
        "does not exist.",
        example="env:OSTIARY_MASK_KEY",
    )


class Examples(Section):
    """Questions with the SQL that answers them, for the prompt `question_to_sql`."""

    directory: Path | None = _setting(
        None,
        "Folder of `*.toml` files of examples, one that agents cannot write; followed while a server runs.",
        shown="examples in $XDG_CONFIG_HOME/ostiary",
        example="examples",
    )


class Limits(Section):
    """What one call may take at most. A policy can lower these and never raise them."""

    rows: int = _setting(200, "Rows of a reply.", unit="rows", ge=1, le=100_000)
    reply_chars: int = _setting(16_000, "Length of a reply.", unit="characters", ge=1_000, le=1_000_000)
    timeout_s: float = _setting(
        30.0, "Time a statement may run in the database, and all of a change together.", unit="seconds", gt=0, le=86_400
    )
    calls: int = _setting(256, "Calls at once in each process of the server; one more is refused.", unit="calls", ge=1, le=100_000)
    calls_per_agent: int = _setting(128, "Calls at once of one agent.", unit="calls", ge=1, le=100_000)
    approval_s: float = _setting(
        86_400.0, "Time in which people can grant a call that waits for them, and it can be used.", unit="seconds", gt=0, le=604_800
    )
    cursor_s: float = _setting(900.0, "Time in which a truncated reply can be gone on with.", unit="seconds", gt=0, le=86_400)


class Datasource(Section):
    """A database that agents reach; `<name>` is what they call it. With none configured, the embedded sample `shop` is served."""

    dsn: Dsn = _setting(..., "Where it is and who logs in; several hosts may stand in one URL.", example="env:SHOP_DSN")
    replica_dsn: Dsn | None = _setting(None, "A standby of it, for what may run on a replica only.", example="env:SHOP_REPLICA_DSN")
    set_role: Identifier | None = _setting(None, "Role that each transaction takes on by `SET LOCAL ROLE`.", example="agents")
    accepted_powers: tuple[PowerName, ...] = _setting(
        (),
        "What the login may do besides reading, by the names that `ostiary doctor` prints. "
        "With any other power the datasource is not served; `superuser` covers all.",
        example=("owner",),
    )
    writer_dsn: Dsn | None = _setting(
        None,
        "Where it is and who logs in to change something; without it the datasource is read only.",
        example="env:SHOP_WRITER_DSN",
    )
    writer_powers: tuple[PowerName, ...] = _setting(
        (),
        "What the login for changes may do besides reading and writing rows, by the same names. "
        "With any other power nothing is changed.",
        example=("owner",),
    )
    writer_changes: int = _setting(2, "Changes at once; each takes two connections.", unit="changes", ge=1, le=100)
    migrations_dsn: Dsn | None = _setting(
        None,
        "Login that people run `ostiary migrate` with; leave it out where the server runs.",
        example="env:SHOP_MIGRATIONS_DSN",
    )
    backup_dsn: Dsn | None = _setting(
        None,
        "Login that backups are made with: it may read everything, and for full ones also replicate. Without it there are none.",
        example="env:SHOP_BACKUP_DSN",
    )
    search_path: tuple[Identifier, ...] = _setting(("public",), "Schemas of unqualified names, in order.")
    pool_min: int = _setting(0, "Connections kept open.", unit="connections", ge=0, le=1_000)
    pool_max: int = _setting(5, "Connections for calls at most; one more watches the catalog.", unit="connections", ge=1, le=1_000)
    acquire_timeout_s: float = _setting(5.0, "Longest wait for a connection.", unit="seconds", gt=0, le=3600)
    max_lifetime_s: float = _setting(1800.0, "Age at which a connection is replaced.", unit="seconds", gt=0)
    lock_timeout_s: float = _setting(2.0, "Longest wait for a lock in the database.", unit="seconds", gt=0, le=3600)
    idle_timeout_s: float = _setting(60.0, "Time after which the database ends an idle transaction.", unit="seconds", gt=0, le=3600)
    snapshot_ttl_s: float = _setting(60.0, "Age at which the schema snapshot is read anew.", unit="seconds", gt=0)
    tags: Mapping[TagTarget, tuple[Tag, ...]] = _setting(
        {},
        "Tags of tables and columns, by `schema.table` or `schema.table.column`.",
        example={"public.customers.email": ("pii:email",)},
    )


class Config(Section):
    """All settings in force. Frozen; secrets show as asterisks wherever the value is printed."""

    server: Server = Server()
    agent: Agent = Agent()
    http: Http = Http()
    operation: Operation = Operation()
    oauth: OAuth = OAuth()
    tokens: Tokens = Tokens()
    proxy: Proxy = Proxy()
    certificates: Mapping[Name, Certificate] = Field(default_factory=dict)
    attributes: Mapping[AttributeName, Attribute] = Field(default_factory=dict)
    home: Home
    control: Control = Control()
    audit: Audit = Audit()
    policy: Policy = Policy()
    examples: Examples = Examples()
    limits: Limits = Limits()
    export: Export = Export()
    changes: Changes = Changes()
    jobs: Jobs = Jobs()
    datasources: Mapping[Name, Datasource] = Field(default_factory=dict)
    backup: Backup = Backup()
    sqlite: Mapping[Name, Sqlite] = Field(default_factory=dict)
    plans: Mapping[Name, Plan] = Field(default_factory=dict)
    external: Mapping[Name, External] = Field(default_factory=dict)
    embedders: Mapping[Name, Embedder] = Field(default_factory=dict)
    vectors: Mapping[Name, Store] = Field(default_factory=dict)

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        """Keep where the values came from; `load` hands it over as the validation's context."""
        self._origins = MappingProxyType(dict(context or {}))

    @property
    def attribute_types(self) -> Mapping[str, AttributeType]:
        """The attributes that policies may ask an agent for."""
        return {name: AttributeType(one.type) for name, one in self.attributes.items()}

    @property
    def anchor_file(self) -> Path:
        """`audit.anchor`, or where it lies by default."""
        return self.audit.anchor or self.home.state / "anchors"

    @property
    def export_folder(self) -> Path:
        """`export.directory`, or where it lies by default."""
        return self.export.directory or self.home.state / "exports"

    @property
    def backup_folder(self) -> Path:
        """`backup.repository`, or where it lies by default; of one in object storage there is nothing in it."""
        return self.backup.repository if isinstance(self.backup.repository, Path) else self.home.data / "backups"

    @property
    def backup_bucket(self) -> Address | None:
        """`backup.repository` where it is in object storage."""
        backup = self.backup
        if not isinstance(backup.repository, str):
            return None
        key, secret = (one.get_secret_value() if one is not None else "" for one in (backup.access_key, backup.secret_key))
        return replace(address(backup.repository), endpoint=backup.endpoint or "", region=backup.region or "", access_key=key,
                       secret_key=secret)  # fmt: skip

    @property
    def restore_folder(self) -> Path:
        """`backup.restores`, or where it lies by default."""
        return self.backup.restores or self.home.data / "restores"

    @property
    def origins(self) -> Mapping[str, str]:
        """Dotted name → where its value came from; a name that is missing has its default."""
        return self._origins
