"""What a stage of dvc.yaml has besides its work: what it depends on, its place in the order, its time.

People edit params.yaml, data/registry.yaml and code. One stage, ``check``, reads all of them and writes to
``runs/<profile>`` what each part of them says:

    code/13_train.txt           the notebook, and the modules that it reaches (``masksr.source``)
    params/masks/paper.json     a mask; likewise models, the starts of models, and whole sections
    sources/sets/cat.json       where a data set comes from

All other stages depend on such files alone. An edit thus reaches only what uses it, and DVC need neither
parse params.yaml for each stage nor keep copies of it in dvc.lock.
"""

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from masksr.fetch.registry import check_figure4, load_registry, look_up
from masksr.io import MasksrError, write_atomic
from masksr.params import load
from masksr.paths import profile_of
from masksr.repair import keep_lock
from masksr.source import describe_code, list_code

# Changes that make no result out of date: how often a training reports applies from the next one on.
NOT_IN_RESULTS = {"log_every", "validate_every", "checkpoint_every"}
JUDGES = ("vgg19", "niqe", "ma")  # the entries of the registry that the stage weights reads


# ---- What stages depend on ---------------------------------------------------------------------------------
def describe_inputs(root: Path, code: Collection[str] | None = None) -> dict[str, str]:
    """Return the text of each file that ``check`` writes, by its path in ``runs/<profile>``.

    code: the notebooks and commands whose code is described; None: all. Raises MasksrError for a file that
    cannot be read or is not valid.
    """
    settings, registry = load(root / "params.yaml"), load_registry(root / "data/registry.yaml")
    check_figure4(settings, registry)
    content, known = settings.model_dump(mode="json"), registry.model_dump(mode="json")
    data, table1, sweep, masks = (content[name] for name in ("data", "table1", "sweep", "masks"))
    local, paper_mask = data.pop("local"), masks[sweep["mask"]]
    train = {key: value for key, value in content["train"].items() if key not in NOT_IN_RESULTS}
    parts: dict[str, Any] = {
        "params/data": data,
        "params/train": train,
        "params/table1": table1 | {"mask of the paper": sweep["mask"]},
        "params/ends": {key: table1[key] for key in ("models", "seeds")},
        "params/sweep": sweep,
        "params/sweep_mask": {key: value for key, value in paper_mask.items() if key not in ("k", "b")},
        "sources/weights": {"local": local} | {name: known["weights"].get(name) for name in JUDGES},
    }
    parts |= {f"params/{name}": content[name] for name in ("weights", "measures", "figure4")}
    parts |= {f"params/masks/{name}": mask for name, mask in masks.items()}
    for name, model in content["models"].items():
        parts[f"params/models/{name}"] = {key: value for key, value in model.items() if key != "start"}
        started = ("title", "generator", "start", "lr_patch", "batch", "steps_per_epoch")
        parts[f"params/starts/{name}"] = {key: model[key] for key in started}
    for name in (data["train"], data["validation"], *data["test"]):
        where = {"local": local, "limit": settings.data.limit_of(name)}
        parts[f"sources/sets/{name}"] = where | {"set": look_up(name, known["sets"], "data set")}
    texts = {f"{name}.json": json.dumps(part, indent=2) + "\n" for name, part in parts.items()}
    names = list_code(root) if code is None else code
    return texts | {f"code/{name}.txt": describe_code(root, name) for name in names}


def write_inputs(root: Path, folder: Path) -> None:
    """Write these files to ``folder``. Raises MasksrError, also where anything was edited meanwhile."""
    texts = describe_inputs(root)
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    if describe_inputs(root) != texts:  # DVC hashes what check has read only when it has ended
        raise MasksrError("params.yaml or code changed while it was read; run dvc repro again")


