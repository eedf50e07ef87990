"""The trees of the writer and the proofs of the verifier against RFC 6962's own recursive words."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.audit.fsck import consistent, included
from ostiary.audit.merkle import EMPTY_ROOT, Peaks, Tree, leaf_hash

# Leaves and roots of the test vectors that Certificate Transparency implementations share.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(min_value=1, max_value=70)


def leaves(count: int) -> list[bytes]:
    return [sha256(b"record %d" % n).digest() for n in range(count)]


def rfc_root(data: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it is written there."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = 1
    while k * 2 < len(data):
        k *= 2
    return sha256(b"\x01" + rfc_root(data[:k]) + rfc_root(data[k:])).digest()


def grown(data: list[bytes]) -> Peaks:
    peaks = Peaks()
    for item in data:
        peaks.add(leaf_hash(item))
    return peaks


def test_the_known_roots_come_out() -> None:
    data = [bytes.fromhex(leaf) for leaf in LEAVES]
    assert [grown(data[: n + 1]).root().hex() for n in range(8)] == ROOTS
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_a_growing_tree_has_the_root_the_rfc_defines(data: list[bytes]):
    peaks = grown(data)
    assert peaks.root() == rfc_root(data)
    assert Peaks.unpacked(peaks.size, peaks.packed()).root() == peaks.root()


@given(sizes, st.data())
def test_inclusion_is_proved_for_the_record_and_for_no_other(size: int, data: st.DataObject):
    index = data.draw(st.integers(0, size - 1))
    records = leaves(size)
    tree = Tree(Peaks(), [leaf_hash(r) for r in records])
    path = tree.inclusion(index, size)
    assert included(records[index], index, size, path, rfc_root(records))
    assert not included(b"another", index, size, path, rfc_root(records))
    assert not included(records[index], index, size, path, rfc_root(records[:-1]))
    if size > 1:
        assert not included(records[index], (index + 1) % size, size, path, rfc_root(records))
        assert not included(records[index], index, size, path[:-1], rfc_root(records))


@given(sizes, st.data())
def test_growth_is_proved_from_every_size_and_not_from_another_past(size: int, data: st.DataObject):
    old = data.draw(st.integers(1, size))
    records = leaves(size)
    path = Tree(Peaks(), [leaf_hash(r) for r in records]).consistency(old, size)
    assert consistent(old, size, path, rfc_root(records[:old]), rfc_root(records))
    assert not consistent(old, size, path, rfc_root([b"x", *records[1:old]]), rfc_root(records))
    assert not consistent(old, size, path, rfc_root(records[:old]), rfc_root([*records, b"x"]))


@given(sizes, st.data())
def test_proofs_about_kept_records_need_no_sealed_ones(size: int, data: st.DataObject):
    sealed = data.draw(st.integers(0, size - 1))
    index = data.draw(st.integers(sealed, size - 1))
    records = leaves(size)
    tree = Tree(grown(records[:sealed]), [leaf_hash(r) for r in records[sealed:]])
    assert tree.root(size) == rfc_root(records)
    assert included(records[index], index, size, tree.inclusion(index, size), rfc_root(records))
    old = data.draw(st.integers(max(1, sealed), size))
    assert consistent(old, size, tree.consistency(old, size), rfc_root(records[:old]), rfc_root(records))


def test_peaks_that_do_not_fit_their_size_are_refused() -> None:
    with pytest.raises(ValueError, match="1 subtrees cannot hold 3 leaves"):
        Peaks.unpacked(3, bytes(32))
