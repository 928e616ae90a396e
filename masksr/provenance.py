"""What came from what: the stages of ``dvc.lock``, copied beside the results of their profile.

``dvc.lock`` names every file that a stage read and wrote by its MD5, but no profile: the next one overwrites
its stages. So ``results/<profile>/provenance.json`` keeps a copy, with the parameters and the software:

    {"profile": "mini", "params": {...}, "made_with": {"commit": ..., "torch": ..., "device": ..., ...},
     "stages": {"table1": {"deps": {"data/paper.yaml": "5b1f...", ...}, "outs": {...}}, ...}}

It finds mistakes, not forgery: who edits a table on purpose can edit its record too.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masksr import __version__, params
from masksr.io import MasksrError, project_root, read_json, write_atomic
from masksr.params import Params
from masksr.paths import Paths

if TYPE_CHECKING:
    from dvc.repo import Repo

# The code a result depends on; its data and parameters are recorded themselves.
SOURCE = ("masksr", "notebooks", "dvc.yaml", "data/registry.yaml")


def write_provenance(params: Params, paths: Paths) -> dict[str, Any]:
    """Write ``results/<profile>/provenance.json`` and return its content; without stages that never ran."""
    file, stages = paths.results / "provenance.json", {}
    for stage in _open_repo(paths.root).index.stages:
        outs = _digests(stage.outs)
        if len(outs) == len(stage.outs) and file.relative_to(paths.root).as_posix() not in outs:
            stages[stage.addressing] = {"deps": _digests(stage.deps), "outs": outs}
    content = {"profile": params.profile, "params": dump_params(params), "made_with": made_with()}
    content["stages"] = dict(sorted(stages.items()))
    write_atomic(file, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return content


def read_provenance(file: Path) -> dict[str, Any]:
    """Read a provenance.json. Raises MasksrError where there is none, or one of an earlier version."""
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise MasksrError(f"{file} does not exist; `dvc repro report` writes it") from None
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise MasksrError(f"{file} is of an earlier version; `dvc repro report` writes one that can be read")
    return content


def dump_params(params: Params) -> dict[str, Any]:
    """The parameters that results depend on: without the folder of data and the sizes of machines."""
    values = params.model_dump(mode="json")
    del values["data"]["local"], values["cluster"]
    return values


def verify(profile: str | None = None) -> None:
    """Print a line for each difference between the files of a profile and what was recorded of them.

    profile: None: that of params.yaml. Its differences are those of ``dvc status``; of other profiles the MD5
    of the files that are here is compared with provenance.json. What is not here is only counted: a fresh
    clone has no weights. Raises MasksrError where something differs, and where nothing is recorded.
    """
    present = params.load()
    paths = Paths(project_root(), profile or present.profile)
    repo = _open_repo(paths.root)
    of_present = paths.profile == present.profile
    found = list(_dvc_status(repo) if of_present else _compare_files(repo, paths))
    missing = {file for _, file, state in found if state in ("deleted", "not in cache")}
    different = [f"  {stage}: {file} is {state}" for stage, file, state in found if file not in missing]
    if different:
        print("\n".join(different))
    if missing:
        print(f"{len(missing)} files and folders are not here; `dvc pull` or `dvc repro` brings them")
    if different:
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


def _dvc_status(repo: Repo) -> Iterator[tuple[str, str, str]]:
    """What ``dvc status`` finds: stage, file, key of params.yaml or command, and state such as "modified"."""
    for stage, changes in repo.status().items():
        for change in changes:
            if isinstance(change, str):  # "changed command"
                yield stage, change.removeprefix("changed "), "modified"
                continue
            for file, state in (entry for files in change.values() for entry in files.items()):
                if isinstance(state, dict):  # keys of params.yaml
                    yield from ((stage, f"{key} in {file}", of_key) for key, of_key in state.items())
                else:
                    yield stage, file, state


def _compare_files(repo: Repo, paths: Paths) -> Iterator[tuple[str, str, str]]:
    """The same by provenance.json: of parameters, outputs, and inputs that another stage has written."""
    from dvc.output import Output

    recorded = read_provenance(paths.results / "provenance.json")
    file = paths.root / f"profiles/{paths.profile}.yaml"
    if file.is_file():
        now, then = dump_params(params.load(file)), recorded["params"]
        changed = [key for key in then.keys() | now.keys() if then.get(key) != now.get(key)]
        yield from (("parameters", f"{key} in profiles/{file.name}", "modified") for key in sorted(changed))
    written = {path: md5 for stage in recorded["stages"].values() for path, md5 in stage["outs"].items()}
    for name, stage in recorded["stages"].items():
        for path, md5 in stage["outs"].items():
            if not (paths.root / path).exists():
                yield name, path, "deleted"
            elif Output(None, str(paths.root / path), repo=repo, cache=False).get_hash().value != md5:
                yield name, path, "modified"
        for path, md5 in stage["deps"].items():
            if written.get(path, md5) != md5:
                yield name, path, "not the one that this was made from"


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
