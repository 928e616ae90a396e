"""``params.yaml`` as strict typed objects: the only place that reads it.

A sweep costs hours, so a typo must stop it before it starts: an unknown key, a string where a number belongs or a name
that stands nowhere is one line that says which key is wrong. Nothing here has a default that ``params.yaml`` could
leave out: what a training did is readable in the file that started it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from masksr import project
from masksr.documents import read_yaml
from masksr.errors import MasksrError

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
# A folder name; "-" separates names in stages. They stand in commands of dvc.yaml: no sign here may mean a thing to a
# shell.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$", max_length=100)]
Channels = Annotated[int, Field(gt=0, le=4096)]  # what no network here comes near: absurd sizes would fill memory
Blocks = Annotated[int, Field(gt=0, le=1000)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Data(Section):
    local: str | None  # a folder with data sets and weights you already have; None: what MASKSR_DATA names
    train: Name
    validation: Name
    test: list[Name] = Field(min_length=1)
    limit: PositiveInt | None  # at most this many images of each test set; None: all

    def limit_of(self, name: str) -> int | None:
        """How many images of a set are wanted; training and validation sets are taken whole."""
        return self.limit if name in self.test else None


class Weights(Section):
    vgg: Literal["imagenet", "oxford", "random"]
    vgg_file: str | None  # a file of your own with torchvision's keys, .pth or .safetensors; None: looked for
    vgg_width: Annotated[float, Field(gt=0, le=1)]  # of the random one; ImageNet's has width 1
    quality: Literal["official", "standin", "auto"]

    @model_validator(mode="after")
    def _what_belongs_to_random(self) -> Weights:
        if self.vgg == "random" and self.vgg_file:
            raise ValueError("vgg_file names trained weights; it needs vgg: imagenet (or oxford)")
        if self.vgg != "random" and self.vgg_width != 1:
            raise ValueError(f"vgg_width must be 1 with vgg: {self.vgg} (only random features can be narrow)")
        return self


class RRDB(Section):
    architecture: Literal["rrdb"]
    num_feat: Channels
    num_block: Blocks
    num_grow_ch: Channels


class EDSRSize(Section):
    architecture: Literal["edsr"]
    n_resblocks: Blocks
    n_feats: Channels
    res_scale: Positive


class PESRSize(Section):
    architecture: Literal["pesr"]
    depth: Blocks
    num_channels: Channels
    res_scale: Positive


class Discriminator(Section):
    architecture: Literal["vggstyle", "srgan"]
    num_feat: Channels


class Loss(Section):
    """Equations 10-12: the weight of each term, in the generator's own pixel range."""

    vgg54: NonNegative
    vgg54_distance: Literal["l1", "mse"]
    gan: NonNegative
    gan_type: Literal["relativistic_average", "relativistic_pairwise", "standard"]
    focal_gamma: NonNegative  # of the pairwise type (PESR), in the generator's term only
    l1: NonNegative
    tv: NonNegative


class Schedule(Section):
    epochs: PositiveInt  # of train.steps_per_epoch steps each
    learning_rate: Positive
    halve_at: list[PositiveInt]  # epochs of this phase after which the learning rate is halved

    @model_validator(mode="after")
    def _halvings_in_order(self) -> Schedule:
        if self.halve_at != sorted(set(self.halve_at)) or (self.halve_at and self.halve_at[-1] >= self.epochs):
            raise ValueError(f"halve_at must rise and stay below epochs ({self.epochs}), got {self.halve_at}")
        return self


class Phase(Schedule):
    """A phase before the GAN: one distance, no mask, no discriminator."""

    scale: Literal[2, 4]
    loss: Literal["l1", "mse"]


class Start(Section):
    init: str | None  # a public checkpoint to begin from; None: random weights
    init_scale: Literal[2, 4]  # of that checkpoint
    phases: list[Phase]


