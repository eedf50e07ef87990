import os
import re
from pathlib import Path

import pytest

from ostiary.config import Config, ConfigError, find, load
from ostiary.config.document import commented_file, listing, toml
from ostiary.config.sources import from_file, key_lines
from ostiary.config.table import SECTIONS, TABLE, Kind
from ostiary.identity.principals import given
from ostiary.places import places
from ostiary_tools.powers import OVER_PRIVILEGED

CANARY = "canary-2f81"
ENVIRON = {"HOME": "/nowhere"}
REACHED = "is reached from other machines, and nobody would be asked who he is; set `http.authentication`, or listen on `127.0.0.1`"
PUBLIC = "which is not only this machine, and nobody would be asked who he is; set `http.authentication`, or remove it"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Path:
    path = Path("ostiary.toml")
    path.write_text(text)
    return path


def problems(text: str = "", environ: dict[str, str] | None = None, overrides: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(text), ENVIRON | (environ or {}), overrides or {})
    return [str(problem) for problem in caught.value.problems]


def test_the_command_line_overrules_the_environment_and_that_the_file() -> None:
    path = written("[agent]\nname = 'a'\nrole = 'observer'\n[limits]\nrows = 1\ntimeout_s = 3\n[policy]\nbundles = ['observer']\n")
    environ = ENVIRON | {
        "OSTIARY_LIMITS__ROWS": "2",
        "OSTIARY_AGENT__ROLE": "auditor",
        "OSTIARY_POLICY__BUNDLES": "analyst, auditor",
    }
    config = load(path, environ, {"agent.role": "engineer", "agent.name": None})
    assert (config.limits.rows, config.limits.timeout_s, config.limits.reply_chars) == (2, 3.0, 16_000)
    assert (config.agent.name, config.agent.role) == ("a", "engineer")
    assert config.policy.bundles == ("analyst", "auditor")
    origins = {row.name: row.origin for row in listing(config)}
    assert origins["agent.name"] == "ostiary.toml:2"
    assert origins["agent.role"] == "command line"
    assert origins["limits.rows"] == "environment variable `OSTIARY_LIMITS__ROWS`"
    assert origins["limits.timeout_s"] == "ostiary.toml:6"
    assert origins["limits.reply_chars"] == "default"


