"""Values that are each in order and together are not: a tuple of rules, each from a configuration to its complaints."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import SecretStr

from ostiary.config.backup import OF_BUCKETS
from ostiary.config.callers import host_in, is_loopback
from ostiary.config.embedders import ANY_KIND, NEEDS, TAKES
from ostiary.config.secrets import same_database, same_login
from ostiary.config.settings import Config
from ostiary.config.vectors import STORES
from ostiary_policies.attributes import attribute

CONTROL = "control"
"""What backups call the control database."""
_SAMPLE = "shop"
"""What is served, and backed up, where no datasource is configured."""
Complaint = tuple[tuple[str, ...], str]
"""The key to point at, and the message with its mend."""


def complaints(config: Config) -> Iterator[Complaint]:
    """Everything that no single setting could know."""
    for rule in RULES:
        yield from rule(config)


def _role_is_configured(config: Config) -> Iterator[Complaint]:
    agent = config.agent
    if agent.role not in agent.roles:
        known = ", ".join(f"`{role}`" for role in agent.roles)
        yield ("agent", "role"), f"role `{agent.role}` is not configured; choose {known}, or add it to `agent.roles`"


def _keys_lie_outside_the_data(config: Config) -> Iterator[Complaint]:
    # Who can write the database's files could otherwise sign or anchor what he changed.
    for key, path in ((("home", "state"), config.home.state), (("audit", "anchor"), config.audit.anchor)):
        if path is not None and _inside(path, config.home.data):
            yield key, f"`{path}` lies inside `home.data`; choose a folder outside `{config.home.data}`"


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _logins_of_the_audit_table_differ(config: Config) -> Iterator[Complaint]:
    control = config.control
    if (control.dsn is None) != (control.reader_dsn is None):
        missing = "dsn" if control.dsn is None else "reader_dsn"
        yield (
            ("control",),
            f"`control.dsn` and `control.reader_dsn` go together; set `control.{missing}`, or neither for the embedded database",
        )
    elif control.dsn is None and control.admin_dsn is not None:
        yield (
            ("control", "admin_dsn"),
            "`control.admin_dsn` has no use without `control.dsn`; set `control.dsn` and `control.reader_dsn`",
        )
    named = [(name, dsn) for name in ("dsn", "reader_dsn", "admin_dsn") if (dsn := getattr(control, name)) is not None]
    for n, (name, dsn) in enumerate(named):
        for earlier, other in named[:n]:
            if dsn == other:
                yield ("control", name), f"`control.{name}` is the same login as `control.{earlier}`; give each its own role"


def _agents_stay_out_of_the_control_database(config: Config) -> Iterator[Complaint]:
    logins: list[SecretStr] = [dsn for dsn in (config.control.dsn, config.control.reader_dsn, config.control.admin_dsn) if dsn]
    for name, datasource in config.datasources.items():
        if any(same_database(datasource.dsn.get_secret_value(), login.get_secret_value()) for login in logins):
            yield (
                ("datasources", name, "dsn"),
                f"`datasources.{name}` is the control database; keep the audit table in a database of its own",
            )


def _pools_and_times_fit(config: Config) -> Iterator[Complaint]:
    for name, datasource in config.datasources.items():
        if datasource.pool_min > datasource.pool_max:
            key = ("datasources", name, "pool_min")
            yield key, f"`pool_min` {datasource.pool_min} is more than `pool_max` {datasource.pool_max}; lower it"


def _outsiders_are_asked_who_they_are(config: Config) -> Iterator[Complaint]:
    http = config.http
    if not http.authentication and not is_loopback(http.host):
        problem = f"`{http.host}` is reached from other machines, and nobody would be asked who he is"
        yield ("http", "host"), f"{problem}; set `http.authentication`, or listen on `127.0.0.1`"
    # A proxy on this machine would bring in whoever asks for such a name; a page of such an origin, whoever reads it.
    for name in () if http.authentication else ("hosts", "origins"):
        for entry in getattr(http, name):
            if not is_loopback(host_in(entry)):
                problem = f"`http.{name}` lets in `{entry}`, which is not only this machine, and nobody would be asked who he is"
                yield ("http", name), f"{problem}; set `http.authentication`, or remove it"


def _ways_to_be_recognised_are_whole(config: Config) -> Iterator[Complaint]:
    ways, oauth = config.http.authentication, config.oauth
    if "oauth" in ways:
        for name in ("issuer", "resource", "roles"):
            if not getattr(oauth, name):
                yield ("oauth",), f"`http.authentication` names `oauth`, and `oauth.{name}` is not set"
    elif oauth.issuer is not None:
        yield ("oauth", "issuer"), '`oauth.issuer` has no effect; add `"oauth"` to `http.authentication`, or remove it'


def _certificates_are_whole(config: Config) -> Iterator[Complaint]:
    named, proxy, certificates = "proxy" in config.http.authentication, config.proxy, config.certificates
    if named and not (proxy.addresses and certificates):
        yield ("http", "authentication"), "`http.authentication` names `proxy`; set `proxy.addresses` and a `[certificates.<name>]`"
    if not named and certificates:
        yield ("http", "authentication"), '`[certificates]` has no effect; add `"proxy"` to `http.authentication`'
    if not config.http.authentication and proxy.addresses:
        yield ("proxy", "addresses"), "`proxy.addresses` has no effect where no caller is recognised; set `http.authentication`"
    subjects = [certificate.subject for certificate in certificates.values()]
    for name, certificate in certificates.items():
        if subjects.count(certificate.subject) > 1:
            yield ("certificates", name, "subject"), f"the subject of `certificates.{name}` stands for several agents; keep one"


def _callers_get_configured_roles(config: Config) -> Iterator[Complaint]:
    given: dict[tuple[str, ...], tuple[str, ...]] = {("oauth", "roles", value): r for value, r in config.oauth.roles.items()}
    given |= {("certificates", name, "roles"): certificate.roles for name, certificate in config.certificates.items()}
    for key, roles in given.items():
        for role in sorted(set(roles) - set(config.agent.roles)):
            yield key, f"role `{role}` is not configured; add it to `agent.roles`"


def _attributes_have_their_types(config: Config) -> Iterator[Complaint]:
    for name, type_ in config.attribute_types.items():
        for agent, value in config.attributes[name].agents.items():
            try:
                attribute(name, type_, value)
            except ValueError as failure:
                yield ("attributes", name, "agents", agent), f"the value for `{agent}` does not fit: {failure}"


def _embedders_have_what_their_kind_needs(config: Config) -> Iterator[Complaint]:
    for name, embedder in config.embedders.items():
        takes = TAKES[embedder.kind]
        for setting in sorted(embedder.model_fields_set - takes - ANY_KIND):
            kinds = " or ".join(f"`{kind}`" for kind, others in TAKES.items() if setting in others)
            yield (
                ("embedders", name, setting),
                f"`embedders.{name}.{setting}` has no effect on kind `{embedder.kind}`; remove it, or choose {kinds}",
            )
        for setting in sorted(NEEDS[embedder.kind] - embedder.model_fields_set):
            yield (
                ("embedders", name),
                f"`embedders.{name}.{setting}` is missing; an embedder of kind `{embedder.kind}` needs it",
            )


def _stores_are_one_thing_each(config: Config) -> Iterator[Complaint]:
    for name, store in config.vectors.items():
        here, given = ("vectors", name), store.model_fields_set
        other = next(kind for kind in STORES if kind != store.kind)
        for setting in sorted(given & STORES[other]):
            yield (
                (*here, setting),
                f"`vectors.{name}.{setting}` has no effect on kind `{store.kind}`; remove it, or choose `{other}`",
            )
        if store.kind == "pgvector" and "dsn" not in given:
            yield here, f'`vectors.{name}.dsn` is missing; add `dsn = "env:VECTORS_DSN"`'
        if store.kind == "chroma" and ("path" in given) == ("url" in given):
            yield here, f"`vectors.{name}` needs either `path` or `url`; set one of them"
        elif store.kind == "chroma" and "key" in given and "url" not in given:
            yield (*here, "key"), f"`vectors.{name}.key` is what a server is told; set `url`, or remove it"


def _agents_stay_out_of_the_vectors(config: Config) -> Iterator[Complaint]:
    # Texts of a collection are shown through policy alone: its login must be nobody else's.
    for name, store in config.vectors.items():
        mine = "" if store.dsn is None else store.dsn.get_secret_value()
        here = ("vectors", name, "dsn")
        for other, datasource in config.datasources.items():
            theirs = [dsn.get_secret_value() for dsn in (datasource.dsn, datasource.replica_dsn, datasource.writer_dsn) if dsn]
            if mine and any(same_login(mine, dsn) for dsn in theirs):
                yield here, f"`vectors.{name}` is the login of `datasources.{other}`; give the store a role of its own"
        if mine and config.control.dsn and same_database(mine, config.control.dsn.get_secret_value()):
            yield here, f"`vectors.{name}` is the control database; keep collections in a database of their own"


def _backups_lie_apart(config: Config) -> Iterator[Complaint]:
    backups, restores = config.backup_folder, config.restore_folder
    # Who takes the folder away must not have taken the keys with it.
    if _inside(config.home.state, backups):
        yield ("backup", "repository"), f"`home.state`, where keys lie, would be in `{backups}`; choose another folder"
    if _inside(restores, backups) or _inside(backups, restores):
        yield ("backup", "restores"), "what is restored would lie among the backups; choose a folder outside `backup.repository`"


def _buckets_are_whole(config: Config) -> Iterator[Complaint]:
    backup = config.backup
    for name in OF_BUCKETS:
        if config.backup_bucket is None and name in backup.model_fields_set:
            yield ("backup", name), f'`backup.{name}` has no effect on a folder; remove it, or choose `repository = "s3://…"`'
    if (backup.access_key is None) != (backup.secret_key is None):
        missing = "access_key" if backup.access_key is None else "secret_key"
        yield ("backup",), f"`backup.access_key` and `backup.secret_key` go together; set `backup.{missing}`"


def _agents_stay_out_of_the_backups(config: Config) -> Iterator[Complaint]:
    for name, source in config.datasources.items():
        own = source.backup_dsn.get_secret_value() if source.backup_dsn else ""
        theirs = [dsn.get_secret_value() for dsn in (source.dsn, source.replica_dsn, source.writer_dsn) if dsn]
        here = ("datasources", name, "backup_dsn")
        if own and any(same_login(own, dsn) for dsn in theirs):
            yield (
                here,
                f"`datasources.{name}.backup_dsn` is a login of agents, and it reads everything; give backups a role of their own",
            )
    if config.control.backup_dsn is not None and config.control.dsn is None:
        yield (
            ("control", "backup_dsn"),
            "`control.backup_dsn` has no use without `control.dsn`; remove it: backups have a login there",
        )


def _names_of_backups_differ(config: Config) -> Iterator[Complaint]:
    for name in config.sqlite:
        if name in config.datasources or name == CONTROL:
            other = "the control database" if name == CONTROL else f"`datasources.{name}`"
            yield ("sqlite", name), f"`sqlite.{name}` has the name of {other}; choose another one"
    for name in config.external:
        if name in config.datasources or name in config.sqlite or name in (CONTROL, *((_SAMPLE,) * (not config.datasources))):
            yield ("external", name), f"`external.{name}` has the name of something else that is backed up; choose another one"
    # Also where no backups are made of that datasource: what policy says of it would be said of the control database's.
    backed_up = config.control.dsn is None or config.control.backup_dsn is not None
    if CONTROL in config.datasources and (backed_up or config.datasources[CONTROL].backup_dsn is not None):
        key = ("datasources", CONTROL)
        yield key, "backups of `control` are those of the control database; call the datasource something else"


def _plans_are_of_what_is_backed_up(config: Config) -> Iterator[Complaint]:
    for name, plan in config.plans.items():
        kinds = _kinds_of(name, config)
        if not kinds:
            known = ", ".join(f"`{one}`" for one in (*config.datasources, *config.sqlite, CONTROL) if _kinds_of(one, config))
            mend = f"set its `backup_dsn`, or choose {known}" if known else "set a `backup_dsn`"
            yield ("plans", name), f"nothing is backed up that is called `{name}`; {mend}"
            continue
        for kind in sorted({"logical", "full", "incremental", "sqlite"} - kinds):
            if getattr(plan, kind) is not None:
                yield ("plans", name, kind), f"no {kind} backups are made of `{name}`; remove it"
        if plan.wal == "kept" and "full" not in kinds:
            yield ("plans", name, "wal"), f"`{name}` has no write-ahead log; remove it"
        if "full" in kinds and plan.incremental is not None and plan.full is None:
            key = ("plans", name, "incremental")
            yield key, f"what `plans.{name}` would have changed since is never made anew; set `plans.{name}.full`, too"


def _kinds_of(name: str, config: Config) -> frozenset[str]:
    """The kinds of backups that are made of what has this name; none where it has no login for them."""
    if name in config.sqlite:
        return frozenset(("sqlite",))
    if name == CONTROL:
        made = config.control.dsn is None or config.control.backup_dsn is not None
    elif config.datasources:
        made = name in config.datasources and config.datasources[name].backup_dsn is not None
    else:
        made = name == _SAMPLE
    return frozenset(("logical", "full", "incremental")) if made else frozenset()


RULES: tuple[Callable[[Config], Iterator[Complaint]], ...] = (
    _role_is_configured,
    _keys_lie_outside_the_data,
    _logins_of_the_audit_table_differ,
    _agents_stay_out_of_the_control_database,
    _pools_and_times_fit,
    _outsiders_are_asked_who_they_are,
    _ways_to_be_recognised_are_whole,
    _certificates_are_whole,
    _callers_get_configured_roles,
    _attributes_have_their_types,
    _embedders_have_what_their_kind_needs,
    _stores_are_one_thing_each,
    _agents_stay_out_of_the_vectors,
    _backups_lie_apart,
    _buckets_are_whole,
    _agents_stay_out_of_the_backups,
    _names_of_backups_differ,
    _plans_are_of_what_is_backed_up,
)
