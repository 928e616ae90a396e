"""``params.yaml`` as strictly typed objects: the only place that reads it.

A sweep costs hours, so a typo must stop it before it starts: for an unknown key, a string where a number
belongs or a name defined nowhere, one line says which key is wrong. Nothing has a default that the file could
leave out: what a training did can be read in the file that started it.

The text under a key says what it means, with its unit last, in brackets; docs/params.md is made of these.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from masksr.io import MasksrError, project_root, read_yaml

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
# A folder name; "-" separates names in stages. dvc.yaml puts names in commands: no sign special to a shell.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$", max_length=100)]
# Bounds that no network here comes near; absurd sizes would fill memory.
Channels = Annotated[int, Field(gt=0, le=4096)]
Blocks = Annotated[int, Field(gt=0, le=1000)]


def _check(holds: object, problem: str) -> None:
    """Raise the ValueError that pydantic collects where something does not hold."""
    if not holds:
        raise ValueError(problem)


def _has_a_point(value: object) -> object:
    _check(type(value) is not int, f"write {value}.0, with its point: {value} would be another name for it")
    return value


# Names of stages contain it as written, and one point must have one name.
Pointed = Annotated[float, BeforeValidator(_has_a_point)]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Data(Section):
    """What is trained and tested on: names of data/registry.yaml."""

    local: str | None
    """A folder with data and weights you already have, only read; null: the one that MASKSR_DATA names."""
    train: Name
    """The set that every training draws its patches from."""
    validation: Name
    """The set of the PSNR-Y that is measured during a training; never used to choose a network."""
    test: list[Name] = Field(min_length=1)
    """The sets that every variant is scored on, in the order of Table 1's columns."""
    limit: PositiveInt | None
    """At most this many images of each test set, the first ones; null: all. [images]"""

    def limit_of(self, name: str) -> int | None:
        """Return how many images of a set are wanted; training and validation sets are taken whole."""
        return self.limit if name in self.test else None


class Weights(Section):
    """What judges images and is not trained here: VGG19 in the loss, NIQE and Ma in the perceptual index."""

    vgg: Literal["imagenet", "oxford", "random"]
    """VGG19 of the VGG54 term: `imagenet` is torchvision's weights; `oxford` the first published ones, with
    features rescaled; `random` a stand-in with its layers but not its weights."""
    vgg_file: str | None
    """A file of yours with torchvision's keys; null: the data folder, caches or (`imagenet`) the network."""
    vgg_width: Annotated[float, Field(gt=0, le=1)]
    """Which fraction of VGG19's channels the random one has; trained weights have all of them, 1.0."""
    quality: Literal["official", "standin", "auto"]
    """Weights of NIQE and Ma: `official` is the published files; `standin` fits them on the training
    photographs, as every table then says; `auto` takes the official ones if within reach, else stand-ins."""

    @model_validator(mode="after")
    def _what_belongs_to_random(self) -> Self:
        random = self.vgg == "random"
        _check(not (random and self.vgg_file), "vgg_file is for trained weights: vgg: imagenet (or oxford)")
        _check(random or self.vgg_width == 1, "vgg_width must be 1 but with vgg: random, which may be narrow")
        return self


class Measures(Section):
    """What every evaluated picture is measured by, besides PI, its halves, PSNR-Y, SSIM-Y and RMSE."""

    also: list[str]
    """Measures by their names in pyiqa, such as `[lpips, dists]`, each a column of quality.csv; pyiqa
    downloads the weights they need."""


class RRDB(Section):
    """ESRGAN's generator; works in [0, 1]. The keys are BasicSR's."""

    architecture: Literal["rrdb"]
    """RRDBNet: residual in residual dense blocks."""
    num_feat: Channels
    """Width of the trunk. [channels]"""
    num_block: Blocks
    """Number of RRDBs, each of three dense blocks. [blocks]"""
    num_grow_ch: Channels
    """How many channels each convolution of a dense block adds. [channels]"""


