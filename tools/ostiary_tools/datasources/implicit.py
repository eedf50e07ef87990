"""What runs without being written: the functions that reading a view, a column or a value of a type sets going.

Works on the edges that implicit.sql reads, as plain rows; knows no judge and no policy.
What it leaves out is said there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Name = tuple[str, str]
Node = tuple[str, str, str, str]
"""Kind, schema, name, and the column where the kind is one."""

SERVER: Node = ("server", "", "", "")
"""What any statement may run."""


class Running:
    """The edges as a graph. Functions are its ends, and have edges of their own: types and defaults of their arguments."""

    def __init__(self, uses: Iterable[Row], casts: Iterable[Row]) -> None:
        self._uses: defaultdict[Node, list[Node]] = defaultdict(list)
        self._columns: defaultdict[Name, list[Node]] = defaultdict(list)
        self._casts_to: defaultdict[Name, list[Name]] = defaultdict(list)
        for row in uses:
            node = (row["kind"], row["schema"], row["name"], row["part"])
            if node[0] == "column" and node not in self._uses:
                self._columns[node[1], node[2]].append(node)
            self._uses[node].append((row["used_kind"], row["used_schema"], row["used_name"], row["used_part"]))
        for row in casts:
            if row["function"]:
                self._casts_to[row["target_schema"], row["target"]].append((row["function_schema"], row["function"]))

    def functions(self, node: Node) -> tuple[Name, ...]:
        """Every function that the thing may run, sorted; built-ins among them where they may do more than compute."""
        if node not in self._uses:
            return ()
        return tuple(sorted({(n[1], n[2]) for n in self._reached(node) if n[0] == "function"}))

    def called(self) -> dict[Name, tuple[Name, ...]]:
        """Function → what calling it may run besides itself."""
        found = {(n[1], n[2]): self.functions(n) for n in self._uses if n[0] == "function"}
        return {name: functions for name, functions in found.items() if functions}

    def converted(self, schema: str, name: str) -> tuple[Name, ...]:
        """What a value runs that is made one of this type, by a cast to it or to a type it is made of."""
        node = ("type", schema, name, "")
        reached = self._reached(node)
        casts = {function for n in {node, *reached} if n[0] == "type" for function in self._casts_to[n[1], n[2]]}
        return tuple(sorted({(n[1], n[2]) for n in reached if n[0] == "function"} | casts))

    def _reached(self, start: Node) -> set[Node]:
        seen: set[Node] = set()
        ahead = [start]
        while ahead:
            node = ahead.pop()
            for used in self._steps(node):
                if used not in seen:
                    seen.add(used)
                    ahead.append(used)
        return seen

    def _steps(self, node: Node) -> Sequence[Node]:
        if node[0] == "row":
            return [("relation", node[1], node[2], ""), *self._columns.get((node[1], node[2]), ())]
        return self._uses.get(node, ())


def with_children(children: Iterable[Row]) -> Mapping[Name, frozenset[Name]]:
    """Parent → every table whose rows are read with it."""
    direct: defaultdict[Name, list[Name]] = defaultdict(list)
    for row in children:
        direct[row["schema"], row["name"]].append((row["child_schema"], row["child"]))
    return {parent: _descendants(parent, direct) for parent in direct}


def _descendants(parent: Name, direct: Mapping[Name, list[Name]]) -> frozenset[Name]:
    seen: set[Name] = set()
    ahead = [parent]
    while ahead:
        for child in direct.get(ahead.pop(), ()):
            if child not in seen:
                seen.add(child)
                ahead.append(child)
    return frozenset(seen)
