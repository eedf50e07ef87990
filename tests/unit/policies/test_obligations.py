import pytest

from ostiary_policies.model import Obligations
from ostiary_policies.obligations import from_annotations, strictest


@pytest.mark.parametrize(("written", "seconds"), [("30s", 30.0), ("5", 5.0), ("2.5", 2.5), ("0.25s", 0.25), ("86400", 86_400.0)])
def test_a_timeout_is_a_number_of_seconds(written: str, seconds: float) -> None:
    assert from_annotations({"timeout": written}) == Obligations(timeout_s=seconds)


@pytest.mark.parametrize("written", ["", "0", "0s", "-1", "30 s", "30ms", "1m", "1e3", "nan", "inf", "86401", "٣", "30s\n"])
def test_a_timeout_in_any_other_form_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="seconds"):
        from_annotations({"timeout": written})


@pytest.mark.parametrize("name", ["limit_rows", "limit_bytes"])
@pytest.mark.parametrize("written", ["", "0", "-5", "1.5", "1,000", "1_000", "1000000000", "٣", "many", " 5"])
def test_a_limit_that_is_no_positive_whole_number_is_refused(name: str, written: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        from_annotations({name: written})


@pytest.mark.parametrize(
    ("written", "cost"),
    [("1e6", 1e6), ("250000", 250_000.0), ("1.5e3", 1500.0), ("0.5", 0.5), ("999999999999999", 999_999_999_999_999.0)],
)
def test_a_cost_is_a_positive_number(written: str, cost: float) -> None:
    assert from_annotations({"max_cost": written}) == Obligations(max_cost=cost)


@pytest.mark.parametrize(
    "written", ["", "0", "0e9", "-1", "1e", "1e999", "1E6", "inf", "nan", "1,000", "1_000", " 5", "5\n", "0x5", "1e-3", "٣"]
)
def test_a_cost_in_any_other_form_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="positive number such as"):
        from_annotations({"max_cost": written})


def test_rows_scanned_are_a_positive_whole_number() -> None:
    assert from_annotations({"max_rows_scanned": "5000000"}) == Obligations(max_rows_scanned=5_000_000)
    for written in ("", "0", "-5", "1.5", "1e6", "1,000", "1000000000000000", "٣", "all", " 5"):
        with pytest.raises(ValueError, match="whole number from 1 to 999999999999999"):
            from_annotations({"max_rows_scanned": written})


def test_the_strictest_of_each_term_holds_and_a_term_nobody_states_stays_open() -> None:
    terms = [Obligations(limit_rows=10, timeout_s=9.0), Obligations(limit_rows=20, timeout_s=3.0), Obligations()]
    assert strictest(terms) == Obligations(limit_rows=10, timeout_s=3.0)
    assert strictest([]) == Obligations()
    assert strictest([Obligations(), Obligations(replica="required"), Obligations()]) == Obligations(replica="required")
    costs = [Obligations(max_cost=9.0), Obligations(max_cost=1e6, max_rows_scanned=7), Obligations(max_rows_scanned=70)]
    assert strictest(costs) == Obligations(max_cost=9.0, max_rows_scanned=7)


def test_a_replica_is_required_or_not_named() -> None:
    assert from_annotations({"replica": "required"}) == Obligations(replica="required")
    for other in ("", "preferred", "Required", "required ", "true"):
        with pytest.raises(ValueError, match="`@replica` is `required`"):
            from_annotations({"replica": other})