class EDSRSize(Section):
    """EDSR's generator; works in [0, 255]. The keys are EDSR-PyTorch's."""

    architecture: Literal["edsr"]
    """EDSR: residual blocks without batch normalisation; the one network that can change its scale."""
    n_resblocks: Blocks
    """Number of residual blocks. [blocks]"""
    n_feats: Channels
    """Width of the trunk. [channels]"""
    res_scale: Positive
    """Factor of a block's output before it is added to its input."""


class PESRSize(Section):
    """PESR's generator; works in [0, 255]. The keys are those of its public code."""

    architecture: Literal["pesr"]
    """PESR: EDSR's trunk under PESR's key names."""
    depth: Blocks
    """Number of residual blocks. [blocks]"""
    num_channels: Channels
    """Width of the trunk. [channels]"""
    res_scale: Positive
    """Factor of a block's output before it is added to its input."""


class Discriminator(Section):
    """The network that tells SR from HR; made for one size of HR patch."""

    architecture: Literal["vggstyle", "srgan"]
    """`vggstyle`: ESRGAN's; `srgan`: that of SRGAN, EDSR and PESR."""
    num_feat: Channels
    """Width of the first layer; deeper ones are up to eight times as wide. [channels]"""


class Loss(Section):
    """Equations 10-12: the weight of each term, in the generator's own pixel range."""

    vgg54: NonNegative
    """Weight of the distance between VGG19's features conv5_4, before their ReLU."""
    vgg54_distance: Literal["l1", "mse"]
    """The distance used there."""
    gan: NonNegative
    """Weight of the generator's adversarial term, the one that the mask acts on."""
    gan_type: Literal["relativistic_average", "relativistic_pairwise", "standard"]
    """`relativistic_average` is ESRGAN's, `relativistic_pairwise` PESR's, `standard` binary cross entropy."""
    focal_gamma: NonNegative
    """Exponent of the focal weight in the generator's term of `relativistic_pairwise`; 0: none."""
    l1: NonNegative
    """Weight of the mean absolute difference of pixels."""
    tv: NonNegative
    """Weight of the total variation, which is a sum over batch, channels and pixels while all other terms are
    means: for the same objective, scale it as 1 / (batch * lr_patch^2)."""


class Schedule(Section):
    """How long to train, and with which learning rate (Adam, beta 0.9 and 0.999)."""

    epochs: PositiveInt
    """How long to train; the model's steps_per_epoch, or else train's, says what an epoch is. [epochs]"""
    learning_rate: Positive
    """Adam's initial learning rate."""
    halve_at: list[PositiveInt]
    """After which epochs of this phase the learning rate is halved: ascending, below epochs. [epochs]"""

    @model_validator(mode="after")
    def _halvings_in_order(self) -> Self:
        rises = self.halve_at == sorted(set(self.halve_at)) and max(self.halve_at, default=0) < self.epochs
        _check(rises, f"halve_at must rise and stay below epochs ({self.epochs}), got {self.halve_at}")
        return self


class Phase(Schedule):
    """A phase before the GAN: one distance, no mask, no discriminator."""

    scale: Literal[2, 4]
    """Upscaling factor; from 2 to 4, EDSR keeps all its weights and gets a second sub-pixel convolution."""
    loss: Literal["l1", "mse"]
    """The distance between SR and HR."""


class Gan(Schedule):
    """How long to train, and with which learning rates (Adam, beta 0.9 and 0.999)."""

    discriminator_learning_rate: Positive
    """The discriminator's, halved with the generator's; the published code uses the generator's for it. A
    lower one keeps it from telling SR from HR at once."""


class Start(Section):
    """What comes before the GAN and knows nothing of masks; done once for each model and seed."""

    init: str | None
    """A checkpoint to begin from: a file, a name in data/registry.yaml, or the name of an archive there and
    a file in it, such as `pesr/psnr.pt`. One that cannot be had is an error; null: random weights."""
    init_scale: Literal[2, 4]
    """Upscaling factor of that checkpoint."""
    phases: list[Phase]
    """Phases trained one after another, from the checkpoint on; empty if that is enough."""


