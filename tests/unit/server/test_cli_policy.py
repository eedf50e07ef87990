"""`ostiary policy …` through the command line itself: what it prints and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ostiary import cli

POLICY = """
@id("reads") permit (principal in Role::"r", action, resource);
@id("no-billing") forbid (principal, action == Action::"read", resource) when { resource.tags.contains("billing") };
"""
TABLE = """
[[case]]
title = "billing stays closed"
roles = ["r"]
action = "read"
resource = { table = "shop.public.invoices", tags = ["billing"] }
expected = "deny"
rules = ["no-billing"]
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ended(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["policy", *arguments])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return ended


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.cedar").write_text(POLICY)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "own.toml").write_text(TABLE)
    return tmp_path


def test_check_lists_the_policies_of_a_valid_folder(run: Run, folder: Path) -> None:
    code, out, err = run("check", str(folder), "--tag", "billing")
    assert (code, err) == (0, "")
    first, second, third = out.splitlines()
    assert (first, second) == ("own.cedar: reads, no-billing", "2 policies are valid, for the roles: r")
    assert third.startswith("hash sha256:")


def test_check_takes_a_shipped_bundle_beside_the_folder(run: Run, folder: Path) -> None:
    code, out, _ = run("check", str(folder), "--tag", "billing", "--bundle", "observer", "--json")
    assert code == 0
    told = json.loads(out)
    assert told.pop("policy_hash").startswith("sha256:")
    assert told == {
        "valid": True,
        "roles": ["observer", "r"],
        "policies": ["observer-calls", "observer-sees", "reads", "no-billing"],
        "row_rules": {"governed": [], "live": False, "closed": []},
    }


def test_check_says_which_tables_row_rules_govern_and_that_nobody_looked_at_them(run: Run, tmp_path: Path) -> None:
    rule = '@id("rows") permit (principal in Role::"r", action == Action::"read_row", resource is shop::public::orders);'
    (tmp_path / "own.cedar").write_text(rule)
    code, out, _ = run("check", str(tmp_path))
    assert code == 0
    assert out.splitlines()[:3] == [
        "own.cedar: rows",
        "1 policies are valid, for the roles: r",
        "row rules govern shop::public::orders: --live holds them against the tables",
    ]


def test_check_ends_with_2_and_names_file_line_and_policy(run: Run, folder: Path) -> None:
    code, out, err = run("check", str(folder))
    assert (code, out) == (2, "")
    assert err.startswith("error: own.cedar:3: policy `no-billing`: unknown tag `billing`; ")


def test_check_tells_machines_every_problem(run: Run, folder: Path) -> None:
    code, out, _ = run("check", str(folder), "--json")
    assert code == 2
    told = json.loads(out)
    assert told["valid"] is False
    assert [(p["file"], p["line"], p["policy"], p["message"]) for p in told["problems"]] == [
        ("own.cedar", 3, "no-billing", "unknown tag `billing`")
    ]


def test_test_ends_with_0_when_every_case_passes(run: Run, folder: Path) -> None:
    assert run("test", str(folder), "--tag", "billing") == (0, "1 cases pass, 0 fail, in 1 tables\n", "")


