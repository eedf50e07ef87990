import json
import os
from pathlib import Path

import pytest

from ostiary.config import Config, ConfigError, load
from ostiary.config.document import listing
from ostiary.config.secrets import has_password, redacted, same_database

CANARY = "canary-2f81"
ENVIRON = {"HOME": "/nowhere"}


def configured(tmp_path: Path, dsn: str, environ: dict[str, str] | None = None) -> Config:
    path = tmp_path / "ostiary.toml"
    path.write_text(f"[datasources.shop]\ndsn = {json.dumps(dsn)}\n")
    return load(path, ENVIRON | (environ or {}), {})


def secret_file(tmp_path: Path, text: str = f"postgresql://u:{CANARY}@h/d\n", mode: int = 0o600) -> Path:
    path = tmp_path / "dsn"
    path.write_text(text)
    path.chmod(mode)
    return path


def message(tmp_path: Path, dsn: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, dsn, environ)
    assert CANARY not in repr(caught.value) + str(caught.value) + repr(caught.value.__context__) + str(caught.value.__context__)
    return str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{CANARY}@h/d",
        f"postgres://u:{CANARY}@h1:5432,h2/d",
        f"postgresql://u@h/d?password={CANARY}",
        f"postgresql://u@h/d?sslmode=require&sslpassword={CANARY}",
        f"postgresql://u:{CANARY}/@h/d",
        f"postgresql://[u:{CANARY}@h/d",
    ],
)
def test_a_password_in_the_file_is_refused_with_the_mend(tmp_path: Path, dsn: str) -> None:
    assert 'write `"env:NAME"` or `"file:/path"` instead' in message(tmp_path, dsn)


@pytest.mark.parametrize("dsn", ["postgresql://u@h/d", "postgresql:///d?host=/run/pg&passfile=/p", "postgresql://h1,h2:5433/d"])
def test_a_url_without_a_password_may_stand_in_the_file(tmp_path: Path, dsn: str) -> None:
    assert configured(tmp_path, dsn).datasources["shop"].dsn.get_secret_value() == dsn


def test_a_password_on_the_command_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"command line: `control\.dsn`: a password stands in it"):
        load(None, ENVIRON, {"control.dsn": f"postgresql://u:{CANARY}@h/d"})