class Model(Section):
    title: Annotated[str, Field(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]+$", max_length=60)]  # one line
    generator: RRDB | EDSRSize | PESRSize = Field(discriminator="architecture")
    discriminator: Discriminator
    loss: Loss
    lr_patch: PositiveInt  # pixels on a side of the LR patch
    batch: Annotated[int, Field(ge=2)]
    start: Start
    gan: Schedule

    @model_validator(mode="after")
    def _what_fits_together(self) -> Model:
        scales = [self.start.init_scale] * (self.start.init is not None) + [phase.scale for phase in self.start.phases]
        if 2 in scales and self.generator.architecture != "edsr":
            raise ValueError("start: only edsr changes its scale (x2, then a fresh x4 tail); use scale 4")
        if self.loss.focal_gamma and self.loss.gan_type != "relativistic_pairwise":
            raise ValueError("loss.focal_gamma belongs to gan_type relativistic_pairwise; set it to 0.0")
        if not self.start.init and not self.start.phases:
            raise ValueError("start: needs phases or a checkpoint to begin from (init)")
        multiple, least = (8, 16) if self.discriminator.architecture == "vggstyle" else (4, 8)
        if self.lr_patch % multiple or self.lr_patch < least:
            what = (
                f"a multiple of {multiple}, at least {least}, for the discriminator {self.discriminator.architecture}"
            )
            raise ValueError(f"lr_patch must be {what}; got {self.lr_patch}")
        return self


class Mask(Section):
    """One entry of ``masks``: equation 8 and every question the paper leaves open about it."""

    kind: Literal["none", "error", "expected", "constant", "shuffled", "random"]
    k: NonNegative = 0.0
    b: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    error_range: Literal["native", "1", "255", "relative"] = "native"
    window: PositiveInt = 1
    per_channel: bool = False
    apply: Literal["both", "sr", "gradient"] = "both"
    detach: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Mask:
        fields = set(type(self).model_fields) - {"kind"}
        if self.kind == "none" and self.model_fields_set - {"kind"}:
            raise ValueError("kind: none takes no other key")
        if self.kind != "none" and (missing := sorted(fields - self.model_fields_set)):
            raise ValueError(f"kind: {self.kind} also needs {', '.join(missing)}")
        if self.window % 2 == 0:
            raise ValueError(f"window must be odd, got {self.window}")
        if self.kind == "expected" and not self.detach:
            raise ValueError("kind: expected takes its error from LR alone, without gradient; it needs detach: true")
        if self.apply == "gradient" and not self.detach:
            raise ValueError("apply: gradient scales a gradient that the mask has no part in; it needs detach: true")
        return self


class Train(Section):
    device: Literal["auto", "cpu", "cuda", "mps"]
    gpus: PositiveInt  # that share every batch of one training; with device: cpu so many processes, to try it out
    sync_batchnorm: bool  # with gpus: statistics of the whole batch, as one GPU has them; else each of its own share
    precision: Literal["fp32", "bf16"]
    steps_per_epoch: PositiveInt
    compile: bool | Literal["reduce-overhead"]  # torch.compile: minutes at the start, then faster on most GPUs; the
    # latter replays CUDA graphs, for small patches, where starting kernels takes longer than running them
    gradient_checkpointing: bool  # the generator's blocks are computed twice and not kept: for small cards
    accumulate: PositiveInt  # parts a batch is computed in, one after the other; 1: at once
    ema: Annotated[float, Field(gt=0, lt=1)] | None  # decay of the generator's moving average; None: off
    log_every: PositiveInt  # steps between two rows of the history
    validate_every: PositiveInt  # steps
    validation_patches: PositiveInt
    checkpoint_every: PositiveInt  # steps


class Table1(Section):
    models: list[Name] = Field(min_length=1)
    masks: list[Name] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)


class Sweep(Section):
    """Figure 5: ``mask`` of ``masks`` with every pair of these k and b in place of its own."""

    model: Name
    mask: Name
    k: list[Annotated[int | float, Field(ge=0)]] = Field(min_length=1)  # as written: they name folders
    b: list[int | float] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)


class Crop(Section):
    set: Name
    image: Annotated[int, Field(ge=0)]  # position in the set
    top: Annotated[int, Field(ge=0, multiple_of=4)]  # HR pixels, whole LR pixels
    left: Annotated[int, Field(ge=0, multiple_of=4)]
    size: Annotated[int, Field(ge=16, multiple_of=4)]


class Figure4(Section):
    crops: list[Crop] = Field(min_length=1)


class Resources(Section):
    """What ``masksr cluster`` sets aside for one stage."""

    cpus: PositiveInt  # also the threads it computes with
    gpus: NonNegative  # whole ones, or a part of one for stages that share it
    memory_gb: Positive  # 10^9 bytes

    @model_validator(mode="after")
    def _whole_or_a_part(self) -> Resources:
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus must be a whole number or a part of one GPU, got {self.gpus:g}")
        return self