def test_test_ends_with_1_and_tells_each_failing_case(run: Run, folder: Path) -> None:
    table = folder / "tests" / "own.toml"
    table.write_text(TABLE.replace('"deny"', '"permit"'))
    code, out, _ = run("test", str(folder), "--tag", "billing")
    assert code == 1
    assert out == f"{table}: billing stays closed\n  expected permit, got deny\n0 cases pass, 1 fail, in 1 tables\n"
    code, out, _ = run("test", str(folder), "--tag", "billing", "--json")
    assert code == 1
    assert json.loads(out)["tables"] == {
        str(table): [{"title": "billing stays closed", "passed": False, "differences": ["expected permit, got deny"]}]
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test", "{folder}/tests/none.toml"), "error: there is no decision table\n"),
        (("check", "{folder}/none"), "error: {folder}/none: the policy directory cannot be read: no such file or directory\n"),
        (("check", "--tag", "billing"), "error: `--tag` needs PATH\n"),
        (("check", "{folder}", "--tag", "billing", "--bundle", "root"), "error: root: unknown bundle `root`"),
        (("explain", "--arguments", "[1]"), "error: `--arguments` is no JSON object\n"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(run: Run, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*(argument.format(folder=folder) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith(said.format(folder=folder))


def test_a_table_that_cannot_be_read_ends_with_2(run: Run, folder: Path) -> None:
    table = folder / "tests" / "own.toml"
    table.write_text(TABLE + 'rule = "x"')
    code, _, err = run("test", str(folder), "--tag", "billing")
    assert code == 2
    assert err.startswith(f"error: {table}: case 1: unknown key `rule`")


def test_tables_without_policies_are_about_the_shipped_bundles(run: Run, tmp_path: Path) -> None:
    table = TABLE.replace('"r"', '"analyst"').replace('"billing"', '"secret"').replace("no-billing", "analyst-no-secret-tables")
    (tmp_path / "mine.toml").write_text(table)
    assert run("test", str(tmp_path))[:2] == (0, "1 cases pass, 0 fail, in 1 tables\n")
    assert run("test", str(tmp_path / "mine.toml"))[:2] == (0, "1 cases pass, 0 fail, in 1 tables\n")


REGIONAL = """
@id("regional") permit (principal in Role::"r", action, resource) when { principal has region && principal.region == "eu" };
"""
REGIONAL_TABLE = """
[[case]]
title = "europe may"
roles = ["r"]
attributes = { region = "eu" }
action = "call"
resource = { tool = "query" }
expected = "permit"
"""


def test_policies_about_attributes_are_checked_against_those_that_are_declared(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_text(REGIONAL)
    (tmp_path / "own.toml").write_text(REGIONAL_TABLE)
    declared = ("--attribute", "region=text")
    assert run("check", str(tmp_path), *declared)[0] == 0
    assert run("test", str(tmp_path), *declared)[:2] == (0, "1 cases pass, 0 fail, in 1 tables\n")
    for wrong, said in (
        ((), "an agent never has an attribute `region`"),
        (("--attribute", "region=integer"), "the types Long and String are not compatible"),
        (("--attribute", "region=date"), "that declares no attribute"),
        (("--attribute", "tags=text"), "that declares no attribute"),
    ):
        code, _, err = run("check", str(tmp_path), *wrong)
        assert code == 2
        assert said in err


def test_the_configuration_declares_attributes_for_policies_in_force(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.cedar").write_text(REGIONAL)
    config = tmp_path / "ostiary.toml"
    config.write_text(f"[policy]\ndirectory = '{tmp_path}'\n[attributes.region]\ntype = 'text'\nclaim = 'region'\n")
    assert run("check", "--config", str(config))[0] == 0
    config.write_text(f"[policy]\ndirectory = '{tmp_path}'\n")
    assert run("check", "--config", str(config))[0] == 2
    code, _, err = run("explain", "--config", str(config), "--attribute", "region=eu")
    assert (code, err.splitlines()[0]) == (2, "error: `region` is no attribute of the configuration")


def test_diff_says_what_changed_and_which_cases_come_out_differently(run: Run, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.cedar"
    other.write_text(POLICY.replace('"no-billing"', '"closed"').replace("billing", "secret"))
    code, out, _ = run("diff", str(folder / "own.cedar"), str(other), "--config", str(configuration(tmp_path)))
    assert code == 1
    assert out.splitlines() == [
        "policies: 1 added, 1 removed, 0 changed",
        "  removed `no-billing` (forbid, own.cedar:3)",
        "  added `closed` (forbid, other.cedar:3)",
        "decisions: 1 of 1 cases come out differently",
        "  billing stays closed: denied by `no-billing`, now permitted by `reads`",
    ]


def test_diff_ends_with_0_when_nothing_differs_and_with_2_when_a_side_is_missing(run: Run, folder: Path, tmp_path: Path) -> None:
    config = ("--config", str(configuration(tmp_path)))
    code, out, _ = run("diff", str(folder), str(folder), *config, "--json")
    assert (code, json.loads(out)["policies"], json.loads(out)["cases"], json.loads(out)["decisions"]) == (0, [], 1, [])
    code, _, err = run("diff", str(folder), str(tmp_path / "missing"), *config)
    assert code == 2
    assert "cannot be read: no such file or directory" in err


def configuration(folder: Path) -> Path:
    path = folder / "side.toml"
    path.write_text('[policy]\nbundles = ["observer"]\ntags = ["billing", "secret"]\n')
    path.chmod(0o600)
    return path
