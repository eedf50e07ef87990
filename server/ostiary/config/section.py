"""What every section of the table is made of: its rows, and the checks that several share."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def setting(default: Any, help_: str, *, unit: str = "", example: Any = None, shown: str = "", **bounds: Any) -> Any:
    """One row of the table. `shown` replaces a default that depends on the machine, `example` one that is unset."""
    extra = {"unit": unit, "example": example, "shown": shown}
    return Field(default=default, description=help_, json_schema_extra=extra, **bounds)


class Section(BaseModel):
    """A table of `ostiary.toml`; the docstring is its comment in the file and its text in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def matching(pattern: str, sentence: str) -> AfterValidator:
    """A check that a text matches the whole pattern; the sentence says what it must be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {sentence}")
        return text

    return AfterValidator(check)


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A check that something is listed."""
    if not values:
        raise ValueError("must name at least one")
    return values


Name = Annotated[str, matching(r"[a-z][a-z0-9_-]{0,62}", "lower-case letters, digits, `_` and `-`, a letter first")]
