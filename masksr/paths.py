"""Where everything is: the folders that ``dvc.yaml`` names, the user's data, the cache of downloads."""

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple, Self

from masksr.io import MasksrError, project_root
from masksr.params import Params


@dataclass(frozen=True)
class Paths:
    """The folders of one profile. ``Paths.of(params)`` finds the project from the working directory."""

    root: Path
    profile: str

    @classmethod
    def of(cls, params: Params) -> Self:
        return cls(project_root(), params.profile)

    def set(self, name: str) -> Path:
        """The folder of a data set's pack."""
        return self.root / "data/sets" / self.profile / name

    @property
    def weights(self) -> Path:
        """What the weights stage makes: VGG19's features and the folder ``quality``."""
        return self.root / "data/weights" / self.profile

    @property
    def runs(self) -> Path:
        return self.root / "runs" / self.profile

    def start(self, model: str, seed: int) -> Path:
        return self.runs / "start" / f"{model}-s{seed}"

    def variant(self, model: str, mask: str, seed: int) -> Path:
        return self.runs / "variants" / f"{model}-{mask}-s{seed}"

    def sweep_point(self, k: float, b: float, seed: int) -> Path:
        return self.runs / "sweep" / f"k{k}-b{b}-s{seed}"

    def trained(
        self, model: str, mask: str, seed: int, k: float | None = None, b: float | None = None
    ) -> Path:
        """The folder of an adversarial training: a point of Figure 5 if k and b are given, else a variant."""
        if (k is None) != (b is None):
            raise MasksrError("k and b are given together, for a point of Figure 5, or neither")
        return self.variant(model, mask, seed) if k is None or b is None else self.sweep_point(k, b, seed)

    @property
    def ends(self) -> Path:
        """The evaluation of what every variant is compared with: HR, bicubic and the start models."""
        return self.runs / "scores/ends"

    def scores(self, trained: Path) -> Path:
        """The folder with the evaluation of the training in the folder ``trained``."""
        return self.runs / "scores" / trained.relative_to(self.runs)

    def executed(self, stage: str, name: str = "") -> Path:
        """The executed notebook of a stage, kept apart from its results, which other stages read."""
        return self.runs / "notebooks" / (f"{stage}/{name}.ipynb" if name else f"{stage}.ipynb")

    @property
    def results(self) -> Path:
        return self.root / "results" / self.profile

    @property
    def trainings(self) -> Path:
        """Checkpoints and finished trainings by the hash of their inputs, where DVC deletes nothing."""
        return self.root / ".cache/trainings"

    def live(self, out: Path) -> Path:
        """The growing history of the training to ``out``: losses, PSNR, images per second."""
        inside = out.relative_to(self.runs) if out.is_relative_to(self.runs) else Path(out.name)
        return self.root / ".cache/live" / self.profile / f"{inside.as_posix()}.csv"


class Training(NamedTuple):
    """One training of a profile: its stage in dvc.yaml, what it trains, and the folder of its results."""

    stage: str
    model: str
    mask: str  # "start": what comes before the GAN
    seed: int
    k: float | None  # of a point of Figure 5, else None
    b: float | None
    folder: Path


def list_trainings(params: Params, paths: Paths) -> list[Training]:
    """List the starts of a profile, then the trainings of Table 1, then the points of Figure 5."""
    table1, sweep, found = params.table1, params.sweep, []
    for model, seed in product(table1.models, table1.seeds):
        stage = f"start@{paths.profile}-{model}-{seed}"
        found.append(Training(stage, model, "start", seed, None, None, paths.start(model, seed)))
    for model, mask, seed in product(table1.models, table1.masks, table1.seeds):
        stage = f"train@{paths.profile}-{model}-{mask}-{seed}"
        found.append(Training(stage, model, mask, seed, None, None, paths.variant(model, mask, seed)))
    for k, b, seed in product(sweep.k, sweep.b, sweep.seeds):
        stage = f"sweep@{paths.profile}-k-{k}-b-{b}-{seed}"
        found.append(Training(stage, sweep.model, sweep.mask, seed, k, b, paths.sweep_point(k, b, seed)))
    return found


def profile_of(stage: str) -> str:
    """Return the profile in the name of a stage: ``mini`` for ``train@mini-esrgan-none-0``."""
    return stage.partition("@")[2].partition("-")[0]


def user_path(text: Path | str) -> Path:
    """Read a path as people write it, with ``~`` for their home."""
    return Path(os.path.expanduser(text))


def here_or_in_project(text: Path | str) -> Path:
    """Read a path as people write it: from the working directory or, failing that, the project."""
    path = user_path(text)
    if not path.exists():
        with suppress(MasksrError):  # outside a project
            if (inside := project_root() / path).exists():
                return inside
    return path


def find_data_folder(named: Path | str | None = None) -> Path | None:
    """Find the user's folder of data and weights: the one named, else that of MASKSR_DATA, else None.

    Raises MasksrError where it does not exist.
    """
    named = named or os.environ.get("MASKSR_DATA")
    folder = here_or_in_project(named) if named else None
    if folder and not folder.is_dir():
        remedy = "correct data.local in params.yaml or MASKSR_DATA"
        raise MasksrError(f"the data folder {folder} does not exist; {remedy}")
    return folder


def cache_folder() -> Path:
    """Return where downloads are kept for all projects: MASKSR_CACHE, else ``~/.cache/masksr``."""
    named = os.environ.get("MASKSR_CACHE")
    return user_path(named) if named else home() / ".cache/masksr"


def home() -> Path:
    """Return the user's home folder. Raises MasksrError if the system knows none, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        raise MasksrError("this user has no home folder; set HOME to a folder to write to") from None


def weight_places(named: Path | str | None = None) -> list[Path]:
    """List where published weights are looked for, in order: the data folder, caches of others, our cache."""
    folder = find_data_folder(named)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or caches / "torch") / "hub"
    places = [folder, folder / "weights"] if folder else []
    return [*places, torch / "checkpoints", torch / "pyiqa", cache_folder() / "weights"]