def test_without_any_configuration_the_local_analyst_reads_the_embedded_sample() -> None:
    config = load(None, ENVIRON, {})
    assert (config.agent.name, config.agent.role) == ("local", "analyst")
    assert config.datasources == {}
    assert config.control.dsn is None
    assert {row.origin for row in listing(config)} == {"default"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\npolcy = 'x'\n", "ostiary.toml:2: unknown key `polcy` in [server]; did you mean `policy`?"),
        ("[limits]\n\nrow = 1\n", "ostiary.toml:3: unknown key `row` in [limits]; did you mean `rows`?"),
        ("[server]\nreply_chars = 1\n", "ostiary.toml:2: unknown key `reply_chars` in [server]; it belongs in [limits]"),
        ("# x\nrows = 1\n", "ostiary.toml:2: unknown section or key `rows`; it belongs in [limits]"),
        ("[limts]\nrows = 1\n", "ostiary.toml:2: unknown section or key `limts`; did you mean `limits`?"),
        ("[limits]\nrows = '200'\n", "ostiary.toml:2: `limits.rows` must be a whole number"),
        ("[limits]\nrows = 2.5\n", "ostiary.toml:2: `limits.rows` must be a whole number"),
        ("[limits]\nrows = true\n", "ostiary.toml:2: `limits.rows` must be a whole number"),
        ("[limits]\nrows = 0\n", "ostiary.toml:2: `limits.rows` must be greater than or equal to 1"),
        ("[limits]\ntimeout_s = nan\n", "ostiary.toml:2: `limits.timeout_s` must be a finite number"),
        ("limits = 5\n", "ostiary.toml:1: `limits` must be a table; write `[limits]`"),
        ("[server]\nlog_level = 'loud'\n", "ostiary.toml:2: `server.log_level` must be `debug`, `info`, `warning` or `error`"),
        ("[home]\ndata = 1\n", "ostiary.toml:2: `home.data` must be a path"),
        ("[policy]\ntags = [\n  'a',\n  5,\n]\n", "ostiary.toml:2: `policy.tags` must be a list of texts"),
        ("[agent]\nroles = []\n", "ostiary.toml:2: `agent.roles` must name at least one"),
        ("[agent]\nname = 'A b'\n", "ostiary.toml:2: `agent.name` must be lower-case letters, digits, `_` and `-`, a letter first"),
        ("[datasources.shop]\npool_max = 3\n", 'ostiary.toml:2: `datasources.shop.dsn` is missing; add `dsn = "env:SHOP_DSN"`'),
        ("[datasources.shop]\n", 'ostiary.toml:1: `datasources.shop.dsn` is missing; add `dsn = "env:SHOP_DSN"`'),
        (
            "[datasources.shop]\ndsn = 'postgresql://h/d'\naccepted_powers = ['superuser', 'root']\n",
            f"ostiary.toml:3: `datasources.shop.accepted_powers.1` must be one of {', '.join(OVER_PRIVILEGED)}",
        ),
        (
            "[control]\ndsn = 'mysql://h/d'\n",
            "ostiary.toml:2: `control.dsn` must be a URL such as `postgresql://user@host:5432/database`",
        ),
        ("[limits]\nrows = = 1\n", "ostiary.toml:2: not valid TOML: invalid value"),
        ("[limits]\nrows = 1\nrows = 2\n", "ostiary.toml:3: not valid TOML: cannot overwrite a value"),
        (
            "[control]\ndsn = 'env:NOPE'\n",
            "ostiary.toml:2: `control.dsn`: environment variable `NOPE` is not set; set it, or refer to a file with `file:/path`",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_the_mend(text: str, expected: str) -> None:
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[agent]\nrole = 'owner'\nroles = ['analyst']\n",
            "ostiary.toml:2: role `owner` is not configured; choose `analyst`, or add it to `agent.roles`",
        ),
        (
            "[home]\ndata = '/d'\nstate = '/d/keys'\n",
            "ostiary.toml:3: `/d/keys` lies inside `home.data`; choose a folder outside `/d`",
        ),
        (
            "[home]\ndata = '/d'\n[audit]\nanchor = '/d/../d/anchors'\n",
            "ostiary.toml:4: `/d/../d/anchors` lies inside `home.data`; choose a folder outside `/d`",
        ),
        (
            "[control]\ndsn = 'postgresql://w@h/c'\n",
            (
                "ostiary.toml:2: `control.dsn` and `control.reader_dsn` go together; "
                "set `control.reader_dsn`, or neither for the embedded database"
            ),
        ),
        (
            "[control]\nadmin_dsn = 'postgresql://w@h/c'\n",
            "ostiary.toml:2: `control.admin_dsn` has no use without `control.dsn`; set `control.dsn` and `control.reader_dsn`",
        ),
        (
            "[control]\ndsn = 'postgresql://w@h/c'\nreader_dsn = 'postgresql://w@h/c'\n",
            "ostiary.toml:3: `control.reader_dsn` is the same login as `control.dsn`; give each its own role",
        ),
        (
            (
                "[control]\ndsn = 'postgresql://w@h/c'\nreader_dsn = 'postgresql://r@h/c'\n"
                "[datasources.x]\ndsn = 'postgresql://a@other,H:5432/c?sslmode=require'\n"
            ),
            "ostiary.toml:5: `datasources.x` is the control database; keep the audit table in a database of its own",
        ),
        (
            "[http]\nhost = '0.0.0.0'\n",
            f"ostiary.toml:2: `0.0.0.0` {REACHED}",
        ),
        (
            "[http]\nhost = 'localhost.example'\n",
            f"ostiary.toml:2: `localhost.example` {REACHED}",
        ),
        *(
            (
                f"[http]\n{name} = ['{own}', '{entry}']\n",
                f"ostiary.toml:2: `http.{name}` lets in `{entry}`, {PUBLIC}",
            )
            for name, own, entry in (
                ("hosts", "[::1]:*", "db.example.com"),
                ("hosts", "localhost", "db.example.com:*"),
                ("hosts", "localhost:8000", "127.0.0.1.example.com"),
                ("hosts", "127.0.0.2:*", "0.0.0.0:*"),
                ("hosts", "127.0.0.1", "[::1"),
                ("origins", "http://[::1]:*", "https://app.example.com"),
                ("origins", "https://localhost:*", "null"),
            )
        ),
        *(
            (
                f"[proxy]\naddresses = ['{network}']\n",
                "ostiary.toml:2: `proxy.addresses` must be the addresses of the proxy; any address would be one",
            )
            for network in ("0.0.0.0/0", "::/0")
        ),
        (
            "[proxy]\naddresses = ['10.0.0.7']\n",
            "ostiary.toml:2: `proxy.addresses` has no effect where no caller is recognised; set `http.authentication`",
        ),
        (
            "[oauth]\nissuer = 'http://login.example'\n",
            "ostiary.toml:2: `oauth.issuer` must be an `https://` URL; `http://` only for addresses of this machine",
        ),
        (
            "[oauth]\nalgorithms = ['HS256']\n",
            "ostiary.toml:2: `oauth.algorithms` must be an asymmetric algorithm such as `RS256`, `PS256`, `ES256` or `EdDSA`",
        ),
        (
            "[oauth]\nissuer = 'https://login.example'\n",
            'ostiary.toml:2: `oauth.issuer` has no effect; add `"oauth"` to `http.authentication`, or remove it',
        ),
        (
            "[http]\nauthentication = ['oauth']\n[oauth]\nissuer = 'https://l'\nresource = 'https://r'\n",
            "ostiary.toml:4: `http.authentication` names `oauth`, and `oauth.roles` is not set",
        ),
        (
            "[datasources.x]\ndsn = 'postgresql://h/d'\npool_min = 9\npool_max = 2\n",
            "ostiary.toml:3: `pool_min` 9 is more than `pool_max` 2; lower it",
        ),
        ("[vectors.v]\nkind = 'qdrant'\n", "ostiary.toml:2: `vectors.v.kind` must be `pgvector` or `chroma`"),
        ("[vectors.v]\nkind = 'pgvector'\n", 'ostiary.toml:2: `vectors.v.dsn` is missing; add `dsn = "env:VECTORS_DSN"`'),
        ("[vectors.v]\nkind = 'chroma'\n", "ostiary.toml:2: `vectors.v` needs either `path` or `url`; set one of them"),
        (
            "[vectors.v]\nkind = 'chroma'\npath = 'x'\nurl = 'https://c.example'\n",
            "ostiary.toml:2: `vectors.v` needs either `path` or `url`; set one of them",
        ),
        (
            "[vectors.v]\nkind = 'chroma'\npath = 'x'\nkey = 'env:HOME'\n",
            "ostiary.toml:4, from `env:HOME`: `vectors.v.key` is what a server is told; set `url`, or remove it",
        ),
        (
            "[vectors.v]\nkind = 'pgvector'\ndsn = 'postgresql://v@h/v'\nurl = 'https://c.example'\n",
            "ostiary.toml:4: `vectors.v.url` has no effect on kind `pgvector`; remove it, or choose `chroma`",
        ),
        (
            "[vectors.v]\nkind = 'chroma'\nurl = 'http://c.example'\n",
            "ostiary.toml:3: `vectors.v.url` must be an `https://` URL; `http://` only for addresses of this machine",
        ),
        (
            "[datasources.s]\ndsn = 'postgresql://a@h/s'\n[vectors.v]\nkind = 'pgvector'\ndsn = 'postgresql://a@h:5432/s'\n",
            "ostiary.toml:5: `vectors.v` is the login of `datasources.s`; give the store a role of its own",
        ),
        (
            (
                "[control]\ndsn = 'postgresql://w@h/c'\nreader_dsn = 'postgresql://r@h/c'\n"
                "[vectors.v]\nkind = 'pgvector'\ndsn = 'postgresql://v@h/c'\n"
            ),
            "ostiary.toml:6: `vectors.v` is the control database; keep collections in a database of their own",
        ),
        (
            "[datasources.s]\ndsn = 'postgresql://a@h/s'\nbackup_dsn = 'postgresql://a@h:5432/s'\n",
            (
                "ostiary.toml:3: `datasources.s.backup_dsn` is a login of agents, and it reads everything; "
                "give backups a role of their own"
            ),
        ),
        (
            "[datasources.control]\ndsn = 'postgresql://a@h/s'\n",
            "ostiary.toml:2: backups of `control` are those of the control database; call the datasource something else",
        ),
        (
            "[sqlite.control]\npath = 'x.db'\n",
            "ostiary.toml:2: `sqlite.control` has the name of the control database; choose another one",
        ),
        (
            "[datasources.s]\ndsn = 'postgresql://a@h/s'\n[sqlite.s]\npath = 'x.db'\n",
            "ostiary.toml:4: `sqlite.s` has the name of `datasources.s`; choose another one",
        ),
        (
            "[control]\nbackup_dsn = 'postgresql://b@h/c'\n",
            ("ostiary.toml:2: `control.backup_dsn` has no use without `control.dsn`; remove it: backups have a login there"),
        ),
        (
            "[home]\nstate = '/srv/o/state'\n[backup]\nrepository = '/srv/o'\n",
            "ostiary.toml:4: `home.state`, where keys lie, would be in `/srv/o`; choose another folder",
        ),
        (
            "[backup]\nrepository = '/srv/b'\nrestores = '/srv/b/restores'\n",
            "ostiary.toml:3: what is restored would lie among the backups; choose a folder outside `backup.repository`",
        ),
        (
            "[backup]\nrepository = 's3://Bucket/../x'\n",
            (
                "ostiary.toml:2: `backup.repository` must be `s3://bucket` or `s3://bucket/prefix`, "
                "of letters, digits, `.`, `_` and `-`"
            ),
        ),
        (
            "[backup]\nrepository = 's3://bucket'\nendpoint = 'http://objects.example.com'\n",
            "ostiary.toml:3: `backup.endpoint` must be an `https://` URL; `http://` only for addresses of this machine",
        ),
        (
            "[backup]\nrepository = '/srv/b'\nregion = 'eu-1'\n",
            'ostiary.toml:3: `backup.region` has no effect on a folder; remove it, or choose `repository = "s3://…"`',
        ),
        (
            "[backup]\nrepository = 's3://bucket'\naccess_key = 'env:HOME'\n",
            "ostiary.toml:2: `backup.access_key` and `backup.secret_key` go together; set `backup.secret_key`",
        ),
        (
            "[embedders.own]\nkind = 'wordllama'\nfolder = 'x'\n",
            (
                "ostiary.toml:3: `embedders.own.folder` has no effect on kind `wordllama`; "
                "remove it, or choose `sentence_transformers` or `onnx`"
            ),
        ),
        (
            "[embedders.own]\nkind = 'onnx'\nfolder = 'x'\ntimeout_s = 3\ndimensions = 3\n",
            ("ostiary.toml:4: `embedders.own.timeout_s` has no effect on kind `onnx`; remove it, or choose `openai`"),
        ),
        (
            "[embedders.own]\nkind = 'openai'\nurl = 'https://e.example/v1'\nmodel = 'm'\n",
            "ostiary.toml:2: `embedders.own.dimensions` is missing; an embedder of kind `openai` needs it",
        ),
        (
            "[embedders.own]\nkind = 'sentence_transformers'\ndimensions = 3\n",
            "ostiary.toml:2: `embedders.own.folder` is missing; an embedder of kind `sentence_transformers` needs it",
        ),
        (
            "[embedders.own]\nkind = 'openai'\nurl = 'http://e.example/v1'\n",
            "ostiary.toml:3: `embedders.own.url` must be an `https://` URL; `http://` only for addresses of this machine",
        ),
        (
            "[embedders.own]\nkind = 'remote'\n",
            "ostiary.toml:2: `embedders.own.kind` must be `wordllama`, `openai`, `sentence_transformers` or `onnx`",
        ),
    ],
)
def test_values_that_are_unsafe_together_stop_the_start(text: str, expected: str) -> None:
    assert problems(text) == [expected]


