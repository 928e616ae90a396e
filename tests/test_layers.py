"""Imports of masksr go one way, from what people call to what is called; none goes back, none goes in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = [  # from the bottom; rooms of one layer do not import each other
    {"errors", "io", "files", "locks", "documents", "project", "params", "paths", "provenance", "notebook"},
    {"data"},
    {"models", "quality", "fetch"},
    {"training"},
    {"results"},
    {"plots"},
    {"report", "tools"},
    {"cluster"},
    {"cli"},
    {"__main__"},
]
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted((ROOT / "masksr").rglob("*.py"))


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """The modules of masksr that a file imports, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in MODULES else node.module for module in full}
    return found & MODULES.keys()


GRAPH = {module: imports(path) - {module} for module, path in MODULES.items()}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def test_no_arrow_points_back() -> None:
    arrows = {(a, b) for a, bs in GRAPH.items() for b in bs if room(a) and room(b) and room(a) != room(b)}
    base = LAYERS[0]
    back = {
        (a, b)
        for a, b in arrows
        if LAYER[room(b)] > LAYER[room(a)] or (LAYER[room(b)] == LAYER[room(a)] and not {room(a), room(b)} <= base)
    }
    assert back == set()


def test_every_module_has_a_layer() -> None:
    assert {room(module) for module in MODULES} - {""} - LAYER.keys() == set()


def test_no_circle() -> None:
    left = {module: set(needs) for module, needs in GRAPH.items()}
    while free := [module for module, needs in left.items() if not needs]:
        for module in free:
            del left[module]
        for needs in left.values():
            needs -= set(free)
    assert not left, f"these import each other: {', '.join(sorted(left))}"


def test_a_name_has_one_address() -> None:
    """No file lists what it imported in __all__."""
    facades = set()
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lists = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
        imported = {alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names}
        if lists and {element.value for element in lists[0].elts} & imported:
            facades.add(name(path))
    assert facades == set()
