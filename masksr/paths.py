"""Where everything lies: the folders that ``dvc.yaml`` names, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from masksr import files, project
from masksr.params import Params


def data_folder(params: Params) -> Path | None:
    """The folder of data and weights you already have: ``data.local``, else the one MASKSR_DATA names, else None."""
    return files.data_folder(params.data.local)


@dataclass(frozen=True)
class Paths:
    """The folders of one profile. ``Paths.of(params)`` finds the project from the working directory."""

    root: Path
    profile: str

    @classmethod
    def of(cls, params: Params) -> Paths:
        return cls(project.root(), params.profile)

    def set(self, name: str) -> Path:
        """The pack of a data set."""
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

    def trained(self, model: str, mask: str, seed: int, k: float | None = None, b: float | None = None) -> Path:
        """The folder of one adversarial training: a point of Figure 5 where k and b are given, else a variant."""
        return self.variant(model, mask, seed) if k is None or b is None else self.sweep_point(k, b, seed)

    @property
    def ends(self) -> Path:
        """The evaluation of what every variant is compared with: HR, bicubic and the start models."""
        return self.runs / "ends"

    @property
    def results(self) -> Path:
        return self.root / "results" / self.profile

    @property
    def trainings(self) -> Path:
        """Checkpoints and finished trainings by the hash of their inputs; outside every output DVC may delete."""
        return self.root / ".cache/trainings"