SHOP = "[datasources.shop]\ndsn = 'postgresql://a@h/s'\nbackup_dsn = 'postgresql://b@h/s'\n"
FILE = "[sqlite.notes]\npath = 'x.db'\n"


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (
            "[plans.crm]\nfull = '0 2 * * *'\n",
            ["7: nothing is backed up that is called `crm`; set its `backup_dsn`, or choose `shop`, `notes`, `control`"],
        ),
        ("[plans.shop]\nsqlite = '0 2 * * *'\n", ["7: no sqlite backups are made of `shop`; remove it"]),
        (
            "[plans.notes]\nfull = '0 2 * * *'\nwal = 'kept'\n",
            ["7: no full backups are made of `notes`; remove it", "8: `notes` has no write-ahead log; remove it"],
        ),
        (
            "[plans.shop]\nincremental = '0 2 * * *'\n",
            ["7: what `plans.shop` would have changed since is never made anew; set `plans.shop.full`, too"],
        ),
        (
            "[plans.shop]\n\nfull = '@daily'\n",
            ["8: `plans.shop.full` must be the five fields of cron: minute, hour, day of the month, month, day of the week"],
        ),
        (
            "[plans.shop]\ndrill = '0 0 2 * * *'\n",
            ["7: `plans.shop.drill` must be the five fields of cron: minute, hour, day of the month, month, day of the week"],
        ),
        ("[plans.shop]\nlogical = '0 24 * * *'\n", ["7: `plans.shop.logical` is no time of cron: bad hour"]),
        ("[plans.shop]\nlogical = '0 0 31 2 *'\n", ["7: `plans.shop.logical` is no time of cron: bad day-of-month"]),
        (
            "[plans.shop]\nlogical = '0 0 * 2 mon#5'\nkeep_last = 0\n",
            ["8: `plans.shop.keep_last` must be greater than or equal to 1"],
        ),
    ],
)
def test_a_plan_that_could_not_be_kept_stops_the_start_with_its_line(plan: str, expected: list[str]) -> None:
    assert problems(SHOP + FILE + plan) == [f"ostiary.toml:{one}" for one in expected]


