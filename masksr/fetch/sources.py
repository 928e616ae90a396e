"""The pictures of a data set: found and counted, wherever they lie."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from masksr.data.images import read_header
from masksr.data.packs import Source
from masksr.errors import MasksrError
from masksr.fetch.registry import FolderSet, Layout

SMALLEST = 32  # HR pixels on a side: 8 LR pixels, the smallest training patch params.yaml allows


def _layout_in(folder: Path, spec: FolderSet, limit: int | None = None) -> tuple[Layout, dict[str, Path]]:
    """The layout in which a set lies below ``folder``, and its HR pictures: none, one or, by an accident, several.

    One that is complete comes before others, and among those one with official LR.
    """
    found = [(layout, _glob(folder, layout.hr)) for layout in spec.layouts]
    wanted = min(limit or spec.images, spec.images)

    def rank(candidate: tuple[Layout, dict[str, Path]]) -> tuple[bool, bool, bool, int]:
        layout, images = candidate
        count = len(images.keys() - set(spec.exclude))
        whole = count >= wanted if spec.at_least or limit else count == spec.images
        templates = [template for template in (layout.lr_x4, layout.lr_x2) if template]
        lr = any((folder / template.format(name=name)).is_file() for template in templates for name in images)
        return bool(images), whole, lr, count

    return max(found, key=rank)  # the first of equals


def count_pictures(folder: Path, spec: FolderSet) -> int:
    """How many pictures of a set lie below ``folder``, in one of its layouts."""
    return len(_layout_in(folder, spec)[1].keys() - set(spec.exclude))


def images_in(folder: Path, spec: FolderSet, limit: int | None = None) -> list[Source]:
    """The images of a set below ``folder``, all headers read; see ``find_images`` for ``limit`` and for errors."""
    layout, images = _layout_in(folder, spec, limit)
    if not images:
        places = ", ".join(layout.hr for layout in spec.layouts)
        raise MasksrError(f"{spec.name}: no pictures in {folder}; looked for {places} ({spec.homepage})")

    chosen = sorted(images.keys() - set(spec.exclude), key=_natural)
    wanted = spec.images if limit is None else min(limit, spec.images)
    too_many = len(chosen) > spec.images and not spec.at_least
    if len(chosen) < wanted or too_many:
        number = f"{'at least ' if spec.at_least else ''}{spec.images}"
        remedy = "remove what does not belong there" if too_many else "complete it, ask for fewer with a limit, or "
        remedy += "" if too_many else "move it away to have the set downloaded"
        gap = "" if too_many else _first_gap(chosen, spec)
        raise MasksrError(
            f"{spec.name}: {len(chosen)} pictures in {folder / layout.hr}, {number} expected{gap}; {remedy}"
        )
    chosen = chosen[:limit]
    if bad := next((name for name in chosen if not name.isprintable()), None):  # it would stand in tables and pages
        raise MasksrError(f"{spec.name}: the name of a picture, {bad!a}, holds what cannot be printed; rename it")
    lr: dict[str, dict[int, Path]] = {name: {} for name in chosen}
    for scale, template in {4: layout.lr_x4, 2: layout.lr_x2}.items():
        for name, path in _official_lr(folder, template, chosen).items():
            lr[name][scale] = path
    return [Source(name, images[name], lr[name], sides=_checked_sides(images[name], spec)) for name in chosen]


def _first_gap(names: list[str], spec: FolderSet) -> str:
    """In words, which picture is the first that is missing, where the set numbers its pictures in a row."""
    numbered = [re.fullmatch(r"(\D*)(\d+)", name) for name in names]
    if spec.first is None or not names or not all(numbered):
        return ""
    prefix, digits = numbered[0].groups()
    row, there = range(spec.first, spec.first + spec.images), {int(match[2]) for match in numbered}
    if not there <= set(row):  # these names are other numbers
        return ""
    return f" (the first that is missing: {prefix}{min(set(row) - there):0{len(digits)}d})"


def _glob(folder: Path, template: str) -> dict[str, Path]:
    """The files that fit a layout's path, by the part that ``{name}`` stands for."""
    before, after = PurePosixPath(template).name.split("{name}")
    return {
        path.name[len(before) : len(path.name) - len(after)]: path
        for path in sorted(folder.glob(template.replace("{name}", "*")))
        if not path.name.startswith(".")
    }


def _official_lr(folder: Path, template: str | None, names: list[str]) -> dict[str, Path]:
    """The official LR of every image; none at all is fine (LR is then made), some is not."""
    if template is None:
        return {}
    paths = {name: folder / template.format(name=name) for name in names}
    missing = [path for path in paths.values() if not path.is_file()]
    if len(missing) == len(names):
        return {}
    if missing:
        raise MasksrError(
            f"{missing[0]}: this LR picture and {len(missing) - 1} more are missing, others are there; "
            "complete them, or remove the LR folder to have the LR made from the HR"
        )
    return paths


def _checked_sides(path: Path, spec: FolderSet) -> tuple[int, int]:
    sides, mode = read_header(path)
    if mode in ("1", "L", "LA") and not spec.grey:
        raise MasksrError(f"{path}: is grey, but {spec.name} has colour photographs; fetch the set again")
    if min(sides) < SMALLEST:
        raise MasksrError(f"{path}: {sides[0]} x {sides[1]} pixels, at least {SMALLEST} a side are needed")
    return sides


def _natural(name: str) -> list[int | str]:
    """Sort key under which 2 comes before 10."""
    return [int(part) if odd % 2 else part for odd, part in enumerate(re.split(r"([0-9]{1,18})", name))]
