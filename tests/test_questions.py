from pathlib import Path

import pytest

from masksr import params
from masksr.results import paper, questions

ROOT = Path(__file__).parents[1]


@pytest.fixture
def papers_own():
    """A profile with every setting of the paper and our default for every open question."""
    base = params.load(ROOT / "params.yaml").model_dump()
    base["data"] |= {"train": "DIV2K_train", "test": ["DIV2K_valid", "Urban100", "BSD100", "PIRM_valid"], "limit": None}
    base["weights"] |= {"vgg": "imagenet", "vgg_width": 1.0, "quality": "official"}
    base["train"] |= {"steps_per_epoch": 1000, "ema": None, "precision": "fp32"}
    base["masks"] = {"none": {"kind": "none"}}
    base["masks"]["paper"] = {
        "kind": "error", "k": 0.2, "b": 0.5, "error_range": "native", "window": 1, "per_channel": False,
        "apply": "both", "detach": True,
    }  # fmt: skip
    base["table1"] = {"models": ["esrgan", "pesr", "edsr"], "masks": ["none", "paper"], "seeds": [0]}
    base["sweep"] |= {"model": "esrgan", "mask": "paper"}
    base["figure4"]["crops"] = [{"set": "BSD100", "image": 0, "top": 0, "left": 0, "size": 96}]
    for question in paper.open_questions() + paper.settings():
        default = question.get("default", question.get("paper"))
        first, _, rest = (question["parameter"] or "").partition(".")
        if first != "models" or "phases" in rest:
            continue
        for model, recipe in base["models"].items():
            *path, last = rest.split(".")[1:]
            for key in path:
                recipe = recipe[key]
            value = default.get(model) if isinstance(default, dict) else default
            if rest.startswith("*.") or rest.startswith(model + "."):
                recipe[last] = value
    phase = {"scale": 4, "loss": "mse", "epochs": 10, "learning_rate": 2e-4, "halve_at": []}
    for model in ("esrgan", "pesr", "edsr"):
        base["models"][model]["start"]["phases"] = [phase] if model == "esrgan" else []
    return params.Params.model_validate(base)


def changed(profile, **sections):
    base = profile.model_dump()
    base["masks"]["none"] = {"kind": "none"}  # which takes no other key
    for section, values in sections.items():
        base[section] |= values
    return params.Params.model_validate(base)


def test_the_papers_own_profile_cuts_nothing(papers_own):
    assert set(questions.cuts(papers_own)["note"]) == {"same"}
    assert set(questions.answers(papers_own)["status"]) == {"default", "fixed", "chosen"}


def test_every_parameter_named_in_the_questions_exists(papers_own):
    for entry in paper.open_questions() + paper.settings():
        if entry["parameter"]:
            assert questions.values(papers_own, entry["parameter"]), entry["parameter"]


def test_the_value_used_is_read_live_and_a_difference_is_flagged(papers_own):
    mask = papers_own.masks["paper"].model_dump() | {"error_range": "255"}
    profile = changed(papers_own, masks={"paper": mask}, train={"steps_per_epoch": 20, "precision": "bf16"})
    rows = questions.answers(profile).set_index("parameter")
    assert tuple(rows.loc["masks.*.error_range", ["used", "default", "status"]]) == ("255", "native", "differs")
    assert tuple(rows.loc["train.steps_per_epoch", ["used", "default", "status"]]) == ("20", "1000", "cut")
    assert rows.loc["train.precision", "status"] == "differs"
    assert rows.loc["masks.*.window", "status"] == "default"


def test_what_differs_between_models_names_them(papers_own):
    models = papers_own.model_dump()["models"]
    models["pesr"]["batch"] = 4
    models["edsr"]["loss"]["gan_type"] = "relativistic_average"
    rows = questions.answers(changed(papers_own, models=models)).set_index("parameter")
    assert rows.loc["models.*.batch", "used"] == "ESRGAN, EDSR: 16; PESR: 4"
    assert rows.loc["models.*.batch", "status"] == "cut (PESR)"
    assert rows.loc["models.*.loss.gan_type", "status"] == "differs (EDSR)"


def test_cuts_count_the_steps(papers_own):
    models = papers_own.model_dump()["models"]
    models["esrgan"]["gan"] |= {"epochs": 5, "halve_at": [3]}
    rows = questions.cuts(changed(papers_own, models=models, train={"steps_per_epoch": 20}))
    row = rows[(rows["parameter"] == "models.*.gan.epochs") & (rows["model"] == "ESRGAN")].iloc[0]
    assert tuple(row[["paper", "here", "note"]]) == ("130 epochs of 1000 steps", "5 epochs of 20 steps", "cut")


def test_a_limit_on_the_test_images_and_random_features_show(papers_own):
    profile = changed(papers_own, data={"limit": 10}, weights={"vgg": "random", "vgg_width": 0.25})
    rows = questions.cuts(profile).set_index("parameter")
    assert tuple(rows.loc["data.limit", ["paper", "here", "note"]]) == ("no limit", "10", "cut")
    assert rows.loc["weights.vgg", "note"] == "differs"


def test_a_model_of_the_users_own_needs_no_entry_in_paper_yaml(papers_own):
    models = papers_own.model_dump()["models"]
    models["mine"] = models["esrgan"] | {"title": "Mine", "batch": 4}
    table = papers_own.table1.model_dump() | {"models": ["esrgan", "mine"]}
    profile = changed(papers_own, models=models, table1=table)
    rows = questions.answers(profile).set_index("parameter")
    assert rows.loc["models.*.batch", "status"] == "cut (Mine)"
    assert rows.loc["models.*.generator", "status"] == "default"
    assert "Mine" in " ".join(questions.cuts(profile)["model"])


def test_the_committed_profile_can_be_described():
    profile = params.load(ROOT / "params.yaml")
    answers = questions.answers(profile)
    assert len(answers) == len(paper.open_questions())
    assert answers.notna().all(axis=None)
    assert questions.cuts(profile).notna().all(axis=None)
