"""What the demonstration looks like: plain lines, coloured where the terminal can, at most 100 columns wide.

It prints what it is given and knows nothing of agents, servers or the audit log.
Text of a reply is printed as it is and never read as markup.
"""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

_COLUMNS = 100
_LAST_COLUMNS = 22
"""Width of the last column of a table at most; the others fold."""
_STYLES = (("rule:", "bold yellow"), ("hint:", "cyan"), ("denied:", "bold red"), ("refused:", "bold red"), ("Unknown", "bold red"))
"""How a line of a reply is shown, by how it begins; any other is shown in the reply's own style."""


def screen() -> Console:
    """Standard output, without colour where it is no terminal."""
    found = Console(highlight=False)
    wide = _COLUMNS if not found.is_terminal else min(_COLUMNS, found.width)
    return Console(highlight=False, width=wide)


def heading(console: Console, title: str, told: str = "") -> None:
    """Begin a scene."""
    console.print()
    console.print(Rule(Text(title, "bold"), align="left", style="dim"))
    if told:
        console.print(Text(told, "dim"))


def asked(console: Console, agent: str, tool: str, sql: str = "") -> None:
    """A call: who calls what, with the statement if there is one."""
    console.print()
    console.print(Text.assemble((agent, "bold magenta"), " calls ", (tool, "bold"), ":" if sql else ""))
    if sql:
        console.print(Padding(Syntax(sql, "sql", theme="ansi_dark", background_color="default", word_wrap=True), (0, 0, 0, 2)))


def answered(console: Console, reply: str, *, good: bool = True) -> None:
    """A reply as the agent got it, marked at its left edge."""
    for line in reply.splitlines():
        style = next((style for start, style in _STYLES if line.startswith(start)), "default" if good else "red")
        shown = Table.grid(padding=(0, 1))
        shown.add_row("", Text("│", "green" if good else "red"), Text(line, style))
        console.print(shown)


def listed(console: Console, heads: Sequence[str], rows: Iterable[Sequence[Text | str]]) -> None:
    """A table. Cells fold, but the last column is one line that ends in `…` when it is too long."""
    body = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    for head in heads[:-1]:
        table.add_column(head, overflow="fold")
    widest = max((len(row[-1]) for row in body), default=0)
    table.add_column(heads[-1], overflow="ellipsis", no_wrap=True, width=min(widest, _LAST_COLUMNS))
    for row in body:
        table.add_row(*row)
    console.print(Padding(table, (0, 0, 0, 2)))


def concluded(console: Console, sentence: str, *, good: bool = True) -> None:
    """What a scene has shown."""
    console.print(Text(("✓ " if good else "✗ ") + sentence, "green" if good else "red"))


def quoted(console: Console, text: str) -> None:
    """Something to copy: never broken, whatever the width."""
    for line in text.splitlines():
        console.print(Text(f"  {line}"), soft_wrap=True)
