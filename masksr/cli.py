"""The command line: ``python -m masksr`` or ``masksr``. Each command imports only what it needs.

An option that is not given is not passed on: its default is that of the function that the command calls.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import argument, option

from masksr.io import MasksrError, project_root

if TYPE_CHECKING:
    from masksr.params import Params
    from masksr.paths import Paths

POSITIVE = click.IntRange(min=1)
FACTOR = click.FloatRange(min=0, min_open=True)
# Options and arguments that several commands take.
model = option("--model", required=True, type=click.Choice(["esrgan", "pesr", "edsr"]))
device = option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]))
res_scale = option("--res-scale", type=FACTOR, metavar="X", help="Of EDSR, PESR; where weights do not tell.")
test_sets = option("--set", "sets", multiple=True, metavar="NAME", help="A test set; more: --set X --set Y.")
csv = click.Path(dir_okay=False, path_type=Path)  # a folder is refused before the work
table = option("-o", "--output", type=csv, metavar="CSV", help="Also write a row for each image here.")
pictures = argument("inputs", nargs=-1, required=True, metavar="INPUT...")
ALSO = "Further measures of pyiqa, such as lpips,dists; of evaluate, in place of those of params.yaml."
further_measures = option("--also", type=lambda names: names.split(","), metavar="NAMES", help=ALSO)


class Command(click.Command):
    def invoke(self, context: click.Context) -> Any:
        context.params = {name: value for name, value in context.params.items() if value not in (None, ())}
        return super().invoke(context)


class Commands(click.Group):
    command_class = Command

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which people meet them


@click.group(cls=Commands, no_args_is_help=False, context_settings={"max_content_width": 110})
def app() -> None:
    """An image mask for GAN super-resolution, reproduced.

    Help on one command: python -m masksr COMMAND --help

    \b
    Exit status:
      0    done
      1    an error that you can mend: a line says how
      2    a wrong command line
      130  interrupted
    """


def _project() -> "tuple[Params, Paths]":
    """Load params.yaml, and the folders of its profile."""
    from masksr import params
    from masksr.paths import Paths

    settings = params.load()
    return settings, Paths.of(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    for stream in (sys.stdout, sys.stderr):  # characters that a terminal's encoding lacks are escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app.main(arguments, prog_name="masksr", standalone_mode=False) or 0
        sys.stdout.flush()
        return status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except MasksrError as error:
        print(f"masksr: error: {error}", file=sys.stderr)
        return 1
    except click.Abort:
        print("masksr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again on exit
        return 1


@app.command
@option("--record", is_flag=True, help="Also write down what it and the code say, to runs/PROFILE.")
def check(record: bool) -> None:
    """Validate params.yaml; repair what a killed DVC left truncated."""
    from masksr.io import read_yaml
    from masksr.quality import measures
    from masksr.repair import repair
    from masksr.stage import describe_inputs, write_inputs

    settings, paths = _project()
    if pipeline := read_yaml(paths.root / "dvc.yaml"):
        settings.check_stages(pipeline["stages"])
    measures.check(settings.measures.also)
    describe_inputs(paths.root, code=())  # this looks up the data sets
    print("params.yaml is valid")
    if record:
        write_inputs(paths.root, paths.runs)
    else:
        repair(paths.root)


@app.command
def params() -> None:
    """Explain every key of params.yaml, as docs/params.md does."""
    from masksr.tools import params_page

    print(params_page.markdown(), end="")


@app.command
@option("--tflops", type=float, help="TFLOP/s that the machine sustains (default: a guess).")
def cost(tflops: float | None = None) -> None:
    """Count what the trainings will cost: operations, hours, memory."""
    from masksr.training.cost import describe_costs

    print(describe_costs(_project()[0], tflops))


@app.command
@argument("names", nargs=-1, metavar="[NAME]...")
@option("--list", "only_list", is_flag=True, help="Only show what is where, its size and its licence.")
def fetch(only_list: bool, names: Sequence[str] = ()) -> None:
    """Download data sets and weights that are not on this disk.

    NAME: an entry of data/registry.yaml; without any, what params.yaml needs.

    python -m masksr fetch Set5 BSD100 niqe
    """
    from masksr.fetch import find

    if only_list:
        print(find.listing(names, _project()[0]))
    else:
        find.fetch(names, _project()[0])


@app.command
@argument("notebook", type=Path)
@option("-o", "--output", type=Path, required=True, help="Where the executed notebook goes.")
@argument("parameters", nargs=-1, metavar="[name=value]...")
def run(notebook: Path, output: Path, parameters: Sequence[str] = ()) -> None:
    """Execute one notebook with parameters, as a stage does.

    Each name=value replaces a default in the cell tagged "parameters".

    python -m masksr run notebooks/40_compare.ipynb -o x.ipynb a=mini
    """
    from masksr.notebook import parse_parameters, run_notebook

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the kernel ends too
    run_notebook(notebook, output, parse_parameters(notebook, parameters), root=project_root())


@app.command
@argument("targets", nargs=-1, metavar="[STAGE]...")
def plan(targets: Sequence[str] = ()) -> None:
    """Show what `dvc repro` would run, and what of that would train.

    python -m masksr plan table1
    """
    from masksr.plan import describe_plan

    os.environ["MASKSR_OFFLINE"] = "1"  # planning downloads nothing
    print(describe_plan(*_project(), targets))


@app.command
@argument("targets", nargs=-1, metavar="[STAGE]...")
@option("--address", metavar="HOST:PORT", help="A running Ray cluster; none: a Ray of its own, here.")
@option("--jobs", type=POSITIVE, metavar="N", help="CPUs to share out here (default: all).")
@option("--dry", is_flag=True, help="Only print what would run, and with what.")
def cluster(targets: Sequence[str] = (), **options: Any) -> None:
    """Run what is out of date, independent stages in parallel.

    STAGE: run with what it needs; without any, the whole pipeline runs.

    python -m masksr cluster --jobs 8 table1
    """
    from masksr import cluster

    cluster.run(targets, **options)


@app.command
def summary() -> None:
    """Print Table 1 and where the report is."""
    import pandas as pd

    results = _project()[1].results
    table, page, times = results / "table1.md", results / "report.html", results / "times.csv"
    if not table.exists():
        raise MasksrError(f"{table} does not exist yet; make it with: make repro")
    print(table.read_text(encoding="utf-8").rstrip())
    if times.exists():
        minutes = pd.read_csv(times).assign(stage=lambda rows: rows["stage"].str.partition("@")[0])
        minutes = minutes.groupby("stage", sort=False)["seconds"].sum() / 60
        longest = ", ".join(f"{stage} {spent:.1f}" for stage, spent in minutes.nlargest(4).items())
        print(f"\nMinutes spent on it here, all runs together: {minutes.sum():.1f} ({longest}; {times})")
    print(f"\nThe whole report: {page if page.exists() else 'build it with make report'}")


@app.command
@argument("profile", required=False)
def report(profile: str | None = None) -> None:
    """Join the executed notebooks into one HTML page.

    PROFILE: one that was run elsewhere; its page is made from the notebooks in results/PROFILE alone.
    """
    from masksr.paths import Paths
    from masksr.report.page import write_page_of, write_report
    from masksr.stage import guard_inputs

    settings, paths = _project()
    if profile not in (None, settings.profile):
        print(write_page_of(Paths(paths.root, profile)))
        return
    with guard_inputs(paths.root, "report"):
        print(write_report(settings, paths))


@app.command
def pdf() -> None:
    """Print the report as PDF with Chromium."""
    from masksr.report.page import write_pdf

    results = _project()[1].results
    write_pdf(results / "report.html", results / "report.pdf")
    print(results / "report.pdf")


@app.command
@argument("profile", required=False)
def verify(profile: str | None = None) -> None:
    """Check that the files of a profile are those that were recorded."""
    from masksr import provenance

    provenance.verify(profile)


@app.command
@argument("one", metavar="A")
@argument("other", metavar="B")
@test_sets
@option("--measure", type=click.Choice(["pi", "niqe", "ma", "psnr", "ssim", "rmse"]), help="Default: pi.")
def compare(**options: Any) -> None:
    """Show how two runs differ, and how certain that is. Differences are B minus A.

    A and B: a profile, a folder with a quality.csv, such a file, or one in a commit: REV:results/PROFILE.

    python -m masksr compare HEAD~1:results/mini mini --set cat
    """
    from masksr.results import compare

    compare.run(**options)


@app.command
@option("--checkpoint", required=True, metavar="FILE", help="A file, or a name of data/registry.yaml.")
@model
@test_sets
@option("--limit", type=POSITIVE, metavar="N", help="At most this many images of each set.")
@res_scale
@further_measures
@table
def evaluate(**options: Any) -> None:
    """Score a checkpoint, public or your own, on the test sets.

    python -m masksr evaluate --checkpoint esrgan --model esrgan --set Set14
    """
    from masksr.tools import pretrained

    pretrained.run(_project()[0], **options)


@app.command
@pictures
@option("-o", "--output", "out", type=Path, required=True, metavar="DIR", help="Where the PNG files go.")
@model
@option("--checkpoint", metavar="FILE", help="A file or name (default: what the profile trained).")
@option("--tile", type=POSITIVE, metavar="N", help="LR pixels a side at once; bounds the memory.")
@option("--overlap", type=int, metavar="N", help="LR pixels of context around a tile.")
@option("--precision", type=click.Choice(["fp32", "bf16"]))
@device
@res_scale
@option("--overwrite", is_flag=True, help="Also make again what is in DIR already.")
def upscale(**options: Any) -> None:
    """Enlarge your own pictures four times and save them as PNG.

    INPUT: pictures, folders of them, or patterns of names.

    python -m masksr upscale holiday/*.jpg -o large --model esrgan
    """
    from masksr.tools import upscale

    upscale.run(**options)


@app.command
@pictures
@option("--hr", metavar="FOLDER", help="HR pictures; SR has their names, maybe with _x4, SR or out added.")
@option("--scale", type=POSITIVE, metavar="N", help="HR is cut to multiples of it (default: 4).")
@device
@further_measures
@table
def score(**options: Any) -> None:
    """Score pictures by PI, NIQE, Ma; with HR also by PSNR-Y and more.

    INPUT: pictures, folders of them, or patterns of names.

    python -m masksr score results_of/esrgan results_of/mine --hr Set14/HR
    """
    from masksr.tools import score

    score.run(**options)
