"""What came from what: the stages of a profile in ``dvc.lock``, and the software of this process.

``dvc.lock`` records the MD5 of every file that a stage read and wrote, and its parameters; the profile is in
the stage's name. This finds mistakes, not forgery: whoever edits a table on purpose can edit the lock too.
"""

import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from masksr import __version__, params
from masksr.io import MasksrError, parse_yaml, project_root, read_yaml
from masksr.paths import profile_of


def recorded_stages(profile: str, lock: str) -> dict[str, Any]:
    """Read a profile's stages from the text of a ``dvc.lock``: ``deps``, ``outs`` and ``params`` of each."""
    stages = (parse_yaml(lock, "dvc.lock") or {}).get("stages", {})
    return {name: stage for name, stage in stages.items() if profile_of(name) == profile}


def digests(stage: dict[str, Any], kind: str) -> dict[str, str]:
    """Return the MD5 of a stage's ``deps`` or ``outs`` by path."""
    return {entry["path"]: entry["md5"] for entry in stage.get(kind, ()) if "md5" in entry}


def recorded_params(stages: dict[str, Any]) -> dict[str, Any]:
    """Return the values of params.yaml that these stages were made with, by dotted names."""
    named = {name: stage.get("params", {}).get("params.yaml", {}) for name, stage in stages.items()}
    checked = [values for name, values in named.items() if name.startswith("check@")]  # it has them all
    return {key: value for values in checked or named.values() for key, value in values.items()}


def verify(profile: str | None = None) -> None:
    """Print a line for each difference between the files of a profile and what ``dvc.lock`` recorded of them.

    profile: by default that of params.yaml. Parameters, the MD5 of outputs, and inputs that other stages have
    written are compared. What is not here is only counted: a fresh clone has no weights. Raises MasksrError
    where something differs, and where nothing is recorded.
    """
    from dvc.dependency.param import read_param_file
    from dvc.exceptions import DvcException
    from dvc.output import Output
    from dvc.repo import Repo

    root, present = project_root(), params.load()
    profile, lock = profile or present.profile, root / "dvc.lock"
    stages = recorded_stages(profile, lock.read_text(encoding="utf-8") if lock.is_file() else "")
    if not stages:
        raise MasksrError(
            f"{lock}: has no stage of the profile {profile}; `dvc repro` with its params.yaml writes them"
        )
    try:
        repo = Repo(str(root))
    except DvcException as error:
        raise MasksrError(f"{root}: DVC cannot read this project: {error}") from None
    different, missing = [], set()
    file = root / f"profiles/{profile}.yaml"
    if profile == present.profile:
        file, named = root / "params.yaml", {stage.addressing for stage in repo.index.stages}
        stages = {name: stage for name, stage in stages.items() if name in named}  # as params.yaml is now
    if file.is_file():
        recorded = recorded_params(stages)
        read_yaml(file)  # for its one-line error
        now = read_param_file(repo.fs, str(file), list(recorded), flatten=True)
        changed = [key for key, value in recorded.items() if now.get(key) != value]
        different += [f"parameters: {key} is modified" for key in sorted(changed)]
    written = {path: md5 for stage in stages.values() for path, md5 in digests(stage, "outs").items()}
    for name, stage in stages.items():
        for path, md5 in digests(stage, "outs").items():
            if not (root / path).exists():
                missing.add(path)
            elif Output(None, str(root / path), repo=repo, cache=False).get_hash().value != md5:
                different.append(f"{name}: {path} is modified")
        changed = [path for path, md5 in digests(stage, "deps").items() if written.get(path, md5) != md5]
        different += [f"{name}: {path} is not the one that this was made from" for path in changed]
    if missing:
        print(f"{len(missing)} files and folders are not here; `dvc pull` or `dvc repro` brings them")
    if different:
        print("\n".join(different))
        raise MasksrError(f"{len(different)} differences in {profile}; `dvc repro` mends them")
    print(f"{profile}: all files that are here are as recorded")


def made_with() -> dict[str, str]:
    """Return the versions and the device of this process."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")  # on Linux, where platform has no name
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    processor = named[1] if named else platform.processor() or platform.machine()
    device = f"CPU, {processor} ({platform.system()})"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    versions = {"masksr": __version__, "python": platform.python_version()}
    versions |= {"torch": torch.__version__} | {name: version(name) for name in ("numpy", "pyiqa")}
    return versions | {"device": device}
