"""The paper's numbers as printed, and this profile's values beside them."""

from typing import Any

import pytest
from notebook_cells import run_cells
from tiny_project import ROOT

from masksr import params
from masksr.params import Params
from masksr.results import paper

ANSWERS = run_cells("24_questions", "24_questions-01", "list-answers")["list_answers"]


def test_table1_is_the_one_printed():
    table, sets = paper.printed_table1(), paper.sets()
    assert list(table["variant"]) == ["ESRGAN", "ESRGAN+Mask", "PESR", "PESR+Mask", "EDSR", "EDSR+Mask"]
    assert sets == ["DIV2K", "Urban100", "BSD100", "PIRM"]
    assert table[sets].sum().tolist() == pytest.approx([19.53, 21.10, 14.79, 13.65])
    effect = paper.mask_effect().set_index("model")[sets]
    assert (effect <= 0).all(axis=None) and effect.loc["pesr", "BSD100"] == -0.64
    assert paper.load()["mask"] == {"k": 0.2, "b": 0.5}


def test_test_sets_are_matched_by_their_usual_names():
    names = {"div2k_valid": "DIV2K", "DIV2K_train": None, "PIRM_valid": "PIRM", "B100": "BSD100", "cat": None}
    assert {name: paper.match_set(name) for name in names} == names


def change(profile: Params, **sections: dict[str, Any]) -> Params:
    base = profile.model_dump(exclude_unset=True)
    for section, values in sections.items():
        base[section] |= values
    return params.Params.model_validate(base)


@pytest.fixture
def papers_own() -> Params:
    """The profile paper with one mask, but PESR begins from a trained network."""
    profile = params.load(ROOT / "profiles/paper.yaml")
    models = profile.model_dump()["models"]
    models["pesr"]["start"] |= {"init": "pesr/psnr.pt", "phases": []}
    return change(profile, models=models, table1={"masks": ["none", "paper"]})


def test_the_papers_own_profile_cuts_nothing(papers_own):
    assert set(paper.cuts(papers_own)["note"]) == {"same"}
    assert set(ANSWERS(papers_own)["status"]) == {"default", "fixed", "chosen"}
    assert not any(paper.departures(papers_own, model, "paper") for model in papers_own.table1.models)
    for entry in paper.load()["open_questions"] + paper.load()["settings"]:
        if entry["parameter"]:
            values = paper.used_values(papers_own, entry["parameter"])
            assert values and paper.MISSING not in values.values(), entry["parameter"]


@pytest.mark.parametrize("name", ["paper", "study"])
def test_the_profiles_have_every_reading_of_apply(name: str):
    profile = params.load(ROOT / f"profiles/{name}.yaml")
    (row,) = (row for row in ANSWERS(profile).itertuples() if row.parameter == "masks.*.apply")
    assert row.used == {"paper": "both", "letter": "sr", "gradient": "gradient"} and row.status == "differs"
    assert len({str(profile.masks[mask].model_dump(exclude={"apply"})) for mask in row.used}) == 1


def test_the_value_used_is_read_live_and_a_difference_is_flagged(papers_own):
    models = papers_own.model_dump()["models"]
    models["pesr"]["batch"], models["edsr"]["steps_per_epoch"] = 4, 1000
    models["edsr"]["loss"]["gan_type"] = "relativistic_average"
    models["esrgan"]["gan"] |= {"epochs": 5, "halve_at": [3]}
    models["mine"] = models["esrgan"] | {"title": "Mine"}  # of which neither the paper nor we have an opinion
    mask = {"paper": papers_own.masks["paper"].model_dump() | {"error_range": "255"}}
    sections = {"masks": mask, "models": models, "table1": {"models": ["esrgan", "pesr", "edsr", "mine"]}}
    profile = change(papers_own, **sections, train={"steps_per_epoch": 20}, data={"limit": 10})
    found = {name: set(paper.departures(profile, name, "paper")) for name in ("pesr", "edsr")}
    assert found["pesr"] - found["edsr"] == {"steps of an epoch (our reading)", "How large is a batch?"}
    assert found["edsr"] - found["pesr"] == {"Which GAN loss?"}
    rows = ANSWERS(profile).set_index("parameter")[["used", "default", "status"]]
    assert tuple(rows.loc["masks.*.error_range"]) == ({"paper": "255"}, {"paper": "native"}, "differs")
    batches = dict.fromkeys(profile.table1.models, 16)
    assert tuple(rows.loc["models.*.steps_per_epoch"])[1:] == ({"pesr": 1000, "edsr": 1000}, "cut")
    assert tuple(rows.loc["models.*.batch"]) == (batches | {"pesr": 4}, batches, "cut")
    assert rows.loc["models.*.loss.gan_type", "status"] == "differs"
    assert tuple(rows.loc["train.ema"]) == ({"": None}, {"": None}, "default")
    rows = paper.cuts(profile).set_index(["parameter", "model"])[["paper", "here", "note"]]
    assert tuple(rows.loc["models.*.gan.epochs", "ESRGAN"]) == ("130", "5", "cut")
    assert tuple(rows.loc["models.*.steps_per_epoch", "ESRGAN, PESR, Mine"]) == ("1000", "20", "cut")
    assert rows.loc[("models.*.gan.epochs", "Mine"), "note"] == "—"
    assert tuple(rows.loc["data.limit", "all"]) == ("no limit", "10", "cut")
