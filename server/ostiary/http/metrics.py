"""`/metrics`: what the meter, the audit log and the pools say now, in Prometheus' text format.

Everything is read when it is asked for; the registry is this process's own. No label
holds a text of a caller's: tools are the registry's, datasources the configuration's.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ostiary import __version__
from ostiary.audit.recorder import Recorder, RecorderState
from ostiary.log_standing import LogStanding
from ostiary.meter import BOUNDS_S, Histogram, Meter
from ostiary.policy_files import Policies
from ostiary_tools.backup.remembered import Vanished
from ostiary_tools.control.queue import Counted
from ostiary_tools.control.schedules import DRILL, Scheduled
from ostiary_tools.datasources.port import Datasource, PoolState

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Family(NamedTuple):
    """A metric's name, kind, labels and meaning."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_POOL = ("datasource",)
CALLS = Family("ostiary_calls_total", "counter", ("tool", "outcome"), "Calls that ended, by tool and how.")
IN_FLIGHT = Family("ostiary_calls_in_flight", "gauge", (), "Calls on their way.")
STAGES = Family("ostiary_call_stage_seconds", "histogram", ("stage",), "Time of calls, by stage.")
BUDGET_REFUSALS = Family(
    "ostiary_budget_refusals_total", "counter", ("measure", "window"), "Calls refused, by the budget that had too little left."
)
BUDGET_USED = Family("ostiary_budget_used_total", "counter", ("measure",), "What calls used that a budget of this measure counts.")
SIZE = Family("ostiary_pool_connections", "gauge", _POOL, "Connections open.")
IDLE = Family("ostiary_pool_idle_connections", "gauge", _POOL, "Connections that nobody uses.")
WAITING = Family("ostiary_pool_waiting", "gauge", _POOL, "Calls that wait for a connection.")
HEALTHY = Family("ostiary_datasource_healthy", "gauge", _POOL, "1 while the datasource is served, else 0.")
RECORDING = Family("ostiary_audit_recording", "gauge", (), "1 while records are written; at 0 every call is refused.")
RECORDS = Family("ostiary_audit_records_total", "counter", (), "Records of this process's stream that are durable.")
QUEUED = Family("ostiary_audit_queue", "gauge", (), "Records that wait to be written.")
LAG = Family("ostiary_audit_unanchored", "gauge", (), "Durable records that no signed checkpoint covers yet.")
PROBLEMS = Family("ostiary_audit_problems", "gauge", (), "What is wrong with the audit log; `/readyz` says it in words.")
STALE = Family(
    "ostiary_policy_files_refused", "gauge", (), "1 while what is in the policy files is not in force; `/readyz` says why."
)
JOBS = Family("ostiary_jobs", "gauge", ("tool", "state"), "Jobs of all processes of the last 24 hours, by how they stand.")
TAKEOVERS = Family(
    "ostiary_job_takeovers", "gauge", ("tool",), "How often one of them was taken from a worker that was heard of no more."
)
BACKUP_AGE = Family(
    "ostiary_backup_age_seconds", "gauge", ("datasource", "kind"), "Age of the newest backup of a kind that a plan asks for."
)
DRILL_AGE = Family("ostiary_drill_age_seconds", "gauge", ("datasource",), "Age of the newest drill, where a plan asks for drills.")
PLAN_DONE = Family(
    "ostiary_plan_done", "gauge", ("datasource", "what"), "1 where what a plan asked for last was done, 0 where it failed."
)
PLAN_LATE = Family(
    "ostiary_plan_late_seconds", "gauge", ("datasource", "what"), "How long something has been due that nobody has asked for."
)
VANISHED = Family(
    "ostiary_kept_vanished",
    "gauge",
    ("of",),
    "What was kept and was not there at the last look; see `ostiary backup missing`.",
)
_PLAN = ("datasource",)
LOG_LAG = Family(
    "ostiary_log_lag_seconds", "gauge", _PLAN, "Commits of so many seconds are in no kept log; none while nothing is kept."
)
LOG_LAG_BYTES = Family("ostiary_log_lag_bytes", "gauge", _PLAN, "Bytes of the log that were written and are not kept.")
LOG_SPOOL = Family("ostiary_log_spool_bytes", "gauge", _PLAN, "Bytes of the log that wait on this machine.")
LOG_HELD = Family("ostiary_log_held_bytes", "gauge", _PLAN, "Bytes of the log that the server holds back for us.")
LOG_RECEIVED = Family("ostiary_log_received", "gauge", _PLAN, "1 while the log comes in, else 0.")
LOG_ALARMS = Family(
    "ostiary_log_alarm", "gauge", ("datasource", "alarm"), "1 for each thing that is wrong; `ostiary backup status` says more."
)
BUILD = Family("ostiary_build_info", "gauge", ("version", "policy"), "Always 1; version and hash of the policies in force.")
FAMILIES = (
    *(CALLS, IN_FLIGHT, STAGES, BUDGET_REFUSALS, BUDGET_USED, SIZE, IDLE, WAITING, HEALTHY),
    *(RECORDING, RECORDS, QUEUED, LAG, PROBLEMS, STALE, JOBS, TAKEOVERS),
    *(BACKUP_AGE, DRILL_AGE, PLAN_DONE, PLAN_LATE, VANISHED),
    *(LOG_LAG, LOG_LAG_BYTES, LOG_SPOOL, LOG_HELD, LOG_RECEIVED, LOG_ALARMS, BUILD),
)
"""Every metric, in the order of the page."""


