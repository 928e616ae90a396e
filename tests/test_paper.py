"""The paper's numbers as printed, and this profile's values beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from masksr import params
from masksr.params import Params
from masksr.results import paper

ROOT = Path(__file__).parents[1]


def test_table1_is_the_one_printed():
    table, sets = paper.table1(), paper.sets()
    assert list(table["variant"]) == ["ESRGAN", "ESRGAN+Mask", "PESR", "PESR+Mask", "EDSR", "EDSR+Mask"]
    assert sets == ["DIV2K", "Urban100", "BSD100", "PIRM"] and set(table["metric"]) == {"PI"}
    assert table[sets].sum().tolist() == pytest.approx([19.53, 21.10, 14.79, 13.65])
    effect = paper.mask_effect().set_index("model")[sets]
    assert (effect <= 0).all(axis=None) and effect.loc["pesr", "BSD100"] == -0.64
    assert paper.load()["mask"] == {"k": 0.2, "b": 0.5}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("DIV2K_valid", "DIV2K"), ("div2k-valid", "DIV2K"), ("DIV2K_train", None), ("PIRM_valid", "PIRM"),
     ("PIRM_test", None), ("B100", "BSD100"), ("BSDS500", None), ("Urban100", "Urban100"), ("cat", None)],
)  # fmt: skip
def test_test_sets_are_matched_by_their_usual_names(ours, theirs):
    assert paper.match_set(ours) == theirs


@pytest.fixture
def papers_own() -> Params:
    """A profile with every setting of the paper and our default for every open question."""
    base = params.load(ROOT / "params.yaml").model_dump()
    base["data"] |= {"train": "DIV2K_train", "test": ["DIV2K_valid", "Urban100", "BSD100", "PIRM_valid"], "limit": None}
    base["weights"] |= {"vgg": "imagenet", "vgg_width": 1.0, "quality": "official"}
    base["train"] |= {"steps_per_epoch": 1000, "ema": None, "precision": "fp32"}
    mask = {"kind": "error", "k": 0.2, "b": 0.5, "error_range": "native", "window": 1, "per_channel": False}
    base["masks"] = {"none": {"kind": "none"}, "paper": mask | {"apply": "both", "detach": True}}
    base["table1"] = {"models": ["esrgan", "pesr", "edsr"], "masks": ["none", "paper"], "seeds": [0]}
    base["sweep"] |= {"model": "esrgan", "mask": "paper"}
    base["figure4"]["crops"] = [{"set": "BSD100", "image": 0, "top": 0, "left": 0, "size": 96}]
    for entry in paper.load()["open_questions"] + paper.load()["settings"]:
        default = entry.get("default", entry.get("paper"))
        first, _, rest = (entry["parameter"] or "").partition(".")
        if first != "models" or "phases" in rest:
            continue
        named, *path, last = rest.split(".")
        for model, recipe in base["models"].items():
            for key in path:
                recipe = recipe[key]
            if named in ("*", model):
                recipe[last] = default.get(model) if isinstance(default, dict) else default
    phase = {"scale": 4, "loss": "mse", "epochs": 10, "learning_rate": 2e-4, "halve_at": []}
    for model in ("esrgan", "pesr", "edsr"):
        base["models"][model]["start"]["phases"] = [phase] if model == "esrgan" else []
    return params.Params.model_validate(base)


def change(profile: Params, **sections: dict[str, Any]) -> Params:
    base = profile.model_dump()
    base["masks"]["none"] = {"kind": "none"}  # which takes no other key
    for section, values in sections.items():
        base[section] |= values
    return params.Params.model_validate(base)


def test_the_papers_own_profile_cuts_nothing(papers_own):
    assert set(paper.cuts(papers_own)["note"]) == {"same"}
    assert set(paper.answers(papers_own)["status"]) == {"default", "fixed", "chosen"}
    for entry in paper.load()["open_questions"] + paper.load()["settings"]:
        if entry["parameter"]:
            values = paper.used_values(papers_own, entry["parameter"])
            assert values and paper.MISSING not in values.values(), entry["parameter"]


def test_the_value_used_is_read_live_and_a_difference_is_flagged(papers_own):
    mask = papers_own.masks["paper"].model_dump() | {"error_range": "255"}
    models = papers_own.model_dump()["models"]
    models["pesr"]["batch"] = 4
    models["edsr"]["loss"]["gan_type"] = "relativistic_average"
    models["esrgan"]["gan"] |= {"epochs": 5, "halve_at": [3]}
    train = {"steps_per_epoch": 20, "precision": "bf16"}
    data, weights = {"limit": 10}, {"vgg": "random", "vgg_width": 0.25}
    profile = change(papers_own, masks={"paper": mask}, models=models, train=train, data=data, weights=weights)
    rows = paper.answers(profile).set_index("parameter")[["used", "default", "status"]]
    assert tuple(rows.loc["masks.*.error_range"]) == ("255", "native", "differs")
    assert tuple(rows.loc["train.steps_per_epoch"]) == ("20", "1000", "cut")
    assert tuple(rows.loc["models.*.batch"]) == ("ESRGAN, EDSR: 16; PESR: 4", "16", "cut (PESR)")
    assert rows.loc["models.*.loss.gan_type", "status"] == "differs (EDSR)"
    assert tuple(rows.loc["train.ema"]) == ("off", "off", "default")
    assert rows.loc["masks.*.window", "status"] == "default"
    rows = paper.cuts(profile).set_index(["parameter", "model"])[["paper", "here", "note"]]
    epochs = ("130 epochs of 1000 steps", "5 epochs of 20 steps", "cut")
    assert tuple(rows.loc["models.*.gan.epochs", "ESRGAN"]) == epochs
    assert tuple(rows.loc["data.limit", "all"]) == ("no limit", "10", "cut")
    assert rows.loc[("weights.vgg", "all"), "note"] == "differs"


def test_a_model_of_the_users_own_needs_no_entry_in_paper_yaml(papers_own):
    models = papers_own.model_dump()["models"]
    models["mine"] = models["esrgan"] | {"title": "Mine", "batch": 4}
    table = papers_own.table1.model_dump() | {"models": ["esrgan", "mine"]}
    profile = change(papers_own, models=models, table1=table)
    rows = paper.answers(profile).set_index("parameter")
    assert rows.loc["models.*.batch", "status"] == "cut (Mine)"
    assert rows.loc["models.*.generator", "status"] == "default"
    assert "Mine" in " ".join(paper.cuts(profile)["model"])


def test_the_committed_profile_can_be_described():
    profile = params.load(ROOT / "params.yaml")
    assert len(paper.answers(profile)) == len(paper.load()["open_questions"])
    assert paper.answers(profile).notna().all(axis=None) and paper.cuts(profile).notna().all(axis=None)
