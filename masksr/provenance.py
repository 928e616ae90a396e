"""What came from what: the stages of ``dvc.lock``, copied beside the results of their profile.

``dvc.lock`` names every file that a stage read and wrote by its MD5, but no profile: the next one overwrites
its stages. So ``results/<profile>/provenance.json`` keeps a copy, with the parameters and the software:

    {"profile": "mini", "params": {...}, "made_with": {"commit": ..., "torch": ..., "device": ..., ...},
     "stages": {"table1": {"deps": {"data/paper.yaml": "5b1f...", ...}, "outs": {...}}, ...}}

It finds mistakes, not forgery: who edits a table on purpose can edit its record too.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masksr import __version__, params
from masksr.io import MasksrError, project_root, write_atomic
from masksr.params import Params
from masksr.paths import Paths

if TYPE_CHECKING:
    from dvc.repo import Repo

# The code a result depends on; its data and parameters are recorded themselves.
SOURCE = ("masksr", "notebooks", "dvc.yaml", "data/registry.yaml")


def collect_provenance(params: Params, paths: Paths) -> dict[str, Any]:
    """The content of ``results/<profile>/provenance.json``, without stages that never ran."""
    file, stages = paths.results / "provenance.json", {}
    for stage in _open_repo(paths.root).index.stages:
        outs = _digests(stage.outs)
        if len(outs) == len(stage.outs) and file.relative_to(paths.root).as_posix() not in outs:
            stages[stage.addressing] = {"deps": _digests(stage.deps), "outs": outs}
    content = {"profile": params.profile, "params": dump_params(params), "made_with": made_with()}
    return content | {"stages": dict(sorted(stages.items()))}


def write_provenance(content: dict[str, Any], paths: Paths) -> None:
    """Write that file, with the page that was made from it, of which dvc.lock does not know yet."""
    outs, page = {}, paths.results / "report.html"
    if page.is_file():
        outs[page.relative_to(paths.root).as_posix()] = hashlib.md5(page.read_bytes()).hexdigest()
    content = content | {"stages": content["stages"] | {"report": {"deps": {}, "outs": outs}}}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_atomic(paths.results / "provenance.json", text.encode() + b"\n")


def dump_params(params: Params) -> dict[str, Any]:
    """The parameters that results depend on: without the folder of data and the sizes of machines."""
    values = params.model_dump(mode="json")
    del values["data"]["local"], values["cluster"]
    return values


def verify(profile: str | None = None) -> None:
    """Print a line for each difference between the files of a profile and what was recorded of them.

    profile: None: that of params.yaml. Compared are parameters, outputs by their MD5, and inputs that another
    stage has written. What is not here is only counted: a fresh clone has no weights. Raises MasksrError
    where something differs, and where nothing is recorded.
    """
    from dvc.output import Output

    present = params.load()
    paths = Paths(project_root(), profile or present.profile)
    record, file = paths.results / "provenance.json", paths.root / f"profiles/{paths.profile}.yaml"
    recorded = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if "stages" not in recorded:
        raise MasksrError(f"{record}: not there, or of an earlier version; `dvc repro report` writes it")
    repo, different, missing = _open_repo(paths.root), [], set()
    if paths.profile == present.profile or file.is_file():
        now = dump_params(present if paths.profile == present.profile else params.load(file))
        then = recorded["params"]
        changed = [key for key in then.keys() | now.keys() if then.get(key) != now.get(key)]
        different += [f"parameters: {key} is modified" for key in sorted(changed)]
    written = {path: md5 for stage in recorded["stages"].values() for path, md5 in stage["outs"].items()}
    for name, stage in recorded["stages"].items():
        for path, md5 in stage["outs"].items():
            if not (paths.root / path).exists():
                missing.add(path)
            elif Output(None, str(paths.root / path), repo=repo, cache=False).get_hash().value != md5:
                different.append(f"{name}: {path} is modified")
        changed = [path for path, md5 in stage["deps"].items() if written.get(path, md5) != md5]
        different += [f"{name}: {path} is not the one that this was made from" for path in changed]
    if missing:
        print(f"{len(missing)} files and folders are not here; `dvc pull` or `dvc repro` brings them")
    if different:
        print("\n".join(different))
        raise MasksrError(f"{len(different)} differences in {paths.profile}; `dvc repro` mends them")
    print(f"{paths.profile}: all files that are here are as recorded")


def _open_repo(root: Path) -> Repo:
    from dvc.exceptions import DvcException  # half a second
    from dvc.repo import Repo

    try:
        repo = Repo(str(root))
        _ = repo.index.stages  # reads dvc.yaml and dvc.lock
    except DvcException as error:
        raise MasksrError(f"{root}: DVC cannot read this project: {error}") from None
    return repo


def _digests(files: list[Any]) -> dict[str, str]:
    """Path and MD5 of a stage's dependencies or outputs, as far as dvc.lock has one; without parameters."""
    digests = {file.def_path: file.hash_info.value for file in files}
    return {path: md5 for path, md5 in digests.items() if isinstance(md5, str)}


def made_with() -> dict[str, str | None]:
    """The code's commit, the versions and the device of this process. Works without git."""
    import torch

    device = f"CPU, {_processor()} ({platform.system()})"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    versions = {"masksr": __version__, "commit": commit(), "python": platform.python_version()}
    versions |= {"torch": torch.__version__} | {name: version(name) for name in ("numpy", "pyiqa")}
    return versions | {"device": device}


def commit() -> str | None:
    """The last commit that changed the code, marked where it was changed since; None without git.

    Not HEAD: results that are committed after their run keep naming the code that made them.
    """
    root = project_root()
    try:
        last = _git(root, "log", "-1", "--format=%h", "--abbrev=12", "--", *SOURCE)
        changed = _git(root, "status", "--porcelain", "--", *SOURCE)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{last} with local changes" if last and changed else last or None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=5).stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # of Linux, where platform does not know
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
