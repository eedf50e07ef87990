"""What others may build on is listed, and the list is complete."""

import importlib
import types

import pytest

PUBLIC = ("ostiary", "ostiary_tools", "ostiary_tools.api", "ostiary_tools.embedded", "ostiary_tools.sql")


@pytest.mark.parametrize("name", PUBLIC)
def test_what_a_public_module_lists_is_there_and_documented(name: str):
    module = importlib.import_module(name)

    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        thing = getattr(module, public)
        if isinstance(thing, type | types.FunctionType):
            assert thing.__doc__, f"{name}.{public} says nothing of itself"


def test_the_door_of_tool_packs_offers_every_type_its_protocols_name():
    """A tool author imports from `ostiary_tools.api` alone, besides the judge."""
    from ostiary_tools import api

    ours = {name for name, thing in vars(api).items() if isinstance(thing, type) and thing.__module__.startswith("ostiary")}
    assert ours == {name for name in api.__all__ if isinstance(getattr(api, name), type)}
