"""``data/registry.yaml`` as strict typed objects: what each data set is and where its pictures lie."""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError, model_validator

from masksr import project
from masksr.errors import MasksrError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")]
Offset = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(gt=0, multiple_of=4)]  # whole LR pixels at x4


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Crop(Section):
    """A box of HR pixels, counted from the top left corner."""

    top: Offset
    left: Offset
    height: Side
    width: Side


class Photograph(Section):
    """One picture file inside an installed package."""

    name: Name
    file: str  # below site-packages, with forward slashes
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


class Layout(Section):
    """Paths below the data folder; ``{name}`` stands for the name of the image, ``*`` for anything."""

    hr: Annotated[str, Field(pattern=r"^[^{}]*\{name\}[^{}]*$")]
    lr_x4: Annotated[str, Field(pattern=r"^[^{}*]*\{name\}[^{}*]*$")] | None = None

    @model_validator(mode="after")
    def _name_is_in_the_file(self) -> Layout:
        for path in filter(None, (self.hr, self.lr_x4)):
            file = PurePosixPath(path).name
            if "{name}" not in file or "*" in file or path.startswith("/"):
                raise ValueError(f"{path}: must be relative, with {{name}} and no * in the name of the file")
        return self


class FolderSet(Described):
    """Pictures of the user's data folder. (Addresses and checksums for a download would be further keys here.)"""

    kind: Literal["folder"]
    cite: str
    licence: str
    homepage: str
    images: PositiveInt  # how many there are
    at_least: bool = False  # more than that are welcome
    grey: bool = False  # files of a single channel belong to this set
    exclude: list[str] = []  # names of images that are passed over
    layouts: Annotated[list[Layout], Field(min_length=1)]

    @property
    def citation(self) -> str:
        return self.cite

    @property
    def origin(self) -> str:
        return self.homepage


SetSpec = PackageSet | FolderSet
_SPEC: TypeAdapter[SetSpec] = TypeAdapter(Annotated[SetSpec, Field(discriminator="kind")])


def load_registry(path: Path | str | None = None) -> dict[str, SetSpec]:
    """All data sets by name, from ``data/registry.yaml`` of the project when no path is given.

    Raises MasksrError with one line that says what is wrong with the file.
    """
    path = Path(path) if path else project.root() / "data" / "registry.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MasksrError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise MasksrError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None
    sets = content.get("sets") if isinstance(content, dict) else None
    if not isinstance(sets, dict):
        raise MasksrError(f"{path.name}: has no mapping named sets")
    specs = {}
    for name, value in sets.items():
        try:
            specs[name] = _SPEC.validate_python({"name": name, **value} if isinstance(value, dict) else value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, ["sets", name, *first["loc"][1:]]))  # the first part is the branch of the union
            raise MasksrError(f"{path.name}: {where}: {first['msg']}") from None
    return specs


def find_set(name: str, path: Path | str | None = None) -> SetSpec:
    """One data set by its name. Raises MasksrError that lists the names when there is no such set."""
    specs = load_registry(path)
    if name not in specs:
        close = difflib.get_close_matches(name, specs, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MasksrError(f"there is no data set {name!r} in data/registry.yaml (there are: {', '.join(specs)}){hint}")
    return specs[name]