class Model(Section):
    """A recipe: the networks, the losses and the schedule of one model."""

    title: Annotated[str, Field(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]+$", max_length=60)]
    """Its name in tables and figures, on one line."""
    generator: RRDB | EDSRSize | PESRSize = Field(discriminator="architecture")
    """The network that upscales; `architecture` says which, and so which other keys there are."""
    discriminator: Discriminator
    """The network that it is trained against."""
    loss: Loss
    """Equations 10 to 12."""
    lr_patch: PositiveInt
    """Side of an LR patch: with `vggstyle` 16, 24, 32 and so on, with `srgan` 8, 12, 16. [LR pixels]"""
    batch: Annotated[int, Field(ge=2)]
    """Patches per step. [patches]"""
    steps_per_epoch: PositiveInt | None
    """Length of an epoch of this model; null: train.steps_per_epoch. [steps]"""
    start: Start
    """What comes before the GAN."""
    gan: Gan
    """The adversarial training, a separate one for each mask."""

    @model_validator(mode="after")
    def _what_fits_together(self) -> Self:
        scales = [phase.scale for phase in self.start.phases]
        if self.start.init is not None:
            scales.insert(0, self.start.init_scale)
        _check(scales, "start: needs phases or a checkpoint to begin from (init)")
        fits = scales == sorted(scales) and (2 not in scales or self.generator.architecture == "edsr")
        _check(fits, "start: only edsr changes its scale (x2, then x4); use scale 4")
        focal = self.loss.gan_type == "relativistic_pairwise" or not self.loss.focal_gamma
        _check(focal, "loss.focal_gamma belongs to gan_type relativistic_pairwise; set it to 0.0")
        multiple, least = (8, 16) if self.discriminator.architecture == "vggstyle" else (4, 8)
        sizes = f"lr_patch must be a multiple of {multiple}, at least {least}, for this discriminator"
        _check(self.lr_patch % multiple == 0 and self.lr_patch >= least, f"{sizes}; got {self.lr_patch}")
        return self


class Mask(Section):
    """One entry of ``masks``: equation 8 and every question the paper leaves open about it.
    Kind ``none`` takes no other key; every other kind takes all of them."""

    kind: Literal["none", "error", "expected", "constant", "shuffled", "random"]
    """`none`: no mask. `error`: equation 8. `expected`: the same, of the error that a small network expects
    from LR. The rest are controls with the mean of `error`'s mask: `constant` has no structure, `shuffled`
    has its values at random places, `random` is noise."""
    k: NonNegative = 0.0
    """Slope of equation 8. [1 / squared pixel value in error_range]"""
    b: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """The mask where the error is 0, which is its lowest value."""
    error_range: Literal["native", "1", "255", "relative"] = "native"
    """The range of pixel values in which the error counts: `native` is the generator's own, `1` is [0, 1],
    `255` is [0, 255]; `relative` divides by the batch's mean error."""
    window: PositiveInt = 1
    """Side of the box that the error is averaged over, odd; 1: each pixel alone. [HR pixels]"""
    per_channel: bool = False
    """One mask for each colour channel, instead of a single one from their mean error."""
    apply: Literal["both", "sr", "gradient"] = "both"
    """What the mask multiplies: `both` SR and HR before the discriminator, `sr` SR alone, `gradient` only the
    gradient on its way back to the generator."""
    detach: bool = True
    """Whether the mask is a constant for the gradient; that of HR always is."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = self.model_fields_set - {"kind"}
        if self.kind == "none":
            _check(not given, "kind: none takes no other key")
        else:
            missing = sorted(set(type(self).model_fields) - {"kind"} - given)
            _check(not missing, f"kind: {self.kind} also needs {', '.join(missing)}")
        _check(self.window % 2, f"window must be odd, got {self.window}")
        alone = "kind: expected and apply: gradient give the mask no gradient; they need detach: true"
        _check(self.detach or not (self.kind == "expected" or self.apply == "gradient"), alone)
        return self


class Train(Section):
    """How trainings are computed, the same for all of them."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to train; `auto`: cuda, else mps, else cpu."""
    gpus: PositiveInt
    """How many share every batch of a training; with device: cpu, as many processes, to try it out. [GPUs]"""
    sync_batchnorm: bool
    """With several gpus, the discriminator normalises over the whole batch; false: over each GPU's share."""
    precision: Literal["fp32", "tf32", "bf16"]
    """Of the networks; losses and weights stay in fp32. `tf32`: fp32 with factors of products rounded to 10
    bits, on NVIDIA GPUs from Ampere on; `bf16`: autocast."""
    steps_per_epoch: PositiveInt
    """Length of an epoch, except for a model that has its own. [steps]"""
    compile: Literal[True, False, "reduce-overhead"]
    """Use torch.compile: minutes at the start, then faster on most GPUs; `reduce-overhead` also replays CUDA
    graphs, for small patches, where launching kernels takes longer than running them."""
    gradient_checkpointing: bool
    """Compute the generator's blocks twice instead of keeping them, for GPUs with little memory."""
    accumulate: PositiveInt
    """Parts of a batch that are computed one by one to save memory; batch statistics are per part. [parts]"""
    ema: Annotated[float, Field(gt=0, lt=1)] | None
    """Decay, such as 0.999, of a moving average of the generator, which is then the result; null: off."""
    log_every: PositiveInt
    """Interval between rows of the history. [steps]"""
    validate_every: PositiveInt
    """Interval between validations. [steps]"""
    validation_patches: PositiveInt
    """How many patches a validation has, the same ones each time. [patches]"""
    checkpoint_every: PositiveInt
    """Interval between checkpoints, from which a killed training goes on. [steps]"""


class Table1(Section):
    """Table 1: every model with every mask and seed is one adversarial training."""

    models: list[Name] = Field(min_length=1)
    """Entries of models."""
    masks: list[Name] = Field(min_length=1)
    """Entries of masks; `none`, which the others are compared with, must be one of them."""
    seeds: list[Seed] = Field(min_length=1)
    """Seeds of starts and trainings; with several, Table 1 has spreads."""


class Sweep(Section):
    """Figure 5: ``mask``, with every pair of these k and b in place of its own."""

    model: Name
    """One of table1.models; every point begins from its start."""
    mask: Name
    """An entry of masks, not of kind none."""
    k: list[Annotated[Pointed, Field(ge=0)]] = Field(min_length=1)
    """Values in place of the mask's own k; names of stages and folders have them as they are written: `2.0`,
    never `2`. [as masks.MASK.k]"""
    b: list[Pointed] = Field(min_length=1)
    """Values in place of its own b, likewise."""
    seeds: list[Seed] = Field(min_length=1)
    """Some of table1.seeds, which train the starts."""


class Crop(Section):
    """A detail of every variant in Figure 4: whole LR pixels, so top, left and size are multiples of 4."""

    set: Name
    """One of data.test."""
    image: Annotated[int, Field(ge=0)]
    """Which image of the set, counted from 0."""
    top: Annotated[int, Field(ge=0, multiple_of=4)]
    """From the upper edge. [HR pixels]"""
    left: Annotated[int, Field(ge=0, multiple_of=4)]
    """From the left edge. [HR pixels]"""
    size: Annotated[int, Field(ge=16, multiple_of=4)]
    """Side of the square. [HR pixels]"""


class Figure4(Section):
    """Figure 4: details before and after, chosen by two rules, so that none is cherry-picked, and by hand."""

    size: Annotated[int, Field(ge=16, le=512, multiple_of=4)]
    """Side of the squares that the rules choose. [HR pixels]"""
    largest_difference: Annotated[int, Field(ge=0, le=20)]
    """How many details where masked and baseline outputs differ most, by the mean absolute difference of luma
    over the square, averaged over the models; at most one per image. [details]"""
    search: PositiveInt | None
    """How many images of each test set, the first ones, are searched for them; null: all. [images]"""
    random: Annotated[int, Field(ge=0, le=20)]
    """How many details chosen at random: each image, and each place in it, is equally likely. [details]"""
    seed: Seed
    """Seed of that random choice."""
    crops: list[Crop]
    """Details chosen by hand, as the paper's are; may be empty."""


class Resources(Section):
    """What `python -m masksr cluster` reserves for one stage."""

    cpus: PositiveInt
    """Cores to reserve, and threads to compute with. [cores]"""
    gpus: PositiveInt | Annotated[float, Field(ge=0, le=1)]
    """Whole GPUs, or a fraction of one for stages that share it. [GPUs]"""
    memory_gb: Positive
    """Main memory. [10^9 bytes]"""


class Params(Section):
    """The whole file."""

    profile: Name
    """Names the folders of every result, so that profiles live side by side."""
    data: Data
    """What is trained and tested on."""
    weights: Weights
    """What judges images."""
    measures: Measures
    """What else pictures are measured by."""
    train: Train
    """How trainings are computed."""
    models: dict[Name, Model]
    """Recipes by name, from which table1.models and sweep.model choose."""
    masks: dict[Name, Mask]
    """Masks by name, from which table1.masks and sweep.mask choose; one entry is named none."""
    table1: Table1
    """The trainings of Table 1."""
    sweep: Sweep
    """The trainings of Figure 5."""
    figure4: Figure4
    """The details of Figure 4."""
    cluster: dict[str, Resources]
    """What to reserve, by the name of a stage in dvc.yaml; `others` for those without an entry."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        table1, sweep = self.table1, self.sweep
        for key, names, known in (
            ("table1.models", table1.models, self.models),
            ("table1.masks", table1.masks, self.masks),
            ("sweep.mask", [sweep.mask], self.masks),
            ("sweep.model (it starts from the start of table1.models)", [sweep.model], table1.models),
            ("sweep.seeds (they start from the starts of table1.seeds)", sweep.seeds, table1.seeds),
            ("figure4.crops", [crop.set for crop in self.figure4.crops], self.data.test),
        ):
            for name in names:
                _check(name in known, f"{key}: there is no {name!r}{suggest(name, known)}")
        _check(self.masks[sweep.mask].kind != "none", "sweep.mask: a mask of kind none has no k and b")
        _check("start" not in self.masks, "masks: none may be named start, as what comes before the GAN is")
        plain = {name for name, mask in self.masks.items() if mask.kind == "none"}
        _check(plain == {"none"}, "masks: one entry, named none, has kind none")
        _check("none" in table1.masks, "table1.masks: must hold none, which the others are compared with")
        differs = table1.masks != ["none"] or not self.figure4.largest_difference
        _check(differs, "figure4.largest_difference: no mask in table1.masks differs from none; set it to 0")
        details = self.figure4.largest_difference + self.figure4.random + len(self.figure4.crops)
        _check(details, "figure4: shows nothing; set largest_difference or random to 1, or name crops")
        _check("others" in self.cluster, "cluster.others: this key is missing (for stages without an entry)")
        return self

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        sets = [self.data.train, self.data.validation, *self.data.test]
        different = f"data: train, validation and test must be different sets, got {', '.join(sets)}"
        _check(len(set(sets)) == len(sets), different)
        columns = {"block", "variant", "metric", "seeds", "images", "without_pi", "mean"}
        taken = sorted(columns & {*self.data.test})
        _check(not taken, f"data.test: tables have columns named {', '.join(taken)}; rename the set")
        titles = [self.models[name].title for name in dict.fromkeys([*self.table1.models, self.sweep.model])]
        titles += {"HR", "bicubic"} & {*self.models}  # they are rows of their own
        different = f"models: needs different titles, none HR or bicubic, got {', '.join(titles)}"
        _check(len({"HR", "bicubic", *titles}) == len(titles) + 2, different)
        lists = "table1.models table1.masks table1.seeds sweep.k sweep.b sweep.seeds measures.also"
        for key in lists.split():
            values = attrgetter(key)(self)
            _check(len(set(values)) == len(values), f"{key}: {values} names something twice")
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        parts, gpus = self.train.accumulate, self.train.gpus
        for model in self.table1.models:
            batch = self.models[model].batch
            named = f"models.{model}.batch ({batch})"
            divides = batch % (parts * gpus) == 0 and batch >= 2 * parts
            both = f"train.accumulate ({parts}) and train.gpus ({gpus})"
            _check(divides, f"{both} must divide {named}, into parts of 2 or more")
            few = f"train.gpus: {gpus} leaves each GPU one patch of {named}; set train.sync_batchnorm to true"
            _check(batch >= 2 * parts * gpus or self.train.sync_batchnorm, few)
        return self

    def check_stages(self, stages: Collection[str]) -> None:
        """Raise MasksrError where ``cluster`` has a name that is none of ``stages``, those of dvc.yaml."""
        for name in self.cluster.keys() - {*stages, "others"}:
            raise MasksrError(f"params.yaml: cluster: dvc.yaml has no stage {name!r}{suggest(name, stages)}")

    @property
    def judged_mask(self) -> str | None:
        """The mask of Table 1 that stands for the paper's: ``paper``, or else the first of kind ``error``."""
        masks = [name for name in self.table1.masks if self.masks[name].kind == "error"]
        return "paper" if "paper" in self.table1.masks else next(iter(masks), None)

    def model(self, name: str) -> Model:
        """Return the entry ``name`` of ``models``. Raises MasksrError where there is none."""
        return _find(name, "models", self.models)

    def train_of(self, model: str) -> Train:
        """Return ``train`` as it applies to ``models.<model>``, whose own steps_per_epoch comes first."""
        own = self.models[model].steps_per_epoch
        return self.train.model_copy(update={"steps_per_epoch": own or self.train.steps_per_epoch})

    def mask(self, name: str, k: float | None = None, b: float | None = None) -> Mask:
        """Return the entry ``name`` of ``masks``; with k and b, the point of Figure 5 that has these instead.

        Raises MasksrError where there is no such entry, or where it cannot have that k or b.
        """
        found = _find(name, "masks", self.masks)
        changes = {key: float(value) for key, value in {"k": k, "b": b}.items() if value is not None}
        if not changes:
            return found
        try:
            return Mask.model_validate(found.model_dump(exclude_unset=True) | changes)
        except ValidationError as error:
            raise MasksrError(f"mask {name} with {changes}: {error.errors()[0]['msg']}") from None


def _find(name: str, section: str, entries: Mapping[str, Any]) -> Any:
    if name not in entries:
        raise MasksrError(f"params.yaml: {section}: there is no {name!r}{suggest(name, entries)}")
    return entries[name]


def suggest(name: object, known: Iterable[object]) -> str:
    """Say, in brackets for the end of a message, what could have been meant by a name that is not known."""
    names = [str(one) for one in known]
    close = difflib.get_close_matches(str(name), names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are: {', '.join(names)})"


def _one_line(error: ValidationError, path: Path) -> str:
    """Describe the first thing wrong as ``file: the.key: what``; pydantic would print a page."""
    # An unknown key comes first: it is the one that can say what was meant.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = list(map(str, first["loc"]))
    if location[2:3] == ["generator"]:  # pydantic names the branch of the union here; params.yaml does not
        del location[3:4]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        keys = {key for section in [Phase, *Section.__subclasses__()] for key in section.model_fields}
        close = suggest(location[-1], keys)
        message = "unknown key" + (close if "did you mean" in close else "")
    elif first["type"] == "missing":
        message = "this key is missing"
    elif not isinstance(first["input"], dict | BaseModel):
        message += f", got {first['input']!r:.200}"
    where = ".".join(location) + ": " if location else ""
    more = error.error_count() - 1
    return f"{path.name}: {where}{message}" + (f" (and {more} more)" if more else "")


def load(path: Path | str | None = None) -> Params:
    """Read and check ``params.yaml`` (of the project, when no path is given).

    Raises MasksrError with one line that names the wrong key.
    """
    path = Path(path) if path else project_root() / "params.yaml"
    try:
        return Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise MasksrError(_one_line(error, path)) from None