def test_plans_are_of_the_sample_of_files_and_of_the_control_database() -> None:
    text = (
        FILE + "[plans.shop]\nfull = '0 2 * * sun'\n[plans.notes]\nsqlite = '*/5 * * * *'\n[plans.control]\nlogical = '0 1 L * *'\n"
    )
    assert load(written(text), ENVIRON, {}).plans.keys() == {"shop", "notes", "control"}
    elsewhere = "[control]\ndsn = 'postgresql://w@h/c'\nreader_dsn = 'postgresql://r@h/c'\n[plans.control]\n"
    assert problems(SHOP + elsewhere) == [
        "ostiary.toml:7: nothing is backed up that is called `control`; set its `backup_dsn`, or choose `shop`"
    ]


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file() -> None:
    text = "[server]\nnme = 'x'\n[datasources.shop]\ndsn = 'env:NOPE'\npool_max = 'many'\n[limits]\nrows = 0\n"
    found = problems(text, {"OSTIARY_LIMITS__CALLS_AT_ONCE": "some"}, {"agent.role": "Bad Role"})
    assert [line.split(": ")[0] for line in found] == [
        "ostiary.toml:2",
        "ostiary.toml:4",
        "ostiary.toml:5",
        "ostiary.toml:7",
        "command line",
        "environment variable `OSTIARY_LIMITS__CALLS_AT_ONCE`",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OSTIARY_LIMTS__ROWS", "; did you mean `OSTIARY_LIMITS__ROWS`?"),
        ("OSTIARY_LIMITS_ROWS", "; did you mean `OSTIARY_LIMITS__ROWS`?"),
        ("OSTIARY_DATASOURCES__SHOP__DNS", "; did you mean `OSTIARY_DATASOURCES__SHOP__DSN`?"),
        ("OSTIARY_XYZZY", ""),
    ],
)
def test_an_unknown_variable_stops_the_start(name: str, meant: str) -> None:
    text = "[datasources.shop]\ndsn = 'postgresql://h/d'\n"
    assert problems(text, {name: "1"}) == [f"environment variable `{name}`: no such setting{meant}"]


