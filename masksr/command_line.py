"""What ``python -m masksr`` understands: commands, options and their help. What they do stands in ``__main__``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

MODELS = ["esrgan", "pesr", "edsr"]
STATUS = """\
exit status:
  0    done
  1    an error that you can mend: a line says how
  2    a wrong command line
  130  interrupted"""
REST = {"run": "parameters", "cluster": "targets", "upscale": "inputs", "score": "inputs"}  # what may follow options
UNSET: dict[str, Any] = {"default": argparse.SUPPRESS}  # so that a default stands in one place, that of the function


def parse(words: list[str] | None) -> argparse.Namespace:
    """The command line as options, with the name of the command as ``command``. Exits with 2 where it is wrong."""
    options, more = (whole := parser()).parse_known_args(words)
    rest = REST.get(options.command)
    if any(word.startswith("-") for word in more) or (more and not rest):
        whole.error(f"unrecognized arguments: {' '.join(more)}")
    if more:  # argparse of Python 3.11 leaves out what follows an option
        getattr(options, rest).extend(more)
    return options


def parser() -> argparse.ArgumentParser:
    """Commands in the order in which people meet them: before a run, running, after it, with pictures of their own."""
    whole = argparse.ArgumentParser(
        prog="masksr",
        description="An image mask for GAN super-resolution, reproduced.",
        epilog=f"more of one command:\n  python -m masksr COMMAND --help\n\n{STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for add in (_before, _running, _after, _own_pictures):
        add(commands)
    return whole


def _command(commands: Any, name: str, what: str, *examples: str) -> argparse.ArgumentParser:
    lines = [f"  python -m masksr {name} {words}".rstrip() for words in examples]
    return commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog="\n".join(["example:" if len(lines) == 1 else "examples:", *lines, "", STATUS]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _before(commands: Any) -> None:
    check = _command(commands, "check", "validate params.yaml", "")
    check.add_argument("--record", action="store_true", help="also write that it is valid to runs/PROFILE/params.txt")

    _command(commands, "params", "explain every key of params.yaml, as docs/params.md does", "")

    cost = _command(commands, "cost", "count what the trainings will cost: hours, memory, disk", "--tflops 150")
    cost.add_argument("--tflops", type=float, help="TFLOP/s that the machine sustains (default: a guess)")

    fetch = _command(
        commands, "fetch", "get data sets and weights that are not on this disk", "--list", "Set5 BSD100 niqe"
    )
    fetch.add_argument("names", nargs="*", metavar="NAME", help="of data/registry.yaml; none: what params.yaml needs")
    what = fetch.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show what is where, what it would cost, and its licence")
    what.add_argument("--verify", action="store_true", help="compare the checksums of all that was fetched")


def _running(commands: Any) -> None:
    run = _command(
        commands,
        "run",
        "execute one notebook with parameters, as a stage does",
        "notebooks/40_compare.ipynb -o compare.ipynb a=mini b=study_cpu",
    )
    run.add_argument("notebook", type=Path, metavar="NOTEBOOK")
    run.add_argument("-o", "--output", type=Path, required=True, help="where the executed notebook goes")
    run.add_argument("parameters", nargs="*", metavar="name=value", help="replaces a default of the parameters cell")

    cluster = _command(
        commands, "cluster", "run what is out of date, independent stages side by side", "--dry", "--jobs 8 table1"
    )
    cluster.add_argument("targets", nargs="*", metavar="STAGE", help="with what it needs; none: the whole pipeline")
    cluster.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster; none: a Ray of its own, here")
    cluster.add_argument("--jobs", type=_positive, metavar="N", help="CPUs to share out here (default: all)")
    cluster.add_argument("--dry", action="store_true", help="only print what would run, and with what")


def _after(commands: Any) -> None:
    _command(commands, "summary", "print Table 1 and where the report lies", "")
    _command(commands, "report", "join the executed notebooks to one HTML page", "")
    _command(commands, "pdf", "print that page with Chromium", "")

    verify = _command(commands, "verify", "tell whether page, tables and weights belong together", "mini")
    verify.add_argument("profile", nargs="?", metavar="PROFILE", help="default: that of params.yaml")

    compare = _command(
        commands,
        "compare",
        "tell what differs between two runs, and how sure that is",
        "mini study_cpu",
        "HEAD~1:results/mini mini --set cat",
        "esrgan.csv mine.csv --measure psnr",
    )
    side = "a profile, a folder with quality.csv, such a file, or one of these in a commit: REV:results/PROFILE"
    compare.add_argument("a", metavar="A", help=side)
    compare.add_argument("b", metavar="B", help="likewise; differences are B minus A")
    compare.add_argument("--set", action="append", metavar="NAME", help="a test set; more than one: --set X --set Y")
    compare.add_argument("--measure", choices=["pi", "niqe", "ma", "psnr", "ssim", "rmse"], **UNSET, help="default: pi")


def _own_pictures(commands: Any) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "score a checkpoint, public or yours, on the test sets",
        "--checkpoint esrgan --model esrgan --set Set14 -o quality.csv",
    )
    evaluate.add_argument("--checkpoint", required=True, metavar="FILE", help="a file, or a name of data/registry.yaml")
    evaluate.add_argument("--model", required=True, choices=MODELS)
    evaluate.add_argument("--set", action="append", metavar="NAME", help="a test set; more than one: --set X --set Y")
    evaluate.add_argument("--limit", type=_positive, metavar="N", help="at most this many images of each set")
    evaluate.add_argument(
        "--res-scale", type=float, metavar="X", help="of EDSR and PESR, where the weights do not tell"
    )
    further = "further measures of pyiqa, such as lpips,dists"
    default = f"{further} (default: those of params.yaml)"
    evaluate.add_argument("--also", type=_names, metavar="NAMES", help=default)
    evaluate.add_argument(
        "-o", "--output", type=Path, metavar="CSV", help="also write a row for each image to this file"
    )

    upscale = _command(
        commands,
        "upscale",
        "enlarge your own pictures four times, as PNG",
        "holiday/*.jpg -o large --model esrgan",
    )
    upscale.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures, folders of them, or patterns of names")
    upscale.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    upscale.add_argument("--model", required=True, choices=MODELS)
    named = "a file, or a name of data/registry.yaml (default: what the current profile trained with the paper's mask)"
    upscale.add_argument("--checkpoint", metavar="FILE", **UNSET, help=named)
    upscale.add_argument(
        "--tile", type=_positive, metavar="N", **UNSET, help="LR pixels a side at once; bounds the memory"
    )
    upscale.add_argument("--overlap", type=int, metavar="N", **UNSET, help="LR pixels of context around a tile")
    upscale.add_argument("--precision", choices=["fp32", "bf16"], **UNSET)
    upscale.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], **UNSET)
    upscale.add_argument(
        "--res-scale", type=float, metavar="X", **UNSET, help="of EDSR and PESR, where the weights do not tell"
    )
    upscale.add_argument("--overwrite", action="store_true", help="also make again what is in DIR already")

    score = _command(
        commands,
        "score",
        "measure pictures: PI, NIQE, Ma; with HR also PSNR-Y and more",
        "large -o quality.csv",
        "results_of/esrgan results_of/mine --hr Set14/HR",
    )
    score.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures, folders of them, or patterns of names")
    same = "the HR pictures, a folder or a pattern; SR may be called the same, or the same with _x4, SR or out after it"
    score.add_argument("--hr", metavar="FOLDER", **UNSET, help=same)
    score.add_argument(
        "--scale",
        type=_positive,
        metavar="N",
        **UNSET,
        help="HR is cut at the bottom and right to multiples of it (default: 4)",
    )
    score.add_argument(
        "--border", type=_whole, metavar="N", **UNSET, help="pixels a side that do not count (default: 4, as PIRM 2018)"
    )
    weights = "auto: those of the current profile, else the official ones (default); standin: what the profile fitted"
    score.add_argument("--weights", choices=["auto", "official", "standin"], **UNSET, help=weights)
    score.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], **UNSET)
    score.add_argument("--also", type=_names, metavar="NAMES", **UNSET, help=further)
    score.add_argument(
        "-o", "--output", type=Path, metavar="CSV", **UNSET, help="also write a row for each image to this file"
    )


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _whole(text: str) -> int:
    return 0 if text == "0" else _positive(text)