def test_references_are_revealed_to_the_program_alone(tmp_path: Path) -> None:
    path = secret_file(tmp_path)
    for dsn in (f"file:{path}", "file:dsn", "env:SHOP"):
        config = configured(tmp_path, dsn, {"SHOP": f"postgresql://u:{CANARY}@h/d"})
        assert config.datasources["shop"].dsn.get_secret_value() == f"postgresql://u:{CANARY}@h/d"
        shown = [row for row in listing(config) if row.name == "datasources.shop.dsn"]
        assert [(row.value, row.origin) for row in shown] == [
            ("postgresql://u:***@h/d", f"{tmp_path / 'ostiary.toml'}:2, from `{dsn}`")
        ]
        printed = repr(config) + str(config) + config.model_dump_json() + repr(config.origins) + repr(listing(config))
        assert CANARY not in printed


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_secret_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    expected = f"`{path}` can be read by others (mode {mode:04o}); run `chmod 600 {path}`"
    assert message(tmp_path, f"file:{path}").endswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"), [("", "is empty"), (f"{CANARY}\n", "must be a URL"), (f"mysql://u:{CANARY}@h/d", "must be a URL")]
)
def test_a_secret_that_is_no_url_is_refused_without_being_quoted(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message(tmp_path, f"file:{secret_file(tmp_path, text)}")


def test_a_secret_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in message(tmp_path, "file:/nowhere/dsn")
    assert "is no regular file" in message(tmp_path, f"file:{tmp_path}")
    binary = secret_file(tmp_path)
    binary.write_bytes(b"postgresql://\xff" + CANARY.encode())
    assert "is not UTF-8 text" in message(tmp_path, f"file:{binary}")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is no regular file" in message(tmp_path, f"file:{tmp_path}/pipe")


def test_an_empty_variable_is_no_secret(tmp_path: Path) -> None:
    assert "environment variable `SHOP` is not set" in message(tmp_path, "env:SHOP", {"SHOP": ""})


def test_other_mistakes_beside_a_secret_do_not_show_it(tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text("[datasources.shop]\ndsn = 'env:SHOP'\npool_max = 'x'\n[control]\ndsn = 'env:SHOP'\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "ostiary.toml", ENVIRON | {"SHOP": f"postgresql://u:{CANARY}@h/d"}, {})
    assert CANARY not in str(caught.value) + repr(caught.value.__context__) + str(caught.value.__context__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"no way to postgresql://u:{CANARY}@h:5432/d now", "no way to postgresql://u:***@h:5432/d now"),
        (f"postgres://u:{CANARY}@{CANARY}@h/d", "postgres://u:***@h/d"),
        (f"postgresql://u:{CANARY}/x?y@h1:1,h2:2/d?sslmode=require", "postgresql://u:***@h1:1,h2:2/d"),
        (f"postgresql://u@h/d?password={CANARY}", "postgresql://u@h/d"),
        (f"postgresql://u:{CANARY} more", "postgresql://*** more"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        (f"host=h password={CANARY} user=u", "host=h password=*** user=u"),
        (f"password = '{CANARY} with blanks'", "password = ***"),
        (f"POSTGRESQL://u:{CANARY}@h", "POSTGRESQL://u:***@h"),
    ],
)
def test_passwords_are_taken_out_of_any_text(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_what_cannot_be_taken_apart_counts_as_holding_a_password() -> None:
    assert has_password("postgresql://[h/d")
    assert not has_password("postgresql://u@[::1]:5432/d")


def test_the_same_database_is_known_by_host_and_name() -> None:
    assert same_database("postgresql://a@H/x", "postgresql://b@h:5432/x?sslmode=require")
    assert same_database("postgresql:///x?host=/run/pg", "postgresql:///x?host=/run/pg&user=u")
    assert not same_database("postgresql://h/x", "postgresql://h:5433/x")
    assert not same_database("postgresql://h/x", "postgresql://h/y")


def test_keys_of_state_come_from_a_private_place_and_are_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "ostiary.toml"
    first, second = (f"{letter}{CANARY}{letter * 30}" for letter in "xy")

    def keyed(written: str, keys: str) -> Config:
        path.write_text(f"[http]\nstate_keys = {json.dumps(written)}\n")
        return load(path, ENVIRON | {"KEYS": keys}, {})

    config = keyed("env:KEYS", f"{first}\n{second}\n")
    assert config.http.keys == (first, second)
    assert [row.value for row in listing(config) if row.name == "http.state_keys"] == ["***"]
    assert CANARY not in repr(config) + config.model_dump_json() + repr(listing(config))
    for written, keys, said in (
        (first, "", "a secret stands in it"),
        ("env:KEYS", "short", "at least 32 characters"),
        ("env:KEYS", f"{first} {first}", "different keys"),
        ("env:KEYS", "", "is not set"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            keyed(written, keys)
        assert CANARY not in str(caught.value)


NEEDED = {
    "embedders.own": "kind = 'openai'\nurl = 'http://localhost/v1'\nmodel = 'm'\ndimensions = 3\n",
    "vectors.own": "kind = 'chroma'\nurl = 'http://localhost'\n",
}
"""What else the section must say."""


@pytest.mark.parametrize(
    ("section", "name"),
    [("policy", "mask_key"), ("changes", "key"), ("embedders.own", "key"), ("vectors.own", "key"), ("http", "state_keys")],
)
def test_a_key_comes_from_a_private_place_and_is_never_shown(tmp_path: Path, section: str, name: str) -> None:
    path = tmp_path / "ostiary.toml"
    key = f"{CANARY}{'x' * 32}"
    kind = NEEDED.get(section, "")
    path.write_text(f"[{section}]\n{kind}{name} = 'env:KEY'\n")
    config = load(path, ENVIRON | {"KEY": key}, {})
    assert [row.value for row in listing(config) if row.name == f"{section}.{name}"] == ["***"]
    assert CANARY not in repr(config) + config.model_dump_json() + repr(listing(config))
    path.write_text(f"[{section}]\n{kind}{name} = '{key}'\n")
    with pytest.raises(ConfigError, match="a secret stands in it") as caught:
        load(path, ENVIRON, {})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("key", [f"{CANARY}\r\nX-Other: 1", f"{CANARY} b", f"{CANARY}é"])
def test_a_key_that_would_not_stand_in_a_header_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ostiary.toml"
    path.write_text("[embedders.own]\nkind = 'openai'\nkey = 'env:KEY'\n")
    with pytest.raises(ConfigError, match=r"`embedders\.own\.key` must be printable ASCII without blanks") as caught:
        load(path, ENVIRON | {"KEY": key}, {})
    assert CANARY not in str(caught.value)
