"""Moments as agents write them: what is none is refused, whatever it is."""

import pytest

from ostiary_tools.backup.moment import Lsn, Transaction, parsed, written
from ostiary_tools.errors import Refused


@pytest.mark.parametrize(
    "text",
    [
        *("", "latest:", "now", "name:", "name:" + "x" * 64, "name:two\nlines", "name:\ud800", "name:\u202e"),
        *("lsn:", "lsn:-1/0", "lsn:1_0/0", "lsn: 1/0", "lsn:1/0/0", "lsn:100000000/0", "lsn:+1/0", "lsn:٣/0"),
        *("xid:0", "xid:-1", "xid:" + "9" * 5000, "xid:18446744073709551616", "xid:1_0", "xid:²"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-31", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z"),
    ],
)
def test_what_is_no_moment_is_refused(text: str):
    with pytest.raises(Refused) as refused:
        parsed(text)
    assert refused.value.rule == "moment"


def test_a_place_is_read_as_postgresql_writes_it():
    assert parsed("lsn:1F/3000060") == Lsn((0x1F << 32) + 0x3000060)
    assert written(parsed("lsn:ffffffff/ffffffff")) == "lsn:FFFFFFFF/FFFFFFFF"
    assert parsed("xid:7342") == Transaction(7342)
