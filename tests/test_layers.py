"""Imports of masksr go one way, from what people call to what is called; none goes back or in a circle."""

import ast
from graphlib import TopologicalSorter

from tiny_project import ROOT

LAYERS = [  # from the bottom; rooms of one layer do not import each other, but for those of the base
    {"io", "params", "paths", "provenance", "source", "repair"},
    {"data"},
    {"models", "quality", "fetch"},
    {"stage"},
    {"training", "notebook"},
    {"results", "weights"},
    {"plots"},
    {"report", "tools"},
    {"plan"},
    {"cluster"},
    {"cli"},
    {"__main__"},
]
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
    for path in (ROOT / "masksr").rglob("*.py")
}


def imports(module: str) -> set[str]:
    """The modules of masksr that one imports, inside functions and for types too."""
    nodes = list(ast.walk(TREES[module]))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module):
        full = {f"{node.module}.{alias.name}" for alias in node.names}
        found |= {name if name in TREES else node.module for name in full}
    return found & TREES.keys() - {module}


GRAPH = {module: imports(module) for module in TREES}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def test_every_module_has_a_layer_and_no_arrow_points_back_or_in_a_circle() -> None:
    assert {room(module) for module in TREES} - {""} <= LAYER.keys()
    arrows = {(room(a), room(b)) for a, needs in GRAPH.items() for b in needs if room(a) and room(b)}
    assert not {(a, b) for a, b in arrows if a != b and (LAYER[b] > LAYER[a] or LAYER[b] == LAYER[a] > 0)}
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names one
