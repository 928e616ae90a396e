"""What is installed: the files that say so agree, with each other and imports; make and git as promised."""

import ast
import json
import re
import shutil
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tiny_project import ROOT, copy_sources, run, write_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = {key: [*map(Requirement, texts)] for key, texts in PROJECT["optional-dependencies"].items()}
LOCK = (ROOT / "requirements.lock").read_text()
PINS = [Requirement(line) for line in LOCK.splitlines() if not line.lstrip().startswith("#")]
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")


def test_the_lock_pins_everything_and_names_no_place():
    for requirement in PINS:
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)) and requirement.url is None
    assert not re.search(r"://|^\s*-|\bindex\b|/simple|\+cu|\+cpu", LOCK, re.MULTILINE)


@pytest.mark.parametrize("python", ["3.11.2", "3.13.0"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_lock_satisfies_pyproject(python, system):
    here = {"python_full_version": python, "python_version": python[:4], "sys_platform": system}
    pins = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(here)]
    pins = {canonicalize_name(pin.name): pin for pin in pins}
    for requirement in DEPENDENCIES + OPTIONAL["dev"]:
        assert requirement.specifier, f"{requirement.name} has no lower bound in pyproject.toml"
        pin = pins[canonicalize_name(requirement.name)]  # else run: make lock
        locked = str(pin.specifier).removeprefix("==")
        assert requirement.specifier.contains(locked, prereleases=True), f"{requirement}, locked: {locked}"


def test_conda_and_make_build_the_same_environment():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    assert python == f"python {PROJECT['requires-python']}" and pip == "pip"
    assert from_pip == {"pip": ["--requirement requirements.lock", "--editable ."]}


def test_every_import_is_a_declared_dependency():
    sources = [path.read_text() for path in (ROOT / "masksr").rglob("*.py")]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    declared = {canonicalize_name(requirement.name) for requirement in [*DEPENDENCIES, *OPTIONAL["cluster"]]}
    distributions = packages_distributions()
    for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"masksr"}:
        providers = {canonicalize_name(provider) for provider in distributions.get(name, [name])}
        assert providers & declared, f"{name} is imported, but {providers} is no dependency of pyproject"


@pytest.fixture
def clone(tmp_path):
    """What `make` sees of a fresh clone, in a folder with a space in its name."""
    folder = copy_sources(tmp_path / "a clone", ["Makefile", "pyproject.toml", "requirements.lock"])
    return write_files(folder, {f"profiles/{name}.yaml": f"profile: {name}\n" for name in ("mini", "paper")})


@needs_make
def test_a_profile_never_overwrites_changes_and_clean_removes_only_what_runs_made(clone):
    params = clone / "params.yaml"
    run(clone, "make", "profile-mini")
    run(clone, "make", "profile-paper")
    assert params.read_text() == "profile: paper\n"
    params.write_text("profile: paper\nmine: 1\n")
    assert "FORCE=1" in run(clone, "make", "profile-mini", ok=False) and "mine" in params.read_text()
    run(clone, "make", "profile-mini", "FORCE=1")
    assert params.read_text() == "profile: mini\n"
    made = ["runs/mini/x", "data/sets/x", "data/weights/x", ".cache/x", ".dvc/cache/x"]
    made += ["results/mini/report.html", "results/mini/times.csv"]
    kept = ["data/registry.yaml", "results/mini/table1.md", ".dvc/config", ".venv/made-from"]
    write_files(clone, dict.fromkeys(made + kept, ""))
    assert "removing runs" in run(clone, "make", "clean")
    assert [name for name in made + kept if (clone / name).exists()] == kept
