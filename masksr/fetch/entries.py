"""What may stand in ``data/registry.yaml``: data sets, files and weights as strict typed objects."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$", max_length=100)]
Offset = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(gt=0, multiple_of=4)]  # whole LR pixels at x4


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Crop(Section):
    """A box of HR pixels, counted from the top left corner."""

    top: Offset
    left: Offset
    height: Side
    width: Side


class Photograph(Section):
    """One picture file inside an installed package."""

    name: Name
    file: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$")]  # in site-packages
    package: str  # as pip names it
    version: str  # whose file has this checksum
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    credit: str
    licence: str
    crops: Annotated[dict[Name, Crop], Field(min_length=1)] | None = None  # None: the whole picture


class Described(Section):
    name: Name
    title: str
    role: Literal["train", "validation", "test"]


class PackageSet(Described):
    """Photographs that come inside installed packages."""

    kind: Literal["package"]
    photographs: Annotated[list[Photograph], Field(min_length=1)]

    @property
    def citation(self) -> str:
        return "; ".join(f"{p.name}: {p.credit}" for p in self.photographs)

    @property
    def licence(self) -> str:
        return "; ".join(f"{p.name}: {p.licence}" for p in self.photographs)

    @property
    def origin(self) -> str:
        return "; ".join(f"{p.file} of {p.package} {p.version}" for p in self.photographs)


class File(Section):
    """One file that can be downloaded, and what is known to recognise it by."""

    # What it is called once it is here.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=150)]
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://[^\s]+$")]], Field(min_length=1)]  # best first
    bytes: PositiveInt | None = None
    about: PositiveInt | None = None  # bytes, roughly, where no source states the exact number
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None  # or how it begins, if no more is known
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None  # where no source states a sha256

    @property
    def vouched_for(self) -> bool:
        """Whether a whole checksum is published, so that no first download has to be trusted."""
        return bool(self.md5) or len(self.sha256 or "") == 64

    @property
    def size(self) -> int | None:
        """Bytes to download, exactly or about; None where nobody says."""
        return self.bytes or self.about


class Layout(Section):
    """Paths below the data folder; ``{name}`` stands for the name of the image, ``*`` for anything."""

    hr: Annotated[str, Field(pattern=r"^[^{}]*\{name\}[^{}]*$")]
    lr_x4: Annotated[str, Field(pattern=r"^[^{}*]*\{name\}[^{}*]*$")] | None = None
    lr_x2: Annotated[str, Field(pattern=r"^[^{}*]*\{name\}[^{}*]*$")] | None = None

    @model_validator(mode="after")
    def _name_is_in_the_file(self) -> Layout:
        for path in filter(None, (self.hr, self.lr_x4, self.lr_x2)):
            file = PurePosixPath(path).name
            if "{name}" not in file or "*" in file or not _is_below(path):
                raise ValueError(f"{path}: must be relative, with {{name}} and no * in the name of the file")
        return self


def _is_below(path: str) -> bool:
    """Whether a path, of forward slashes, stays in the folder it is joined to, on every system."""
    return not path.startswith("/") and ".." not in path.split("/") and not set(path) & set("\\:\0")


class FolderSet(Described):
    """Pictures in files: in the user's data folder, in the cache, or in archives on the network."""

    kind: Literal["folder"]
    cite: str
    licence: str
    homepage: str
    images: PositiveInt  # how many there are
    first: Offset | None = None  # number of the first image, where all are numbered in a row
    at_least: bool = False  # more than that are welcome
    grey: bool = False  # files of a single channel belong to this set
    exclude: list[str] = []  # names of images that are passed over
    layouts: Annotated[list[Layout], Field(min_length=1)]
    downloads: list[Annotated[list[File], Field(min_length=1)]] = []  # ways to get it, best first, each complete

    @property
    def citation(self) -> str:
        return self.cite

    @property
    def origin(self) -> str:
        return self.homepage


class Weights(Section):
    """Published weights: what judges images, or a network to start from or to compare with."""

    name: Name
    title: str
    cite: str
    licence: str
    homepage: str
    architecture: Literal["rrdb", "edsr", "pesr"] | None = None  # of a generator's checkpoint
    scale: Literal[2, 4] | None = None
    res_scale: float | None = None  # what the weights do not tell
    archive: bool = False  # the download holds several checkpoints
    # Files of yours that are taken for it, besides those of ``downloads``.
    also_named: list[Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]] = []
    downloads: Annotated[list[File], Field(min_length=1)]  # ways to get it, best first


SetSpec = PackageSet | FolderSet
