import pytest

from ostiary.audit.recorder import RecorderState
from ostiary.readiness import Readiness, readiness
from ostiary_tools.control.journal import Guards
from ostiary_tools.datasources.port import PoolState

WELL = PoolState(size=1, idle=1, waiting=0, healthy=True)
AWAY = PoolState(size=0, idle=0, waiting=0, healthy=False, problem="nothing listens there")


def log(*problems: str, recording: bool = True, guards: Guards = Guards(shape=True, event_triggers=True)) -> RecorderState:  # noqa: B008 frozen
    return RecorderState(0, 7, 0, 0, "", guards, problems, recording)


@pytest.mark.parametrize(
    ("audit", "pools", "found"),
    [
        (log(), {"shop": WELL}, Readiness(ready=True, problems=())),
        (
            log("the server is gone", recording=False),
            {"shop": WELL},
            Readiness(
                ready=False, problems=("every call is refused, because the audit log cannot be written: the server is gone",)
            ),
        ),
        (log(), {"shop": AWAY}, Readiness(ready=False, problems=("datasource `shop`: nothing listens there",))),
        (log(), {"shop": AWAY, "hr": WELL}, Readiness(ready=True, problems=("datasource `shop`: nothing listens there",))),
        (log(), {}, Readiness(ready=False, problems=())),
        (log("checkpoints: late"), {"shop": WELL}, Readiness(ready=True, problems=("the audit log: checkpoints: late",))),
        (
            log(guards=Guards(shape=True, event_triggers=False)),
            {"shop": WELL},
            Readiness(ready=True, problems=("the audit log: no event triggers guard its schema; only a superuser can make them",)),
        ),
    ],
)
def test_ready_is_who_records_and_serves_a_datasource(audit: RecorderState, pools: dict[str, PoolState], found: Readiness):
    assert readiness(audit, pools.items()) == found


def test_policy_files_that_are_not_in_force_stop_nothing_and_are_told() -> None:
    found = readiness(log(), {"shop": WELL}.items(), "own.cedar:3: it cannot be parsed")
    words = "the policy files are not what is in force: own.cedar:3: it cannot be parsed"
    assert found == Readiness(ready=True, problems=(words,))


def test_tables_that_are_closed_because_their_rules_do_not_fit_are_told_and_stop_nothing():
    found = readiness(log(), {"shop": WELL}.items(), misfits=("own.cedar:3: policy `r`: it does not fit", "another"))
    assert found.ready
    assert found.problems == (
        "tables are closed, because row rules do not fit them: own.cedar:3: policy `r`: it does not fit; and 1 more",
    )