class Params(Section):
    profile: Name
    data: Data
    weights: Weights
    train: Train
    models: dict[Name, Model]
    masks: dict[Name, Mask]
    table1: Table1
    sweep: Sweep
    figure4: Figure4
    cluster: dict[str, Resources]  # by the name of a stage in dvc.yaml; "others" for those without an entry

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        def check(key: str, name: str, known: Collection[str]) -> None:
            if name not in known:
                hint = _suggest(name, known) or f" (there are: {', '.join(known)})"
                raise ValueError(f"{key}: there is no {name!r}{hint}")

        for model in self.table1.models:
            check("table1.models", model, self.models)
        for mask in self.table1.masks:
            check("table1.masks", mask, self.masks)
        check("sweep.mask", self.sweep.mask, self.masks)
        if self.masks[self.sweep.mask].kind == "none":
            raise ValueError("sweep.mask: a mask of kind none has no k and b to sweep")
        check("sweep.model (it starts from the start of table1.models)", self.sweep.model, self.table1.models)
        if missing := set(self.sweep.seeds) - set(self.table1.seeds):
            raise ValueError(f"sweep.seeds: {sorted(missing)} must also stand in table1.seeds, which trains the starts")
        if {name for name, mask in self.masks.items() if mask.kind == "none"} != {"none"} or "start" in self.masks:
            raise ValueError("masks: one entry, named none, has kind none; and none may be named start")
        if "none" not in self.table1.masks:
            raise ValueError("table1.masks: must hold none, which the masks (and Figure 5) are compared with")
        sets = [self.data.train, self.data.validation, *self.data.test]
        if len(set(sets)) != len(sets):
            raise ValueError(f"data: train, validation and test must be different sets, got {', '.join(sets)}")
        for model in self.table1.models:
            batch, parts, gpus = self.models[model].batch, self.train.accumulate, self.train.gpus
            if batch % parts or batch < 2 * parts:
                raise ValueError(
                    f"train.accumulate: must divide models.{model}.batch ({batch}) into parts of at least 2 patches, "
                    f"got {parts}"
                )
            if batch % (parts * gpus):
                whole = f"models.{model}.batch ({batch}" + (f" in {parts} parts)" if parts > 1 else ")")
                raise ValueError(f"train.gpus: must share {whole} evenly, got {gpus}")
            if batch < 2 * parts * gpus and not self.train.sync_batchnorm:
                raise ValueError(
                    f"train.gpus: {gpus} leaves each GPU one patch of models.{model}.batch ({batch}), too few for "
                    "statistics of its own; set train.sync_batchnorm to true"
                )
        if "others" not in self.cluster:
            raise ValueError("cluster.others: this key is missing (what stages without an entry of their own get)")
        for crop in self.figure4.crops:
            check("figure4.crops", crop.set, self.data.test)
        for key, values in {
            "table1.models": self.table1.models,
            "table1.masks": self.table1.masks,
            "table1.seeds": self.table1.seeds,
            "sweep.k": self.sweep.k,
            "sweep.b": self.sweep.b,
            "sweep.seeds": self.sweep.seeds,
        }.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: {values} names something twice")
        return self

    def check_stages(self, stages: Collection[str]) -> None:
        """Raises MasksrError where ``cluster`` names a stage that is not one of ``stages``, those of dvc.yaml."""
        for name in self.cluster:
            if name not in (known := [*stages, "others"]):
                raise MasksrError(f"params.yaml: cluster: dvc.yaml has no stage {name!r}{_suggest(name, known)}")

    def model(self, name: str) -> Model:
        """The entry ``name`` of ``models``. Raises MasksrError where there is none."""
        if name not in self.models:
            raise MasksrError(f"params.yaml: models: there is no {name!r}{_suggest(name, self.models)}")
        return self.models[name]

    def mask(self, name: str, k: float | None = None, b: float | None = None) -> Mask:
        """The entry ``name`` of ``masks``; with k and b, the point of Figure 5 that has these in place of its own."""
        if name not in self.masks:
            raise MasksrError(f"params.yaml: masks: there is no {name!r}{_suggest(name, self.masks)}")
        changes = {key: float(value) for key, value in {"k": k, "b": b}.items() if value is not None}
        return self.masks[name].model_copy(update=changes)


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _every_key() -> set[str]:
    sections, keys = [Section], set()
    while sections:
        section = sections.pop()
        keys |= set(section.model_fields)
        sections += section.__subclasses__()
    return keys


def _one_line(error: ValidationError, path: Path) -> str:
    """The first thing wrong, as ``file: the.key: what``; pydantic would print a page."""
    # An unknown key first: it is the one that can say what was meant.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = list(map(str, first["loc"]))
    if location[:2] == ["train", "compile"]:
        return f"{path.name}: train.compile: must be true, false or reduce-overhead, got {first['input']!r:.200}"
    if "generator" in location:  # pydantic names the branch of the union here; params.yaml does not
        del location[location.index("generator") + 1 : location.index("generator") + 2]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key" + _suggest(location[-1], _every_key())
    elif first["type"] == "missing":
        message = "this key is missing"
    elif not isinstance(first["input"], dict | BaseModel):
        message += f", got {first['input']!r:.200}"
        if isinstance(first["input"], str) and _looks_like_number(first["input"]):
            message += " (text: write numbers without quotes, and 1e-4 as 1.0e-4, which YAML reads as a number)"
    where = ".".join(location) + ": " if location else ""
    more = error.error_count() - 1
    return f"{path.name}: {where}{message}" + (f" (and {more} more)" if more else "")


def _looks_like_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def load(path: Path | str | None = None) -> Params:
    """Read and check ``params.yaml`` (of the project, when no path is given).

    Raises MasksrError with one line that names the wrong key.
    """
    path = Path(path) if path else project.root() / "params.yaml"
    try:
        return Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise MasksrError(_one_line(error, path)) from None