def test_variables_that_are_meant_for_others_are_passed_over() -> None:
    """Kubernetes sets these beside a service called `ostiary`; the last is what a secret refers to."""
    cluster = {"OSTIARY_SERVICE_HOST": "10.0.0.1", "OSTIARY_SERVICE_PORT_HTTP": "80", "OSTIARY_PORT_80_TCP_ADDR": "10.0.0.1"}
    environ = ENVIRON | cluster | {"OSTIARY_PORT": "tcp://10.0.0.1:80", "OSTIARY_SHOP_PW": f"postgresql://u:{CANARY}@h/d"}
    config = load(written("[datasources.shop]\ndsn = 'env:OSTIARY_SHOP_PW'\n"), environ, {})
    assert config.datasources["shop"].dsn.get_secret_value() == f"postgresql://u:{CANARY}@h/d"


def test_a_datasource_may_come_from_the_environment_alone() -> None:
    environ = {
        "OSTIARY_DATASOURCES__SHOP__DSN": f"postgresql://u:{CANARY}@h/d",
        "OSTIARY_DATASOURCES__SHOP__POOL_MAX": "3",
        "OSTIARY_DATASOURCES__SHOP__SEARCH_PATH": "sales,public",
    }
    shop = load(None, ENVIRON | environ, {}).datasources["shop"]
    assert (shop.pool_max, shop.search_path) == (3, ("sales", "public"))


