"""docs/reference/tools.md says of every tool exactly what an agent is told."""

from pathlib import Path
from typing import Any

from ostiary.mcp_app import input_schema
from ostiary_tools import pack
from ostiary_tools.api import Surface, Tool

PAGE = Path(__file__).parents[2] / "docs/reference/tools.md"


def test_the_page_of_tools_says_what_agents_are_told():
    text = PAGE.read_text()
    for surface in (Surface.TOOL, Surface.PROMPT):
        for tool in pack():
            if tool.surface is surface:
                assert section(tool) in text, f"docs/reference/tools.md should hold:\n\n{section(tool)}"


def test_the_page_of_tools_names_no_other():
    known = {tool.name for tool in pack() if tool.surface in (Surface.TOOL, Surface.PROMPT)}
    named = {line.removeprefix("### `").rstrip("`") for line in PAGE.read_text().splitlines() if line.startswith("### `")}
    assert named == known


def section(tool: Tool[Any]) -> str:
    """What the page says of one tool."""
    schema = input_schema(tool.args)
    needed = schema.get("required", ())
    rows = [
        f"| `{name}` | {kind(about)} | {'needed' if name in needed else default(about)} | {about.get('description', '')} |"
        for name, about in schema["properties"].items()
    ]
    table = ["", "| argument | type | default | what it is |", "|---|---|---|---|", *rows] if rows else ["", "No arguments."]
    return "\n".join([f"### `{tool.name}`", "", tool.description, *table]) + "\n"


def kind(about: dict[str, Any]) -> str:
    if "$ref" in about:
        return "object"
    if "enum" in about:
        return ", ".join(f"`{word}`" for word in about["enum"])
    if "anyOf" in about:
        return " or ".join(kind(option) for option in about["anyOf"] if option.get("type") != "null")
    if about.get("type") == "array":
        return f"list of {kind(about['items'])}"
    return str(about["type"])


def default(about: dict[str, Any]) -> str:
    value = about.get("default")
    return "unset" if value in (None, "", []) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
