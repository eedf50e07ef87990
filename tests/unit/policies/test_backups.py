"""Backups as policies name them."""

import pytest

from ostiary_policies.entities import names_in
from ostiary_policies.model import BACKUP_KINDS
from ostiary_tools.backup.manifest import Kind


def test_policies_and_backups_have_the_same_kinds() -> None:
    assert set(BACKUP_KINDS) == set(Kind)


@pytest.mark.parametrize("written", ["shop", "shop.physical", "shop.full.x", "shop.", ".full", "shop.FULL"])
def test_an_id_that_no_backups_can_have_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"backups of the kinds|`datasource\.kind`"):
        names_in("Backup", written)


def test_a_datasource_with_a_dot_in_its_name_is_quoted() -> None:
    assert names_in("Backup", '"odd.name".logical') == ("odd.name", "logical")
