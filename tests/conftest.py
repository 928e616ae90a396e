"""What the test files share: the environment they start in, and what is expensive to make."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_project import copy_sources, dvc, run, tiny, yaml

os.environ.setdefault("MPLBACKEND", "Agg")  # no test opens a window
os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks are tiny, and another core is busy

# A shell lets what it starts with & ignore Ctrl-C, and the children of that too: tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, because the first example pays for imports; the same examples on every run of CI.
settings.register_profile("masksr", deadline=None, max_examples=40, derandomize="CI" in os.environ)
settings.load_profile("masksr")

# What takes long in `dvc repro` and knows no profile: training, fitting NIQE's and Ma's stand-ins, drawing.
SHORTER = [
    ("notebooks/01_argument.ipynb", "steps=1500", "steps=100"),
    ("masksr/quality/standin.py", "CROPS = 150", "CROPS = 24"),
    ("masksr/quality/standin.py", "TREES, LEAF = 200", "TREES, LEAF = 50"),
    ("masksr/plots/style.py", "dpi\": 110", "dpi\": 50"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for ``reproduction`` comes last."""
    items.sort(key=lambda item: "reproduced" in item.fixturenames)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with packs, VGG19 and the starts of all models; to be copied, not changed."""
    from small_trainings import prepare, small

    return prepare(tmp_path_factory.mktemp("project"), small()).root


@pytest.fixture
def paths(prepared: Path, tmp_path: Path):
    """The paths of a copy of ``prepared``."""
    from masksr.paths import Paths

    return Paths(shutil.copytree(prepared, tmp_path / "project"), "mini")


@pytest.fixture
def golden() -> Callable[[str], Path]:
    """Find a file of golden vectors of the public implementations, beside the data or in MASKSR_GOLDEN."""

    def find(name: str) -> Path:
        beside = Path(os.environ.get("MASKSR_DATA", "missing")) / "../golden"
        folder = os.environ.get("MASKSR_GOLDEN") or beside
        if not (path := Path(folder) / name).is_file():
            pytest.skip(f"no golden vectors of the public implementations: {path} (set MASKSR_GOLDEN)")
        return path

    return find


# In sitecustomize.py: each process of a stage writes which modules of masksr it asks for.
RECORDER = """
import os, sys
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "masksr" and "DVC_STAGE" in os.environ:
            with open(os.path.join(os.path.dirname(__file__), os.environ["DVC_STAGE"]), "a") as file:
                file.write(name + "\\n")
sys.meta_path.insert(0, Recorder())
"""


def reproduce(folder: Path, *stages: str) -> Path:
    """A tiny project after one `dvc repro`, committed to git; beside it, what each stage imported."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    copy_sources(folder)
    yaml.dump(tiny(), folder / "params.yaml")
    for name, longer, shorter in SHORTER:
        text = (folder / name).read_text()
        assert longer in text
        (folder / name).write_text(text.replace(longer, shorter))
    run(folder, "git", "init", "--quiet")
    imports = folder.parent / "imports"
    imports.mkdir()
    (imports / "sitecustomize.py").write_text(RECORDER)
    dvc(folder, "repro", *stages, PYTHONPATH=f"{folder}{os.pathsep}{imports}")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "--message", "results")
    return folder


@pytest.fixture(scope="session", autouse=True)
def reproduction(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Future | None]:
    """Where a test needs it, `dvc repro` begins with the first test and runs beside the others."""
    wanted = any("reproduced" in item.fixturenames for item in request.session.items)
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(reproduce, tmp_path_factory.mktemp("reproduced") / "a project") if wanted else None


@pytest.fixture(scope="session")
def reproduced(reproduction: Future | None) -> Path:
    """That project. Only to be read: see ``project``."""
    return reproduction.result()


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A project of which only the stage ``questions`` has run, which needs no other; nothing waits for it."""
    return reproduce(tmp_path / "a project", "questions")


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of that project, to be changed."""
    return shutil.copytree(reproduced, tmp_path / "a copy")
