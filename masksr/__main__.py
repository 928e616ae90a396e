"""The command line: ``python -m masksr`` or ``masksr``. Each command imports only what it needs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from masksr.errors import MasksrError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 after an error the user can mend, 130 when interrupted."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if any(word.startswith("-") for word in more) or (more and options.command is not _run):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if more:  # argparse of Python 3.11 leaves out what follows an option
        options.parameters += more
    try:
        options.command(options)
    except MasksrError as error:
        print(f"masksr: error: {error}", file=sys.stderr)
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

    report = commands.add_parser("report", help="join the executed notebooks of the current profile to one HTML page")
    report.set_defaults(command=_report)

    check = commands.add_parser("check", help="validate params.yaml")
    check.add_argument("-o", "--output", type=Path, help="also write that it is valid to this file")
    check.set_defaults(command=_check)
    return parser


def _run(options: argparse.Namespace) -> None:
    # jsonschema (under nbformat) compiles a grammar of web addresses when it finds this package: 0.9 s in every stage.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from masksr import project
    from masksr.notebook import run_notebook
    from masksr.notebook_parameters import parsed

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if "DVC_STAGE" in os.environ:
        _end_with_parent()
    parameters = parsed(options.notebook, options.parameters)
    run_notebook(options.notebook, options.output, parameters, root=project.root())


def _end_with_parent() -> None:
    """Terminate when the parent ends: DVC, when killed, does not take its running stage along."""
    parent, main_thread = os.getppid(), threading.main_thread().ident

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        signal.pthread_kill(main_thread, signal.SIGTERM)

    if hasattr(signal, "pthread_kill"):
        threading.Thread(target=watch, daemon=True).start()


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


def _check(options: argparse.Namespace) -> None:
    from masksr import params

    params.load()
    print("params.yaml is valid")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("params.yaml is valid\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
