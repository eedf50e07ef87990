"""A short, fixed run of the fuzzer; the long ones are started by hand: `python tests/fuzz/run.py --minutes 60`."""

from pathlib import Path

from fuzz.run import fuzz


def test_mutants_of_every_case_break_no_property_of_the_judge_and_leave_no_trace_in_a_server(tmp_path: Path):
    found = fuzz(tmp_path, 20261121, lambda fuzzer: fuzzer.blind(250, seconds=600))
    assert found.broken == {}
    assert found.seen["texts"] == 250
    assert found.seen["judged for agent"] > 50
    assert found.seen["answered"] > 25
