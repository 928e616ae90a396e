"""Whether the page, the tables and the weights of a profile belong together: every sha256 of their records anew.

Of each result one of these is said:

    verified      its files and all they were made from, back to the images, are here and are those of the records
    as recorded   its files are, but what they were made from is not all here (a fresh clone has no weights) or differs
    not here
    no record     it was made before records were kept, or elsewhere
    differs       something contradicts the records, or what rests on them

Records catch mistakes, not forgers: who edits a table on purpose can edit its record too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masksr import params, project
from masksr.errors import MasksrError
from masksr.params import Params
from masksr.paths import Paths
from masksr.results import records
from masksr.results.chain import DIFFERS, NO_RECORD, NOT_HERE, STATES, Chain, Result


def run(profile: str | None = None) -> None:
    """Print a line for each result of a profile (default: that of params.yaml), and a summary.

    Raises MasksrError where something contradicts the records, and where there is nothing to verify.
    """
    root = project.root()
    profile = profile or params.load().profile
    results = verify(profile, root)
    width = max(len(result.name) for result in results)
    for result in results:
        print(f"  {result.state:<13}{result.name:<{width}}  {'; '.join(result.notes)}".rstrip())
    counts = {state: sum(result.state == state for result in results) for state in STATES}
    print(f"{profile}: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count))
    if stray := left_over(profile, root):
        print(
            f"Left over, of no stage: {', '.join(stray)}. Stages that read the folders above see them, so remove them "
            "before you share: after `dvc pull` they are missing, and `dvc repro` would run those stages again"
        )
    if counts[DIFFERS]:
        raise MasksrError(f"{counts[DIFFERS]} of {profile} do not belong to the rest; `dvc repro` makes them anew")


def verify(profile: str, root: Path) -> list[Result]:
    """What is to be said of each result of a profile in the project at ``root``. Reads and hashes, changes nothing.

    Raises MasksrError where the profile has no results and where a record cannot be read.
    """
    paths = Paths(root, profile)
    if not paths.results.is_dir():
        there = ", ".join(sorted(path.parent.name for path in (root / "results").glob("*/quality.csv"))) or "none yet"
        raise MasksrError(
            f"results/{profile} does not exist (there are results of: {there}); `dvc repro` makes results"
        )
    settings = _settings(profile, root)
    if not (paths.results / "provenance.json").is_file():
        return _without_records(paths, settings)
    provenance = records.read(file := paths.results / "provenance.json")
    if provenance.get("format") != records.FORMAT:
        raise MasksrError(f"{file}: not of this version of the code; `dvc repro report` makes it anew")
    steps = {name: records.checked(step, file) for name, step in provenance["steps"].items()}
    return [_parameters(provenance["params"], settings), *Chain(steps, paths).results()]


def left_over(profile: str, root: Path) -> list[str]:
    """Packs, runs and notebooks here that params.yaml no longer names; nothing where it is another profile's."""
    settings, paths = params.load(root / "params.yaml"), Paths(root, profile)
    if settings.profile != profile:
        return []
    sets = [settings.data.train, settings.data.validation, *settings.data.test]
    wanted = {folder for folder, *_ in records.trainings(settings, paths)}
    wanted |= {paths.set(name) for name in sets} | {paths.runs / "data" / f"{name}.ipynb" for name in sets}
    found = {path for parent in {path.parent for path in wanted} for path in parent.glob("[!.]*")}
    stray = [path for path in found - wanted if not path.name.endswith(".partial.ipynb")]
    return sorted(path.relative_to(root).as_posix() for path in stray)


def _settings(profile: str, root: Path) -> tuple[str, Params | None]:
    """The file that holds the parameters of a profile now, and what is in it."""
    file = "params.yaml"
    if (settings := params.load(root / file)).profile == profile:
        return file, settings
    file = f"profiles/{profile}.yaml"
    return file, params.load(root / file) if (root / file).is_file() else None


def _parameters(recorded: dict[str, Any], settings: tuple[str, Params | None]) -> Result:
    file, present = settings
    if present is None:
        return Result(file, NOT_HERE)
    then, now = _flat(recorded), _flat(records.parameters(present))
    result, missing = Result(file), object()
    changed = [key for key in now | then if now.get(key, missing) != then.get(key, missing)]
    for key in changed[:3]:
        is_now = f"is {now[key]}" if key in now else "is gone"
        was = f"with {then[key]}" if key in then else "without"
        result.add(DIFFERS, f"{key} {is_now}, the results were made {was}")
    if len(changed) > 3:
        result.notes.append(f"and {len(changed) - 3} more")
    return result


def _flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat = dict[str, Any]()
    for key, value in tree.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def _without_records(paths: Paths, settings: tuple[str, Params | None]) -> list[Result]:
    """Without records one thing can still be said: whether quality.csv gives the tables beside it."""
    results = {path.name: Result(path.name, NO_RECORD) for path in sorted(paths.results.glob("[!.]*"))}
    results.pop("README.md", None)
    _, present = settings
    if present and "quality.csv" in results:
        from masksr.results.scores import read_quality
        from masksr.results.tables import table1_files  # here: pandas and matplotlib

        try:
            given = table1_files(read_quality([paths.results / "quality.csv"]), present)
        except MasksrError as error:
            results["quality.csv"].add(DIFFERS, str(error))
            given = {}
        for name in results.keys() & given.keys() - {"quality.csv"}:
            if (paths.results / name).read_text(encoding="utf-8") == given[name]:
                results[name].add(NO_RECORD, "as quality.csv gives it")
            else:
                results[name].add(DIFFERS, "not what quality.csv gives")
    return list(results.values())
