"""The command line: ``python -m masksr`` or ``masksr``. Each command imports only what it needs.

The options of a command are the decorators above the function it calls, and the parameters of that function;
an option that is not given is not passed, so that a default is written once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from masksr.errors import MasksrError

MODELS = ("esrgan", "pesr", "edsr")
DEVICES = ("auto", "cpu", "cuda", "mps")
INPUTS = "pictures, folders of them, or patterns of names"
ALSO = "further measures of pyiqa, such as lpips,dists"
RES_SCALE = "of EDSR and PESR, where the weights do not tell"
STATUS = """\
exit status:
  0    done
  1    an error that you can mend: a line says how
  2    a wrong command line
  130  interrupted"""
COMMANDS: dict[str, Callable[..., None]] = {}  # in the order in which people meet them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 after an error the user can mend, 130 if interrupted."""
    options = vars(parse(arguments))
    try:
        COMMANDS[options.pop("command")](**options)
    except MasksrError as error:
        print(f"masksr: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("masksr: interrupted", file=sys.stderr)
        return 130
    return 0


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The given options of a command line, and ``command``, its name. Exits with 2 where it is wrong."""
    whole = argparse.ArgumentParser(
        prog="masksr",
        description="An image mask for GAN super-resolution, reproduced.",
        epilog=f"more of one command:\n  python -m masksr COMMAND --help\n\n{STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, function in COMMANDS.items():
        what, examples = function.help
        lines = [f"  python -m masksr {name} {example}".rstrip() for example in examples]
        one = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog="\n".join(["examples:", *lines, "", STATUS]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
        )
        for flags, settings in reversed(function.options):
            one.add_argument(*flags, **settings)
    options, more = whole.parse_known_args(words)
    # Of what may be repeated, argparse of Python 3.11 leaves out the words that follow an option.
    known = COMMANDS[options.command].options
    rest = [flags[0] for flags, settings in known if settings.get("nargs") in ("*", "+")]
    if any(word.startswith("-") for word in more) or (more and not rest):
        whole.error(f"unrecognized arguments: {' '.join(more)}")
    if more:
        setattr(options, rest[0], [*getattr(options, rest[0], []), *more])
    return options


def command(what: str, *examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of its name. what: the line of the help; examples: right command lines."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        function.help, function.options = (what, examples or ("",)), getattr(function, "options", [])
        COMMANDS[function.__name__] = function
        return function

    return add


def option(*flags: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option of the command below, as ``argparse.ArgumentParser.add_argument`` takes it."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        function.options = [*getattr(function, "options", []), (flags, settings)]
        return function

    return add


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def whole_number(text: str) -> int:
    return 0 if text == "0" else positive(text)


# Before a run


@command("validate params.yaml")
@option("--record", action="store_true", help="also write that it is valid to runs/PROFILE/params.txt")
def check(record: bool = False) -> None:
    from masksr import params, project
    from masksr.documents import read_yaml
    from masksr.files import write_atomic
    from masksr.paths import Paths
    from masksr.quality import measures

    settings = params.load()
    if pipeline := read_yaml(project.root() / "dvc.yaml"):
        settings.check_stages(pipeline["stages"])
    measures.check(settings.measures.also)
    print("params.yaml is valid")
    if record:
        write_atomic(Paths.of(settings).runs / "params.txt", b"params.yaml is valid\n")


@command("explain every key of params.yaml, as docs/params.md does")
def params() -> None:
    from masksr.tools import reference

    print(reference.markdown(), end="")


@command("count what the trainings will cost: operations, hours, memory", "--tflops 150")
@option("--tflops", type=float, help="TFLOP/s that the machine sustains (default: a guess)")
def cost(tflops: float | None = None) -> None:
    from masksr import params
    from masksr.training.cost import describe_costs

    print(describe_costs(params.load(), tflops))


@command("get data sets and weights that are not on this disk", "", "--list", "Set5 BSD100 niqe")
@option("names", nargs="*", metavar="NAME", help="of data/registry.yaml; none: what params.yaml needs")
@option("--list", action="store_true", help="only show what is where, what it would cost, and its licence")
@option("--verify", action="store_true", help="only compare the checksums of all that was fetched")
def fetch(names: Sequence[str] = (), list: bool = False, verify: bool = False) -> None:
    from masksr import params
    from masksr.fetch import catalogue
    from masksr.paths import data_folder

    settings = params.load()
    folder = data_folder(settings)
    if list:
        print(catalogue.listing(catalogue.specs(names), folder))
        return
    problems = []
    for spec in catalogue.specs(names if verify or names else catalogue.needed(settings)):
        limit = None if names else settings.data.limit_of(spec.name)
        try:
            found = catalogue.verify(spec) if verify else catalogue.get(spec, folder, limit)
        except MasksrError as problem:  # the others may be in order
            problems.append(str(problem))
        else:
            if found or names:
                print(f"{spec.name}: {found or 'not in the cache'}", flush=True)
    if problems:
        raise MasksrError("\n".join(problems))


# Running


@command(
    "execute one notebook with parameters, as a stage does", "notebooks/40_compare.ipynb -o x.ipynb a=mini"
)
@option("notebook", type=Path, metavar="NOTEBOOK")
@option("-o", "--output", type=Path, required=True, help="where the executed notebook goes")
@option("parameters", nargs="*", metavar="name=value", help="replaces a default of the parameters cell")
def run(notebook: Path, output: Path, parameters: Sequence[str] = ()) -> None:
    from masksr import project
    from masksr.notebook import parse_parameters, run_notebook

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the kernel ends too
    run_notebook(notebook, output, parse_parameters(notebook, parameters), root=project.root())


@command("run what is out of date, independent stages side by side", "--dry", "--jobs 8 table1")
@option("targets", nargs="*", metavar="STAGE", help="with what it needs; none: the whole pipeline")
@option("--address", metavar="HOST:PORT", help="a running Ray cluster; none: a Ray of its own, here")
@option("--jobs", type=positive, metavar="N", help="CPUs to share out here (default: all)")
@option("--dry", action="store_true", help="only print what would run, and with what")
def cluster(targets: Sequence[str] = (), **settings: Any) -> None:
    from masksr import cluster

    cluster.run(targets, **settings)


# After a run


@command("print Table 1 and where the report is")
def summary() -> None:
    from masksr import params, project

    results = project.root() / "results" / params.load().profile
    table, page = results / "table1.md", results / "report.html"
    if not table.exists():
        raise MasksrError(f"{table.relative_to(project.root())} does not exist yet; make it with: make repro")
    print(table.read_text(encoding="utf-8").rstrip())
    print(f"\nThe whole report: {page if page.exists() else 'build it with make report'}")


@command("join the executed notebooks to one HTML page, and record what they were made from")
def report() -> None:
    from masksr import params, project
    from masksr.notebook import guard_inputs
    from masksr.paths import Paths
    from masksr.report.story import write_report

    settings = params.load()
    with guard_inputs(project.root()):
        print(write_report(settings, Paths.of(settings)))


@command("print that page with Chromium")
def pdf() -> None:
    from masksr import params
    from masksr.paths import Paths
    from masksr.report.pdf import write_pdf

    results = Paths.of(params.load()).results
    write_pdf(results / "report.html", results / "report.pdf")
    print(results / "report.pdf")


@command("tell whether the files of a profile are those that were recorded", "", "mini")
@option("profile", nargs="?", metavar="PROFILE", help="default: that of params.yaml")
def verify(profile: str | None = None) -> None:
    from masksr import provenance

    provenance.verify(profile)


SIDE = "a profile, a folder with quality.csv, such a file, or one of these in a commit: REV:results/PROFILE"


@command(
    "tell what differs between two runs, and how sure that is",
    "mini study_cpu",
    "HEAD~1:results/mini mini --set cat",
    "esrgan.csv mine.csv --measure psnr",
)
@option("a", metavar="A", help=SIDE)
@option("b", metavar="B", help="likewise; differences are B minus A")
@option("--set", action="append", metavar="NAME", help="a test set; more than one: --set X --set Y")
@option("--measure", choices=["pi", "niqe", "ma", "psnr", "ssim", "rmse"], help="default: pi")
def compare(a: str, b: str, set: Sequence[str] = (), **settings: Any) -> None:
    from masksr.results import compare

    compare.run(a, b, sets=set, **settings)


# With pictures of one's own


@command(
    "score a checkpoint, public or yours, on the test sets",
    "--checkpoint esrgan --model esrgan --set Set14 -o quality.csv",
)
@option("--checkpoint", required=True, metavar="FILE", help="a file, or a name of data/registry.yaml")
@option("--model", required=True, choices=MODELS)
@option("--set", action="append", metavar="NAME", help="a test set; more than one: --set X --set Y")
@option("--limit", type=positive, metavar="N", help="at most this many images of each set")
@option("--res-scale", type=float, metavar="X", help=RES_SCALE)
@option("--also", type=names, metavar="NAMES", help=f"{ALSO} (default: those of params.yaml)")
@option("-o", "--output", type=Path, metavar="CSV", help="also write a row for each image to this file")
def evaluate(checkpoint: str, model: str, set: Sequence[str] = (), **settings: Any) -> None:
    from masksr import params
    from masksr.tools import pretrained

    pretrained.run(params.load(), checkpoint, model, sets=set, **settings)


@command("enlarge your own pictures four times, as PNG", "holiday/*.jpg -o large --model esrgan")
@option("inputs", nargs="+", metavar="INPUT", help=INPUTS)
@option("-o", "--output", type=Path, required=True, metavar="DIR", help="where the PNG files go")
@option("--model", required=True, choices=MODELS)
@option(
    "--checkpoint",
    metavar="FILE",
    help="a file, or a name of data/registry.yaml (default: what the profile trained with the paper's mask)",
)
@option("--tile", type=positive, metavar="N", help="LR pixels a side at once; bounds the memory")
@option("--overlap", type=int, metavar="N", help="LR pixels of context around a tile")
@option("--precision", choices=["fp32", "bf16"])
@option("--device", choices=DEVICES)
@option("--res-scale", type=float, metavar="X", help=RES_SCALE)
@option("--overwrite", action="store_true", help="also make again what is in DIR already")
def upscale(inputs: Sequence[str], output: Path, model: str, **settings: Any) -> None:
    from masksr.tools import upscale

    upscale.run(inputs, output, model, **settings)


@command(
    "measure pictures: PI, NIQE, Ma; with HR also PSNR-Y and more",
    "large -o quality.csv",
    "results_of/esrgan results_of/mine --hr Set14/HR",
)
@option("inputs", nargs="+", metavar="INPUT", help=INPUTS)
@option(
    "--hr",
    metavar="FOLDER",
    help="the HR pictures, a folder or a pattern; SR may be called the same, or with _x4, SR or out after it",
)
@option("--scale", type=positive, metavar="N", help="HR is cut to multiples of it (default: 4)")
@option("--border", type=whole_number, metavar="N", help="pixels a side that do not count (default: 4)")
@option("--device", choices=DEVICES)
@option("--also", type=names, metavar="NAMES", help=ALSO)
@option("-o", "--output", type=Path, metavar="CSV", help="also write a row for each image to this file")
def score(inputs: Sequence[str], **settings: Any) -> None:
    from masksr.tools import score

    score.run(inputs, **settings)