class Plans(NamedTuple):
    """How plans stood when it was now, and what was missing of what they had kept."""

    now: datetime
    rows: Sequence[Scheduled]
    vanished: Sequence[Vanished] = ()


class Exposition:
    """The page of one process."""

    def __init__(
        self, meter: Meter, recorder: Recorder, datasources: Mapping[str, Datasource], policies: Policies, worker: str = ""
    ) -> None:
        """`worker` becomes a label of every sample where it is given."""
        self._process = _Process(meter, recorder, datasources, policies)
        self._registry = CollectorRegistry()
        self._registry.register(_Labelled(self._process, {"worker": worker}) if worker else self._process)

    def text(self, jobs: Sequence[Counted] | None = None, plans: Plans | None = None, logs: Sequence[LogStanding] = ()) -> bytes:
        """The page as it is now; nothing is said of jobs and plans where nobody can tell how they stand."""
        self._process.jobs, self._process.plans, self._process.logs = jobs, plans, logs
        return generate_latest(self._registry)


class _Process(Collector):
    def __init__(self, meter: Meter, recorder: Recorder, datasources: Mapping[str, Datasource], policies: Policies) -> None:
        self._meter = meter
        self._recorder = recorder
        self._datasources = datasources
        self._policies = policies
        self.jobs: Sequence[Counted] | None = None
        self.plans: Plans | None = None
        self.logs: Sequence[LogStanding] = ()

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would collect once at registration to learn the names."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples of now."""
        yield from _of_calls(self._meter)
        pools = {name: datasource.state() for name, datasource in self._datasources.items()}
        replicas = {f"{name}/replica": pool.replica for name, pool in pools.items() if pool.replica is not None}
        yield from _of_pools({**pools, **replicas})
        yield from _of_audit(self._recorder.state())
        yield _gauge(STALE, {(): bool(self._policies.refused)})
        yield from _of_jobs(self.jobs) if self.jobs is not None else ()
        yield from _of_plans(self.plans) if self.plans is not None and self.plans.rows else ()
        if self.plans is not None:
            gone = [one.of for one in self.plans.vanished]
            yield _gauge(VANISHED, {(of,): gone.count(of) for of in ("backup", "drill", "log")})
        yield from _of_logs(self.logs) if self.logs else ()
        yield _gauge(BUILD, {(__version__, self._policies.engine.policy_hash): 1})


class _Labelled(Collector):
    def __init__(self, collector: _Process, labels: Mapping[str, str]) -> None:
        self._collector = collector
        self._labels = labels
        self.describe = collector.describe

    def collect(self) -> Iterator[Metric]:
        """The other's families with these labels in each sample."""
        for family in self._collector.collect():
            family.samples = [sample._replace(labels={**self._labels, **sample.labels}) for sample in family.samples]
            yield family


