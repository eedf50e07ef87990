"""The writer's chain and the verifier's, which share no code, agree on every record and on nothing else."""

import ast
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ostiary.audit import fsck, notes
from ostiary.audit.chain import Item, Place, genesis, link, microseconds

INSTALLATION = UUID("6f1c3f0e-9f0e-4a55-8a43-0c1d2e3f4a5b")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
items = st.builds(
    lambda kind, call, body: Item(kind, call, body, body.encode()), st.sampled_from([b"i", b"o", b"d", b"e"]), st.uuids(), texts
)
batches = st.lists(st.tuples(st.lists(items, min_size=1, max_size=8), st.integers(0, 1 << 50)), min_size=1, max_size=4)


def chained(given_batches: list[tuple[list[Item], int]], stream: int) -> list[fsck.Record]:
    """What the writer would store."""
    place = Place(stream, 0, genesis(INSTALLATION, stream), 0)
    rows = []
    for batch, now_us in given_batches:
        made, place = link(place, batch, now_us)
        rows += made
    return [(r.stream, r.seq, microseconds(r.ts), r.kind, r.call_id.bytes, r.body.encode(), r.hash) for r in rows]


def findings(records: list[fsck.Record], stream: int) -> list[fsck.Finding]:
    """What the verifier says of them."""
    check = fsck.StreamCheck(str(INSTALLATION), stream)
    check.feed(records)
    return check.finish()


@given(batches, st.integers(0, 1023))
def test_what_the_writer_links_the_verifier_accepts(made: list[tuple[list[Item], int]], stream: int) -> None:
    records = chained(made, stream)
    assert findings(records, stream) == []
    assert findings(records, stream + 1) != []  # a stream's records are no other stream's


@given(batches, st.data())
def test_a_change_of_any_field_is_found_at_its_record(made: list[tuple[list[Item], int]], data: st.DataObject) -> None:
    records = chained(made, 0)
    at = data.draw(st.integers(0, len(records) - 1))
    stream, seq, ts, kind, call, body, hash_ = records[at]
    changed: list[fsck.Record] = [
        (stream + 1, seq, ts, kind, call, body, hash_),
        (stream, seq, ts + 1, kind, call, body, hash_),
        (stream, seq, ts, b"x", call, body, hash_),
        (stream, seq, ts, kind, call[:-1] + bytes([call[-1] ^ 1]), body, hash_),
        (stream, seq, ts, kind, call, body + b" ", hash_),
        (stream, seq, ts, kind, call, body, hash_[:-1] + bytes([hash_[-1] ^ 1])),
    ]
    for record in changed:
        found = findings([*records[:at], record, *records[at + 1 :]], 0)
        assert found[0].seq == seq


@given(batches)
def test_a_clock_that_goes_back_does_not_move_records_back(made: list[tuple[list[Item], int]]) -> None:
    moments = [record[2] for record in chained(made, 0)]
    assert moments == sorted(moments)


def test_the_verifier_imports_nothing_of_the_writer() -> None:
    trees = [ast.parse(Path(str(module.__file__)).read_text("utf-8")) for module in (fsck, notes)]
    modules = {node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name and name.startswith("ostiary")} == {notes.__name__}
