"""Fields of a tool's arguments that bear a mark, found once for each tool, and what a call gives in them."""

from functools import cache
from typing import Any

from pydantic import BaseModel

from ostiary_tools.api import Args


@cache
def marked(args: type[BaseModel], mark: type) -> tuple[str, ...]:
    """Names of the fields that bear it, in their order."""
    return tuple(name for name, field in args.model_fields.items() if any(isinstance(one, mark) for one in field.metadata))


def given(args: Args, mark: type) -> Any:
    """What the call gives in the first such field that is not empty; `None` where it gives nothing."""
    return next((value for name in marked(type(args), mark) if (value := getattr(args, name))), None)
