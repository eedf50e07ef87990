import os
from pathlib import Path

import pytest

from ostiary.policy_files import BUNDLES, load, read
from ostiary_policies.errors import PolicyError, Problem

OWN = '@id("own") permit (principal in Role::"own", action, resource);\n'
NONE: frozenset[str] = frozenset()


def test_all_shipped_bundles_load_together() -> None:
    engine = read(None, BUNDLES, NONE)
    assert engine.roles == set(BUNDLES)
    assert {policy.file for policy in engine.policies.policies.values()} == {f"bundles/{bundle}.cedar" for bundle in BUNDLES}


def test_the_owners_files_are_in_force_beside_the_bundles_that_were_named(tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_text(OWN)
    (tmp_path / "notes.txt").write_text("no policy")
    engine = read(tmp_path, ("observer",), NONE)
    assert engine.roles == {"observer", "own"}


def test_the_hash_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.cedar").write_text(OWN)
    assert read(tmp_path / "one", (), NONE).policy_hash == read(tmp_path / "two", (), NONE).policy_hash


def test_every_file_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").mkdir()
    (tmp_path / "b.cedar").write_bytes(b"// caf\xe9\n")
    (tmp_path / "c.cedar").write_text(OWN)
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, ("root",), NONE)
    assert caught.value.problems == (
        Problem("root", 0, "", "unknown bundle `root`", f"shipped are {', '.join(BUNDLES)}"),
        Problem("a.cedar", 0, "", "it cannot be read: is a directory"),
        Problem("b.cedar", 0, "", "it is not UTF-8 at byte 6"),
    )


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.cedar")
    (tmp_path / "b.cedar").symlink_to("/dev/zero")
    with (tmp_path / "c.cedar").open("wb") as large:
        large.truncate(4_000_001)
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, (), NONE)
    assert [(problem.file, problem.message) for problem in caught.value.problems] == [
        ("a.cedar", "it is no file"),
        ("b.cedar", "it is no file"),
        ("c.cedar", "it is larger than 4,000,000 bytes"),
    ]


def test_a_folder_that_is_missing_or_empty_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: no such file or directory"):
        read(tmp_path / "missing", BUNDLES, NONE)
    with pytest.raises(PolicyError, match=r"there is no `\*.cedar` file in it"):
        read(tmp_path, BUNDLES, NONE)


@pytest.mark.asyncio
async def test_a_set_is_judged_whole_and_put_in_force_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_text(OWN)
    policies = await load(tmp_path, bundles=("observer",))
    old = policies.engine
    assert policies.in_force(policies.look())
    (tmp_path / "own.cedar").write_text(OWN + "// changed\n")
    found = policies.look()
    assert not policies.in_force(found)
    assert policies.engine is old
    policies.put_in_force(policies.judged(found))
    assert policies.engine.policy_hash != old.policy_hash
    assert policies.engine.policy_hash == read(tmp_path, ("observer",), NONE).policy_hash
    assert policies.in_force(policies.look())


@pytest.mark.asyncio
async def test_a_set_that_is_not_valid_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_text(OWN)
    policies = await load(tmp_path, bundles=())
    (tmp_path / "own.cedar").write_text(OWN + "permit (principal, action, resource);")
    with pytest.raises(PolicyError, match=r"own\.cedar:2"):
        policies.judged(policies.look())
    (tmp_path / "own.cedar").unlink()
    with pytest.raises(PolicyError, match=r"no `\*\.cedar` file"):
        policies.judged(policies.look())


def test_a_name_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.cedar")).write_text(OWN)
    with pytest.raises(PolicyError, match=r"a\\udcff\.cedar: its name is not UTF-8"):
        read(tmp_path, (), NONE)