def _of_calls(meter: Meter) -> Iterator[Metric]:
    calls = CounterMetricFamily(CALLS.name, CALLS.help, labels=CALLS.labels)
    for labels, count in sorted(meter.calls.items()):
        calls.add_metric(labels, count)
    yield calls
    yield _gauge(IN_FLIGHT, {(): meter.in_flight})
    stages = HistogramMetricFamily(STAGES.name, STAGES.help, labels=STAGES.labels)
    for stage, durations in meter.durations.items():
        stages.add_metric([stage], _buckets(durations), durations.sum_s)
    yield stages
    yield _counter(BUDGET_REFUSALS, {(measure, window): refused for (measure, window), refused in meter.budget_refusals.items()})
    yield _counter(BUDGET_USED, {(measure,): used for measure, used in meter.budget_used.items()})


def _buckets(durations: Histogram) -> list[tuple[str, float]]:
    """Upper bound → how many took no longer."""
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    return [(bound, sum(durations.counts[: n + 1])) for n, bound in enumerate(bounds)]


def _of_pools(pools: Mapping[str, PoolState]) -> Iterator[Metric]:
    yield _gauge(SIZE, {(name,): pool.size for name, pool in pools.items()})
    yield _gauge(IDLE, {(name,): pool.idle for name, pool in pools.items()})
    yield _gauge(WAITING, {(name,): pool.waiting for name, pool in pools.items()})
    yield _gauge(HEALTHY, {(name,): pool.healthy for name, pool in pools.items()})


def _of_audit(audit: RecorderState) -> Iterator[Metric]:
    yield _gauge(RECORDING, {(): audit.recording})
    records = CounterMetricFamily(RECORDS.name, RECORDS.help)
    records.add_metric((), audit.records)
    yield records
    yield _gauge(QUEUED, {(): audit.queued})
    yield _gauge(LAG, {(): audit.lag})
    yield _gauge(PROBLEMS, {(): len(audit.problems)})


def _of_jobs(jobs: Sequence[Counted]) -> Iterator[Metric]:
    yield _gauge(JOBS, {(one.tool, one.state): one.count for one in jobs})
    tools = dict.fromkeys(one.tool for one in jobs)
    yield _gauge(TAKEOVERS, {(tool,): sum(one.takeovers for one in jobs if one.tool == tool) for tool in tools})


def _of_plans(plans: Plans) -> Iterator[Metric]:
    now, rows, _ = plans
    ages = {row: (now - row.newest).total_seconds() for row in rows if row.newest is not None}
    yield _gauge(BACKUP_AGE, {(row.plan, row.what): age for row, age in ages.items() if row.what != DRILL})
    yield _gauge(DRILL_AGE, {(row.plan,): age for row, age in ages.items() if row.what == DRILL})
    ended = [row for row in rows if row.state not in ("", "waits")]
    yield _gauge(PLAN_DONE, {(row.plan, row.what): row.state == "completed" for row in ended})
    yield _gauge(PLAN_LATE, {(row.plan, row.what): row.late_s(now) for row in rows})


def _of_logs(logs: Sequence[LogStanding]) -> Iterator[Metric]:
    known = {(one.plan,): one.standing for one in logs if one.standing is not None}
    yield _gauge(LOG_LAG, {(one.plan,): one.lag_s for one in logs if one.lag_s is not None})
    yield _gauge(LOG_LAG_BYTES, {plan: found.lag_bytes for plan, found in known.items()})
    yield _gauge(LOG_SPOOL, {plan: found.spool_bytes for plan, found in known.items()})
    yield _gauge(LOG_HELD, {plan: found.held_bytes for plan, found in known.items()})
    yield _gauge(LOG_RECEIVED, {(one.plan,): one.comes_in for one in logs})
    yield _gauge(LOG_ALARMS, {(one.plan, alarm.code): 1 for one in logs for alarm in one.alarms})


def _counter(family: Family, samples: Mapping[tuple[str, ...], float]) -> Metric:
    made = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in sorted(samples.items()):
        made.add_metric(labels, value)
    return made


def _gauge(family: Family, samples: Mapping[tuple[str, ...], float]) -> Metric:
    made = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in samples.items():
        made.add_metric(labels, value)
    return made
