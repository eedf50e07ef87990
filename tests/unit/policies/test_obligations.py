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


def test_the_strictest_of_each_term_holds_and_a_term_nobody_states_stays_open() -> None:
    terms = [Obligations(limit_rows=10, timeout_s=9.0), Obligations(limit_rows=20, timeout_s=3.0), Obligations()]
    assert strictest(terms) == Obligations(limit_rows=10, timeout_s=3.0)
    assert strictest([]) == Obligations()