def test_tags_keep_their_targets() -> None:
    tags = "'public.customers.email' = ['pii:email', 'secret']"
    config = load(written(f"[datasources.shop]\ndsn = 'postgresql://h/d'\n[datasources.shop.tags]\n{tags}\n"), ENVIRON, {})
    assert config.datasources["shop"].tags == {"public.customers.email": ("pii:email", "secret")}
    assert [row.origin for row in listing(config) if row.name == "datasources.shop.tags"] == ["ostiary.toml:4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[attributes.tags]\ntype = 'text'\n", "ostiary.toml:2: `attributes.tags` must be lower-case letters, digits and `_`, "),
        ("[attributes.if]\ntype = 'text'\n", "ostiary.toml:2: `attributes.if` must be lower-case letters, digits and `_`, "),
        ("[attributes.a-b]\ntype = 'text'\n", "ostiary.toml:2: `attributes.a-b` must be lower-case letters, digits and `_`, "),
        ("[attributes.region]\nclaim = 'region'\n", 'ostiary.toml:2: `attributes.region.type` is missing; add `type = "text"`'),
        (
            "[attributes.region]\ntype = 'date'\n",
            "ostiary.toml:2: `attributes.region.type` must be `text`, `integer`, `boolean` or",
        ),
        (
            "[attributes.level]\ntype = 'integer'\n[attributes.level.agents]\nnightly = true\n",
            "ostiary.toml:4: the value for `nightly` does not fit: `level` is declared as integer and is something else",
        ),
        (
            f"[attributes.teams]\ntype = 'texts'\nagents = {{ nightly = '{CANARY}' }}\n",
            "ostiary.toml:3: the value for `nightly` does not fit: `teams` is declared as texts and is something else",
        ),
    ],
)
def test_an_attribute_is_one_that_policies_can_ask_for_and_its_values_are_of_its_type(text: str, expected: str) -> None:
    [problem] = problems(text)
    assert problem.startswith(expected)
    assert CANARY not in problem


def test_attributes_of_configured_agents_keep_their_types() -> None:
    values = {
        "region": ("text", '"eu"'),
        "level": ("integer", "3"),
        "staff": ("boolean", "true"),
        "teams": ("texts", '["b", "a", "b"]'),
    }
    lines = [
        f"[attributes.{n}]\ntype = '{type_}'\nclaim = 'x'\nagents = {{ nightly = {value} }}" for n, (type_, value) in values.items()
    ]
    config = load(written("\n".join(lines)), ENVIRON, {})
    found = {one.name: one.value for one in given("nightly", config.attributes)}
    assert found == {"region": "eu", "level": 3, "staff": True, "teams": frozenset({"a", "b"})}
    assert list(found) == sorted(found)
    assert given("weekly", config.attributes) == ()


