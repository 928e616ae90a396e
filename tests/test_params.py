"""params.yaml: a typo stops everything with one line that names the key; no name means a thing to a shell."""

import re
import shlex
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tiny_project import ROOT

from masksr import params
from masksr.cli import main
from masksr.io import MasksrError
from masksr.tools import params_page

MINI = (ROOT / "profiles/mini.yaml").read_text()
GRADIENT = yaml.safe_load(MINI)["masks"]["paper"] | {"apply": "gradient", "detach": False}
NOTHING = {"size": 64, "largest_difference": 0, "search": 1, "random": 0, "seed": 0, "crops": []}
NAME = TypeAdapter(params.Name)


def load(folder: Path, at: str = "profile", value: object = "mini") -> params.Params:
    """mini with one other value."""
    section = content = yaml.safe_load(MINI)
    *keys, last = (int(key) if key.isdigit() else key for key in at.split("."))
    for key in keys:
        section = section[key]
    section[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return params.load(folder / "params.yaml")


@pytest.mark.parametrize("profile", ["mini", "study", "real_pesr", "real_figure5", "real_flat", "real_both"])
def test_total_variation_weighs_as_much_as_in_the_profile_paper(profile: str) -> None:
    """It is a sum over the pixels of a batch, while the other terms are means."""
    paper, cut = (params.load(ROOT / f"profiles/{name}.yaml").models["pesr"] for name in ("paper", profile))
    pixels = {recipe.lr_patch: recipe.batch * (4 * recipe.lr_patch) ** 2 for recipe in (paper, cut)}
    assert cut.loss.tv == pytest.approx(paper.loss.tv * pixels[paper.lr_patch] / pixels[cut.lr_patch], rel=1e-3)
    terms = ["vgg54", "vgg54_distance", "gan_type", "focal_gamma"] + ["gan", "l1"] * (profile == "study")
    assert [getattr(cut.loss, term) for term in terms] == [getattr(paper.loss, term) for term in terms]


PHASE = {"loss": "l1", "epochs": 1, "learning_rate": 1e-3, "halve_at": []}


@pytest.mark.parametrize(("at", "value", "expected"), [
    ("masks.paper.kk", 1.0, "masks.paper.kk: unknown key .did you mean 'k'"),
    ("masks.paper.k", "much", "masks.paper.k: .*valid number, got 'much'"),
    ("masks.paper.window", 4, "masks.paper: window must be odd"),
    ("masks.paper", {"kind": "error", "k": 0.2}, "masks.paper: kind: error also needs apply, b"),
    ("masks.none.k", 0.2, "masks.none: kind: none takes no other key"),
    ("models.esrgan.gan.halve_at", [99], "models.esrgan.gan: halve_at must rise and stay below epochs"),
    ("models.pesr.start.phases.0.scale", 2, "models.pesr: start: only edsr changes its scale"),
    ("models.edsr.start.phases", [PHASE | {"scale": scale} for scale in (4, 2)], "only edsr .*x2, then x4"),
    ("models.edsr.loss.focal_gamma", 1.0, "models.edsr: loss.focal_gamma belongs to"),
    ("table1.masks", ["none", "papr"], "table1.masks: there is no 'papr' .*'paper'"),
    ("sweep.seeds", [7], "sweep.seeds .*table1.seeds.*: there is no 7"),
    ("table1.seeds", [0, 0], "table1.seeds: .*twice"), ("sweep.mask", "none", "sweep.mask: a mask of kind none"),
    ("sweep.k", [1], "sweep.k.0: write 1.0, with its point"),
    ("data.test", ["cat", "photographs"], "data: train, validation and test must be different"),
    ("data.test", ["cat", "images"], "data.test: tables have columns named images; rename the set"),
    ("models.pesr.title", "EDSR", "models: needs different titles, none HR or bicubic, got .*EDSR"),
    ("masks.other", {"kind": "none"}, "masks: one entry, named none"), ("masks.start", {"kind": "none"}, "named start"),
    ("figure4", NOTHING, "figure4: shows nothing"), ("cluster.others.gpus", 1.5, "cluster.others.gpus"),
    ("models.esrgan.lr_patch", 18, "models.esrgan: lr_patch must be a multiple of 8, at least 16"),
    ("models.pesr.start.phases", [], "models.pesr: start: needs phases or a checkpoint"),
    ("table1.masks", ["none"], "figure4.largest_difference: no mask in table1.masks .* set it to 0"),
    ("masks.paper", GRADIENT, "masks.paper: .*apply: gradient .* need detach: true"),
    ("train.accumulate", 3, r"accumulate \(3\) and train.gpus \(1\) must divide models.esrgan.batch"),
    ("weights.vgg", "imagenet", "weights: vgg_width must be 1"),
    ("data", {}, "data.local: this key is missing .and 4 more"), ("data.train", "x; touch taken", "data.train: "),
])
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, at: str, value, expected: str) -> None:
    with pytest.raises(MasksrError, match=expected) as error:
        load(tmp_path, at, value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("params.yaml: ")


def test_a_sweep_point_is_the_mask_with_its_own_k_and_b_which_name_folders_as_written(tmp_path: Path) -> None:
    settings = load(tmp_path, "sweep.k", [1.0, 0.5])
    assert [str(k) for k in settings.sweep.k] == ["1.0", "0.5"]
    paper = settings.masks["paper"].model_dump()
    assert settings.mask("paper", 7, 0.1).model_dump() == paper | {"k": 7.0, "b": 0.1}
    with pytest.raises(MasksrError, match="no 'papper'"):
        settings.mask("papper")
    for name, k in (("paper", -1.0), ("paper", float("nan")), ("none", 0.2)):
        with pytest.raises(MasksrError, match=f"mask {name} with"):
            settings.mask(name, k)
    (tmp_path / "params.yaml").write_text(MINI.replace("1.0e-3", "1e-3"))
    assert params.load(tmp_path / "params.yaml") == params.load(ROOT / "profiles/mini.yaml")


def test_all_that_is_in_commands_is_checked() -> None:
    """Of dvc.yaml, every ``${...}`` is a Name, a number, or ``run``; and the check comes before the rest."""
    known = {"run", "profile", "data.train", "data.validation", "data.test", "table1.models", "table1.masks"}
    known |= {"table1.seeds", "sweep.model", "sweep.mask", "sweep.k", "sweep.b", "sweep.seeds"}
    text = (ROOT / "dvc.yaml").read_text()
    assert {name for name in re.findall(r"\$\{([^}]+)\}", text) if not name.startswith("item.")} <= known
    assert "${" not in yaml.safe_load(text)["stages"]["check"]["cmd"]
    graph = Repo(str(ROOT)).index.graph
    (check,) = (stage for stage in graph if stage.addressing.startswith("check@"))
    assert {stage for stage in graph if check in networkx.descendants(graph, stage)} == set(graph) - {check}


WORDS = st.from_regex(r"[A-Za-z0-9._]+\s?[;&|$`(){}<>*?~#!\\'\"\n\r /-]?.?", fullmatch=True)


@given(st.text(max_size=8) | WORDS)
def test_a_name_means_nothing_to_a_shell_or_a_path(text: str) -> None:
    try:
        name = NAME.validate_python(text)
    except ValidationError:
        return
    assert shlex.quote(name) == name and Path(name).name == name
    assert name not in (".", "..") and name[0] not in "-.~"


def test_the_page_is_what_the_types_say(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/params.md is made from the types; here nobody forgets to make it again."""
    assert main(["params"]) == 0
    page = (ROOT / "docs/params.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == page, f"out of date; run: {params_page.COMMAND} > docs/params.md"
