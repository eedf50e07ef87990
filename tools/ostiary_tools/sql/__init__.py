"""Judging SQL: text in, the printed statement and every access it would make out. Pure, no I/O."""

from ostiary_tools.sql.changing import JudgedChange, judge_change
from ostiary_tools.sql.judge import Judged, bind, judge, own

__all__ = ["Judged", "JudgedChange", "bind", "judge", "judge_change", "own"]