def test_keys_are_never_shown_whatever_they_look_like() -> None:
    keys = f"postgresql://{CANARY}{'x' * 32}"
    config = load(None, ENVIRON | {"OSTIARY_HTTP__STATE_KEYS": keys}, {})
    assert config.http.keys == (keys,)
    assert [row.value for row in listing(config) if row.name == "http.state_keys"] == ["***"]


@pytest.mark.parametrize("line", ["'email' = ['pii']", "'a.b' = ['PII mail']", "'a.b' = 'pii'"])
def test_a_tag_that_hits_nothing_is_refused(line: str) -> None:
    text = f"[datasources.shop]\ndsn = 'postgresql://h/d'\n[datasources.shop.tags]\n{line}\n"
    assert problems(text)[0].startswith("ostiary.toml:4: `datasources.shop.tags")


def test_relative_paths_in_the_file_start_at_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "ostiary.toml").write_text("[policy]\ndirectory = 'mine'\n[home]\nstate = '/s'\n")
    config = load(folder / "ostiary.toml", ENVIRON | {"OSTIARY_AUDIT__ANCHOR": "anchors"}, {"home.data": "data"})
    assert config.policy.directory == folder / "mine"
    assert config.home.state == Path("/s")
    assert config.audit.anchor == tmp_path / "anchors"
    assert config.home.data == tmp_path / "data"


def test_lines_are_those_of_the_text() -> None:
    text = '# c\ntop.a = 1\n\n[x."y.z"]\nlist = [\n  "k = 1",\n]\nlong = """\n[no]\nb = 2\n"""\nin = { p = 1 }\n[[many]]\nq = 1\n'
    found = key_lines(text)
    assert found["top", "a"] == 2
    assert found["x", "y.z"] == 4
    assert found["x", "y.z", "list"] == 5
    assert found["x", "y.z", "long"] == 8
    assert found["x", "y.z", "in", "p"] == 12
    assert ("no",) not in found


def test_the_file_that_was_asked_for_comes_before_those_that_are_found(tmp_path: Path) -> None:
    own = tmp_path / "cfg/ostiary/ostiary.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    for name in ("asked.toml", "named.toml"):
        Path(name).touch()
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "cfg"), "HOME": "/nowhere"}
    assert find(None, environ) == own
    written("")
    assert find(None, environ) == Path("ostiary.toml")
    assert find(None, environ | {"OSTIARY_CONFIG": "named.toml"}) == Path("named.toml")
    assert find(Path("asked.toml"), environ | {"OSTIARY_CONFIG": "named.toml"}) == Path("asked.toml")


def test_a_file_that_was_asked_for_and_is_missing_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file; `ostiary init` writes one"):
        load(None, {"OSTIARY_CONFIG": "gone.toml"}, {})


