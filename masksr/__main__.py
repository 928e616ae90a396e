"""The command line: ``python -m masksr`` or ``masksr``. Each command imports only what it needs."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from masksr import command_line
from masksr.errors import MasksrError
from masksr.stage import as_stage
from masksr.terminal import shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 after an error the user can mend, 130 when interrupted."""
    options = command_line.parse(None if arguments is None else list(arguments))
    try:
        with as_stage():
            COMMANDS[options.command](options)
    except MasksrError as error:
        print(f"masksr: error: {shown(error, keep=chr(10))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("masksr: interrupted", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    # jsonschema (under nbformat) compiles a grammar of web addresses when it finds this package: 0.9 s in every stage.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from masksr import project
    from masksr.notebook import run_notebook
    from masksr.notebook_parameters import parsed

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parameters = parsed(options.notebook, options.parameters)
    run_notebook(options.notebook, options.output, parameters, root=project.root())


def _cluster(options: argparse.Namespace) -> None:
    from masksr import cluster

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "targets")}
    cluster.run(options.targets, **settings)


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
    from masksr import params
    from masksr.tools import pretrained

    pretrained.run(
        params.load(),
        options.checkpoint,
        options.model,
        sets=options.set or (),
        limit=options.limit,
        res_scale=options.res_scale,
        output=options.output,
        also=options.also,
    )


def _score(options: argparse.Namespace) -> None:
    from masksr.tools import score

    score.run(**{name: value for name, value in vars(options).items() if name != "command"})


def _compare(options: argparse.Namespace) -> None:
    from masksr.results import compare

    settings = {name: value for name, value in vars(options).items() if name == "measure"}
    compare.run(options.a, options.b, sets=options.set or (), **settings)


def _upscale(options: argparse.Namespace) -> None:
    from masksr.tools import upscale

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "output")}
    upscale.run(settings.pop("inputs"), options.output, settings.pop("model"), **settings)


def _params(_: argparse.Namespace) -> None:
    from masksr.tools import reference

    print(reference.markdown(), end="")


def _cost(options: argparse.Namespace) -> None:
    from masksr import params
    from masksr.training import costs

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


def _pdf(_: argparse.Namespace) -> None:
    from masksr import params
    from masksr.paths import Paths
    from masksr.report.pdf import write_pdf

    results = Paths.of(params.load()).results
    write_pdf(results / "report.html", output := results / "report.pdf")
    print(output)


def _verify(options: argparse.Namespace) -> None:
    from masksr.results import verify

    verify.run(options.profile)


def _check(options: argparse.Namespace) -> None:
    from masksr import params, project
    from masksr.documents import check_dvc_reads_the_same, read_yaml
    from masksr.files import write_atomic
    from masksr.paths import Paths
    from masksr.quality import measures

    settings = params.load()
    check_dvc_reads_the_same(project.root() / "params.yaml")
    if pipeline := read_yaml(project.root() / "dvc.yaml"):
        settings.check_stages(pipeline["stages"])
    measures.check(settings.measures.also)
    print("params.yaml is valid")
    if options.record:
        write_atomic(Paths.of(settings).runs / "params.txt", b"params.yaml is valid\n")


COMMANDS = {
    "check": _check,
    "params": _params,
    "cost": _cost,
    "fetch": _fetch,
    "run": _run,
    "cluster": _cluster,
    "summary": _summary,
    "report": _report,
    "pdf": _pdf,
    "verify": _verify,
    "compare": _compare,
    "evaluate": _evaluate,
    "upscale": _upscale,
    "score": _score,
}

if __name__ == "__main__":
    sys.exit(main())
