"""``data/registry.yaml``: what each data set and file of weights is, and where it can be downloaded."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError

from masksr.io import MasksrError, project_root, read_yaml
from masksr.params import Params, suggest

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Side = Annotated[int, Field(gt=0, multiple_of=4)]  # whole LR pixels at x4
# A path below the data folder, with {name} in the file's name.
PicturePath = Annotated[str, Field(pattern=r"^([^{}/][^{}]*/)?[^{}/*]*\{name\}[^{}/*]*$")]
T = TypeVar("T")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Crop(Section):
    """A box of HR pixels, counted from the top left corner."""

    top: Annotated[int, Field(ge=0)]
    left: Annotated[int, Field(ge=0)]
    height: Side
    width: Side


class Photograph(Section):
    """A picture file inside an installed package."""

    name: Name
    file: str  # path in site-packages
    package: str  # as pip names it
    version: str  # whose file has this checksum
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    credit: str
    licence: str
    crops: Annotated[dict[Name, Crop], Field(min_length=1)] | None = None  # None: the whole picture


class PackageSet(Section):
    """Photographs that come inside installed packages."""

    name: Name
    title: str
    role: Literal["train", "validation", "test"]
    kind: Literal["package"]
    photographs: Annotated[list[Photograph], Field(min_length=1)]

    @property
    def images(self) -> int:
        return sum(len(p.crops) if p.crops else 1 for p in self.photographs)

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
    """A file to download, and how to recognise it."""

    name: Name  # on this disk
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://\S+$")]], Field(min_length=1)]  # best first
    bytes: PositiveInt | None = None
    about: PositiveInt | None = None  # bytes, roughly, where no source states the exact number
    # Some files publish only the first digits, in their names.
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None  # where no source states a sha256


def _find_file(name: Any, info: pydantic.ValidationInfo) -> Any:
    """Replace a file name in ``downloads`` by its entry under ``files``."""
    if isinstance(name, str) and name not in info.context:
        raise ValueError(f"there is no {name} under files")
    return info.context[name] if isinstance(name, str) else name


def _tell_names(entries: Any) -> Any:
    """Add to each entry of a section its own name."""
    if not isinstance(entries, dict):
        return entries  # pydantic reports that it must be one
    return {name: {**one, "name": name} if isinstance(one, dict) else one for name, one in entries.items()}


Download = Annotated[File, BeforeValidator(_find_file)]


class Layout(Section):
    """Paths of pictures; ``{name}`` stands for the name of the image, and in ``hr`` ``*`` for any folder."""

    hr: PicturePath
    lr_x4: PicturePath | None = None
    lr_x2: PicturePath | None = None

    @property
    def lr(self) -> dict[int, str]:
        """The paths of official LR pictures by scale, where there are any."""
        return {scale: path for scale, path in ((4, self.lr_x4), (2, self.lr_x2)) if path}


class Published(Section):
    name: Name
    title: str
    citation: str = Field(alias="cite")
    licence: str
    origin: str = Field(alias="homepage")


class FolderSet(Published):
    """Pictures in files: in the data folder, in the cache, or in archives on the network."""

    role: Literal["train", "validation", "test"]
    kind: Literal["folder"]
    images: PositiveInt
    at_least: bool = False  # whether there may be more than ``images``
    grey: bool = False  # whether files of one channel belong to the set
    exclude: list[str] = []  # names of images to skip
    layouts: Annotated[list[Layout], Field(min_length=1)]
    # Ways to get it, best first; each lists the files that make up the whole set.
    downloads: list[Annotated[list[Download], Field(min_length=1)]] = []


class Weights(Published):
    """Weights of a quality measure, or of a network to start from or to compare with."""

    architecture: Literal["rrdb", "edsr", "pesr"] | None = None  # of a generator
    scale: Literal[2, 4] | None = None
    res_scale: float | None = None  # not stored in the weights
    archive: bool = False  # whether the download holds several checkpoints
    also_named: list[str] = []  # names of files that also count as it, besides those of ``downloads``
    downloads: Annotated[list[Download], Field(min_length=1)]  # ways to get it, best first


SetSpec = PackageSet | FolderSet


class Registry(Section):
    files: Annotated[dict[str, File], BeforeValidator(_tell_names)] = {}
    sets: Annotated[dict[str, Annotated[SetSpec, Field(discriminator="kind")]], BeforeValidator(_tell_names)]
    weights: Annotated[dict[str, Weights], BeforeValidator(_tell_names)] = {}


def load_registry(path: Path | str | None = None) -> Registry:
    """Read the registry; without a path, ``data/registry.yaml`` of the project.

    Raises a one-line MasksrError for a file that is missing or has a mistake.
    """
    path = Path(path) if path else project_root() / "data" / "registry.yaml"
    content = read_yaml(path)
    files = content.get("files") if isinstance(content, dict) else None
    try:
        return Registry.model_validate(content, context=_tell_names(files or {}))
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(key) for key in first["loc"] if key not in ("package", "folder")]  # not keys of the file
        raise MasksrError(f"{path.name}: {'.'.join(keys)}: {first['msg']}") from None


def check_figure4(params: Params, registry: Registry) -> None:
    """Raise MasksrError, before any training, where Figure 4 asks for more images than the test sets have."""
    data, figure4, there = params.data, params.figure4, {}
    for name in data.test:
        spec = look_up(name, registry.sets, "data set")
        has = sys.maxsize if getattr(spec, "at_least", False) else spec.images
        there[name] = min(has, data.limit or has)
    searched = sum(min(count, figure4.search or count) for count in there.values())
    asked = {"random": (figure4.random, sum(there.values()))}
    asked["largest_difference"] = figure4.largest_difference, searched
    asked |= {f"crops: image of {crop.set}": (crop.image + 1, there[crop.set]) for crop in figure4.crops}
    for key, (wanted, has) in asked.items():
        if wanted > has:
            raise MasksrError(f"params.yaml: figure4.{key}: asks for {wanted} images, of {has}; lower it")


def find_set(name: str) -> SetSpec:
    """Look up a data set. Raises MasksrError for an unknown name."""
    return look_up(name, load_registry().sets, "data set")


def find_weights(name: str) -> Weights:
    """Look up published weights. Raises MasksrError for an unknown name."""
    return look_up(name, load_registry().weights, "entry of weights")


def look_up(name: str, specs: Mapping[str, T], what: str) -> T:
    if name not in specs:
        raise MasksrError(f"there is no {what} {name!r} in data/registry.yaml{suggest(name, specs)}")
    return specs[name]
