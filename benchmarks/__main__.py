"""``python -m benchmarks``: measure, write results as JSON and Markdown, print the latter."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

SECTIONS = ("steps", "patches", "quality", "pipeline", "upscale", "mask", "scaling")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_sections, default=SECTIONS, metavar="A,B", help=f"{', '.join(SECTIONS)}; "
                        "results that are there keep their other sections")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny networks and images: shows that everything runs")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where networks compute")
    parser.add_argument("-o", "--output", type=Path, metavar="NAME", help="for NAME.json and NAME.md")
    options = parser.parse_args(arguments)

    from masksr.errors import MasksrError

    try:
        _measure(options)
    except MasksrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace) -> None:
    from benchmarks import report, run  # they import torch, which reads the number of threads then

    name = options.output or Path(__file__).parent / "results" / (options.device + "-quick" * options.quick)
    words = [f"--device {options.device}", *["--quick"] * options.quick]
    words += [f"--only {','.join(options.only)}"] * (options.only != SECTIONS)
    begin = time.perf_counter()
    machine, tables = run.run(options.only, options.device, quick=options.quick)
    machine["minutes"] = round((time.perf_counter() - begin) / 60, 1)
    found = report.document(f"python -m benchmarks {' '.join(words)}", machine, tables)
    shown = report.as_markdown(found)
    there = name.with_name(f"{name.name}.json")
    if options.only != SECTIONS and there.is_file():
        found = report.merged(json.loads(there.read_text(encoding="utf-8")), found)
    name.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".json", report.as_json(found)), (".md", report.as_markdown(found))):
        name.with_name(name.name + suffix).write_text(text, encoding="utf-8")
    print(shown)


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    # One thread: what is compared is work, and a step on several cores would measure how busy they are.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    sys.exit(main())