def edited_inputs(root: Path, folder: Path, code: Collection[str] | None = None) -> set[str]:
    """Return which of these files in ``folder`` are out of date: ``check`` would change, add or omit them."""
    now = describe_inputs(root, code)
    written = (path for part in ("params", "sources") for path in folder.glob(f"{part}/**/*.json"))
    names = now.keys() | {path.relative_to(folder).as_posix() for path in written}
    before = {name: (folder / name).read_text("utf-8") for name in names if (folder / name).is_file()}
    return {name for name in names if now.get(name) != before.get(name)}


# ---- Around the work of a stage ----------------------------------------------------------------------------
@contextmanager
def guard_inputs(root: Path, code: str) -> Iterator[None]:
    """Guard the work of a stage that DVC has started: its inputs must not change meanwhile.

    The stage ``check`` has described the inputs before; an edit since then would be recorded as what the
    result was made from, or not recorded at all. In that case MasksrError is raised, and DVC records nothing.
    code: a notebook or command, see ``masksr.source``. Prints which of all stages this is, and adds how long
    it took to ``results/<profile>/times.csv``.
    """
    name, begun = os.environ.get("DVC_STAGE", "").rpartition(":")[2], time.time()
    if not name:
        yield
        return
    if edited := _edited_since_check(root, name, code):
        again = f"run dvc repro; if that says it again: dvc repro -f -s check@{profile_of(name)}"
        raise MasksrError(f"{edited} changed since the stage check has read it; {again}")
    print(stage_number(root, name), flush=True)
    keep_lock(root)
    yield
    if edited := _edited_since_check(root, name, code):
        raise MasksrError(
            f"{edited} changed while {name} ran. Its result belongs to the state before, so it does not "
            "count; run dvc repro again. What was trained is kept, and used if you undo the change"
        )
    file = root / f"results/{profile_of(name)}/times.csv"  # part of no result: no two runs agree on it
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(("" if lines.tell() else "stage,seconds\n") + f"{name},{time.time() - begun:.1f}\n")


def _edited_since_check(root: Path, name: str, code: str) -> str:
    """Say which inputs of the stage ``name`` no longer match what ``check`` has written, if any."""
    folder = root / "runs" / profile_of(name)
    edited = edited_inputs(root, folder, [code])
    if not edited:
        return ""
    from dvc.exceptions import DvcException  # slow, and hardly ever needed
    from dvc.repo import Repo

    try:
        reads = [Path(dep.fs_path) for dep in Repo(root).stage.load_one(str(root / "dvc.yaml"), name).deps]
    except DvcException:  # params.yaml no longer has such a stage
        return f"what {name} is (params.yaml)"
    found = sorted(file for file in edited if {folder / file, *(folder / file).parents} & {*reads})
    return " and ".join(_in_words(root, folder, file) for file in found)


def _in_words(root: Path, folder: Path, file: str) -> str:
    kind, _, part = file.partition("/")
    if kind == "code":
        code = part.removesuffix(".txt")
        lines = {*(folder / file).read_text().splitlines()} ^ {*describe_code(root, code).splitlines()}
        names = sorted({line.split()[0] for line in lines})
        return " and ".join(names).replace("cells", f"notebooks/{code}.ipynb")
    key = part.removesuffix(".json").replace("/", ".")
    return f"{key} in params.yaml" + (" or data/registry.yaml" if kind == "sources" else "")


def stage_number(root: Path, name: str) -> str:
    """Return a stage's place in DVC's order, ``[12 of 46] train@...``; the order is kept in ``.cache``."""
    pipeline = b"".join((root / file).read_bytes() for file in ("dvc.yaml", "params.yaml"))
    file = root / f".cache/stages/{hashlib.sha256(pipeline).hexdigest()[:20]}.txt"
    if not file.exists():
        from dvc.repo import Repo
        from dvc.repo.reproduce import plan_repro

        order = [stage.addressing for stage in plan_repro(Repo(root).index.graph)]
        write_atomic(file, "\n".join(order).encode())
    names = file.read_text().splitlines()
    return f"[{names.index(name) + 1} of {len(names)}] {name}" if name in names else name