def test_a_file_that_anyone_may_change_stops_the_start() -> None:
    written("").chmod(0o666)
    with pytest.raises(ConfigError, match=r"ostiary\.toml: can be changed by anyone; run `chmod o-w ostiary\.toml`"):
        load(None, ENVIRON, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_in_the_current_folder_configures_nothing() -> None:
    os.chown(written(""), 4242, 4242)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load(None, ENVIRON, {})
    assert isinstance(load(Path("ostiary.toml"), ENVIRON, {}), Config)


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("ostiary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(None, ENVIRON, {})


def test_the_commented_file_loads_and_changes_nothing() -> None:
    defaults = load(None, ENVIRON, {})
    config = load(written(commented_file()), ENVIRON, {})
    assert config.model_dump() == defaults.model_dump()
    assert {row.origin for row in listing(config)} == {"default"}


def test_every_comment_of_the_commented_file_that_is_a_setting_can_be_taken_up(tmp_path: Path) -> None:
    text = re.sub(r"^# (\[|[a-z_]+ = )", r"\1", commented_file(), flags=re.MULTILINE)
    text = text.replace("/run/secrets/control-admin", "admin").replace("/run/secrets/backup-identity", "admin")
    text = text.replace('"/srv/backups"', '"s3://backups/of/ours"')  # an access key says nothing of a folder
    text = text.replace("[sqlite.shop]", "[sqlite.files]").replace("[external.shop]", "[external.others]")  # names that are taken
    text = re.sub(r"^folder = .*\n", "", text, flags=re.MULTILINE)  # an embedder has either a server or a folder
    text = re.sub(r"^sqlite = .*\n", "", text, flags=re.MULTILINE)  # a plan is of a database or of a file
    others, stores = text.split("[vectors.", 1)  # and a store is of one kind
    text = others + "[vectors." + re.sub(r"^(path|url|key) = .*\n", "", stores, flags=re.MULTILINE)
    admin = tmp_path / "admin"
    admin.write_text("postgresql://o@h/c\n")
    admin.chmod(0o600)
    environ = {"CONTROL_DSN": "postgresql://w@h/c", "CONTROL_READER_DSN": "postgresql://r@h/c", "SHOP_DSN": "postgresql://a@h/shop"}
    environ |= {"STATE_KEYS": "k" * 32, "OSTIARY_MASK_KEY": "m" * 32, "OSTIARY_CHANGES_KEY": "c" * 32, "EMBEDDER_KEY": "e"} | {
        "VECTORS_DSN": "postgresql://v@h/vectors",
        "SHOP_MIGRATIONS_DSN": "postgresql://m@h/shop",
        "SHOP_REPLICA_DSN": "postgresql://a@r/shop",
    }
    environ |= {"BACKUP_ACCESS_KEY": "k", "BACKUP_SECRET_KEY": "s"}
    environ |= {"SHOP_BACKUP_DSN": "postgresql://b@h/shop", "CONTROL_BACKUP_DSN": "postgresql://b@h/c"}
    environ |= {"SHOP_WRITER_DSN": "postgresql://c@h/shop", "SHOP_MIGRATIONS_DSN": "postgresql://c@h/shop"}
    config = load(written(text), ENVIRON | environ, {})
    assert {re.sub(r"\.(shop|files|others)\.", ".<name>.", row.name) for row in listing(config)} == {".".join(s.key) for s in TABLE}
    assert {row.name for row in listing(config) if row.origin == "default"} == {
        "embedders.shop.folder",
        "plans.shop.sqlite",
        *("vectors.shop.path", "vectors.shop.url", "vectors.shop.key"),
    }
    assert config.limits == load(written(""), ENVIRON, {}).limits


def test_every_setting_says_what_it_is() -> None:
    assert [s.key for s in TABLE if not s.help.endswith(".")] == []
    assert [model.__name__ for _, model in SECTIONS if not model.__doc__] == []
    numbers = [s for s in TABLE if s.kind in (Kind.INTEGER, Kind.NUMBER)]
    assert numbers
    assert [s.key for s in numbers if not s.unit] == []
    assert [s.key for s in numbers if s.name.endswith("_s") != (s.unit == "seconds")] == []


def test_values_are_written_as_toml() -> None:
    value = {"a.b": ('q"\\', 1, True), "c": 2.5}
    entries = from_file(f"v = {toml(value)}", Path("x"))
    assert {entry.key: entry.value for entry in entries} == {("v", "a.b"): ['q"\\', 1, True], ("v", "c"): 2.5}


def test_root_keeps_its_data_where_another_user_can_reach_it() -> None:
    assert places({"HOME": "/root"}, 0).data == Path("/var/lib/ostiary")
    assert places({"HOME": "/home/a", "XDG_STATE_HOME": "relative"}, 1000) == places({"HOME": "/home/a"}, 1000)
    mine = places({"HOME": "/home/a", "XDG_DATA_HOME": "/x", "XDG_RUNTIME_DIR": "/run/user/1000"}, 1000)
    assert (mine.data, mine.state, mine.runtime) == (
        Path("/x/ostiary"),
        Path("/home/a/.local/state/ostiary"),
        Path("/run/user/1000"),
    )
