"""The command line: ``python -m masksr`` or ``masksr``. Each command imports only what it needs."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from masksr.errors import MasksrError
from masksr.stage import as_stage
from masksr.terminal import shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 after an error the user can mend, 130 when interrupted."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    rest = {_run: "parameters", _upscale: "inputs", _cluster: "targets"}.get(options.command)
    if any(word.startswith("-") for word in more) or (more and not rest):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if more:  # argparse of Python 3.11 leaves out what follows an option
        getattr(options, rest).extend(more)
    try:
        with as_stage():
            options.command(options)
    except MasksrError as error:
        print(f"masksr: error: {shown(error, keep=chr(10))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("masksr: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="masksr", description="An image mask for GAN super-resolution, reproduced.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="execute one notebook with parameters; the stages of dvc.yaml do this")
    run.add_argument("notebook", type=Path, metavar="NOTEBOOK")
    run.add_argument("-o", "--output", type=Path, required=True, help="where the executed notebook goes")
    run.add_argument("parameters", nargs="*", metavar="name=value", help="replaces a default of the parameters cell")
    run.set_defaults(command=_run)

    summary = commands.add_parser("summary", help="print Table 1 of the current profile and where its report lies")
    summary.set_defaults(command=_summary)

    fetch = commands.add_parser("fetch", help="get data sets and weights that are not on this disk")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="of data/registry.yaml; none: what params.yaml needs")
    what = fetch.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show what is where, what it would cost, and its licence")
    what.add_argument("--verify", action="store_true", help="compare the checksums of all that was fetched")
    fetch.set_defaults(command=_fetch)

    evaluate = commands.add_parser("evaluate", help="score a checkpoint, public or your own, under the same protocol")
    evaluate.add_argument("--checkpoint", required=True, metavar="FILE", help="a file, or a name of data/registry.yaml")
    evaluate.add_argument("--model", required=True, choices=["esrgan", "pesr", "edsr"])
    evaluate.add_argument("--set", action="append", metavar="NAME", help="a test set; more than one: --set A --set B")
    evaluate.add_argument("--limit", type=_positive, help="at most this many images of each set")
    evaluate.add_argument("--res-scale", type=float, help="of EDSR and PESR, where the weights do not tell")
    evaluate.add_argument("-o", "--output", type=Path, help="also write a row for each image to this CSV")
    evaluate.set_defaults(command=_evaluate)

    upscale = commands.add_parser("upscale", help="enlarge your own pictures four times, as PNG")
    upscale.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures, folders of them, or patterns of names")
    upscale.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    upscale.add_argument("--model", required=True, choices=["esrgan", "pesr", "edsr"])
    unset = {"default": argparse.SUPPRESS}  # so that the defaults stand in masksr.upscale alone
    upscale.add_argument(
        "--checkpoint",
        metavar="FILE",
        **unset,
        help="a file, or a name of data/registry.yaml; "
        "default: the generator that the current profile trained with the paper's mask",
    )
    upscale.add_argument(
        "--tile", type=_positive, **unset, help="LR pixels a side that are upscaled at once; bounds memory"
    )
    upscale.add_argument("--overlap", type=int, **unset, help="LR pixels of context around what is kept of a tile")
    upscale.add_argument("--precision", choices=["fp32", "bf16"], **unset)
    upscale.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], **unset)
    upscale.add_argument("--res-scale", type=float, **unset, help="of EDSR and PESR, where the weights do not tell")
    upscale.add_argument("--overwrite", action="store_true", help="also make again what is in DIR already")
    upscale.set_defaults(command=_upscale)

    cost = commands.add_parser("cost", help="what the trainings of params.yaml cost: operations, memory, hours, disk")
    cost.add_argument("--tflops", type=float, help="TFLOP/s that the machine sustains (default: a guess)")
    cost.set_defaults(command=_cost)

    cluster = commands.add_parser("cluster", help="bring the pipeline up to date, independent stages side by side")
    cluster.add_argument("targets", nargs="*", metavar="STAGE", help="with what it needs; none: the whole pipeline")
    cluster.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster; none: a Ray of its own, here")
    cluster.add_argument("--jobs", type=_positive, metavar="N", help="CPUs to share out here (default: all)")
    only = cluster.add_mutually_exclusive_group()
    only.add_argument("--dry", action="store_true", help="only print what would run, with what, and the longest chain")
    only.add_argument("--simulate", type=_numbers, metavar="N,N", help="only print how long it would take on N GPUs")
    cluster.set_defaults(command=_cluster)

    report = commands.add_parser("report", help="join the executed notebooks of the current profile to one HTML page")
    report.set_defaults(command=_report)

    verify = commands.add_parser("verify", help="whether the page, the tables and the weights belong together")
    verify.add_argument("profile", nargs="?", metavar="PROFILE", help="default: that of params.yaml")
    verify.set_defaults(command=_verify)

    check = commands.add_parser("check", help="validate params.yaml")
    check.add_argument("--record", action="store_true", help="also write that it is valid to runs/PROFILE/params.txt")
    check.set_defaults(command=_check)
    return parser


def _run(options: argparse.Namespace) -> None:
    # jsonschema (under nbformat) compiles a grammar of web addresses when it finds this package: 0.9 s in every stage.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from masksr import project
    from masksr.notebook import run_notebook
    from masksr.notebook_parameters import parsed

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parameters = parsed(options.notebook, options.parameters)
    run_notebook(options.notebook, options.output, parameters, root=project.root())


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _numbers(text: str) -> list[int]:
    return [_positive(number) for number in text.split(",")]


def _cluster(options: argparse.Namespace) -> None:
    from masksr.cluster import command

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "targets")}
    command.run(options.targets, **settings)


def _fetch(options: argparse.Namespace) -> None:
    from masksr import params
    from masksr.fetch import catalogue
    from masksr.paths import data_folder

    settings = params.load()
    folder = data_folder(settings)
    if options.list:
        print(catalogue.listing(catalogue.specs(options.names), folder))
        return
    problems = []
    for spec in catalogue.specs(options.names if options.verify or options.names else catalogue.needed(settings)):
        limit = None if options.names else settings.data.limit_of(spec.name)
        try:
            found = catalogue.verify(spec) if options.verify else catalogue.get(spec, folder, limit)
        except MasksrError as problem:  # the others may be in order
            problems.append(str(problem))
        else:
            if found or options.names:
                print(f"{spec.name}: {found or 'not in the cache'}", flush=True)
    if problems:
        raise MasksrError("\n".join(problems))


def _evaluate(options: argparse.Namespace) -> None:
    from masksr import params, pretrained

    pretrained.run(
        params.load(),
        options.checkpoint,
        options.model,
        sets=options.set or (),
        limit=options.limit,
        res_scale=options.res_scale,
        output=options.output,
    )


def _upscale(options: argparse.Namespace) -> None:
    from masksr import upscale

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "output")}
    upscale.run(settings.pop("inputs"), options.output, settings.pop("model"), **settings)


def _cost(options: argparse.Namespace) -> None:
    from masksr import costs, params

    print(costs.describe(params.load(), options.tflops))


def _summary(_: argparse.Namespace) -> None:
    from masksr import params, project

    results = project.root() / "results" / params.load().profile
    table, report = results / "table1.md", results / "report.html"
    if not table.exists():
        raise MasksrError(f"{table.relative_to(project.root())} does not exist yet; make it with: make repro")
    print(table.read_text(encoding="utf-8").rstrip())
    print(f"\nThe whole report: {report}" if report.exists() else "\nThe whole report: build it with make report")


def _report(_: argparse.Namespace) -> None:
    from masksr import params
    from masksr.paths import Paths
    from masksr.report.story import write_report

    settings = params.load()
    print(write_report(settings, Paths.of(settings)))


def _verify(options: argparse.Namespace) -> None:
    from masksr import verify

    verify.run(options.profile)


def _check(options: argparse.Namespace) -> None:
    from masksr import params, project
    from masksr.documents import check_dvc_reads_the_same, read_yaml
    from masksr.files import write_atomic
    from masksr.paths import Paths

    settings = params.load()
    check_dvc_reads_the_same(project.root() / "params.yaml")
    if pipeline := read_yaml(project.root() / "dvc.yaml"):
        settings.check_stages(pipeline["stages"])
    print("params.yaml is valid")
    if options.record:
        write_atomic(Paths.of(settings).runs / "params.txt", b"params.yaml is valid\n")


if __name__ == "__main__":
    sys.exit(main())
