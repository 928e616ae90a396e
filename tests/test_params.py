"""params.yaml: a typo must stop everything with one line that names the key, and no name means a thing to a shell."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from masksr import params
from masksr.errors import MasksrError

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))]
NOTHING = {"size": 64, "largest_difference": 0, "search": None, "random": 0, "seed": 0, "crops": []}  # of figure 4


@pytest.fixture
def mini() -> dict:
    return yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())


def load(content: dict, folder: Path, *, at: str = "", value: object = None) -> params.Params:
    content = copy.deepcopy(content)
    if at:
        section = content
        *keys, last = (int(key) if key.isdigit() else key for key in at.split("."))
        for key in keys:
            section = section[key]
        section[last] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return params.load(path)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.parent.name + "/" + p.name)
def test_every_committed_file_is_valid(path: Path) -> None:
    params.load(path)


def test_the_committed_default_is_the_profile_mini() -> None:
    assert params.load(ROOT / "params.yaml").profile == "mini"


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        ("masks.paper.kk", 1.0, "masks.paper.kk: unknown key .did you mean 'k'"),
        ("sweeep", {}, "sweeep: unknown key .did you mean 'sweep'"),
        ("masks.paper.k", "much", "masks.paper.k: .*valid number, got 'much'"),
        ("masks.paper.k", True, "masks.paper.k: .*valid number, got True"),
        ("masks.paper.k", float("nan"), "masks.paper.k"),
        ("masks.paper.window", 4, "masks.paper: window must be odd"),
        ("masks.paper.error_range", 1, "masks.paper.error_range: .*'native', '1', '255' or 'relative'"),
        ("masks.paper", {"kind": "error", "k": 0.2}, "masks.paper: kind: error also needs apply, b"),
        ("masks.none.k", 0.2, "masks.none: kind: none takes no other key"),
        ("models.esrgan.generator.num_fet", 8, "models.esrgan.generator.num_fet: unknown key .*num_feat"),
        ("models.esrgan.gan.epochs", "5", "models.esrgan.gan.epochs: .*valid integer, got '5'"),
        ("models.esrgan.gan.halve_at", [99], "models.esrgan.gan: halve_at must rise and stay below epochs"),
        ("models.pesr.start.phases.0.scale", 2, "models.pesr: start: only edsr changes its scale"),
        ("models.edsr.loss.focal_gamma", 1.0, "models.edsr: loss.focal_gamma belongs to"),
        ("table1.masks", ["none", "papr"], "table1.masks: there is no 'papr' .*'paper'"),
        ("table1.seeds", [0, 0], "table1.seeds: .*twice"),
        ("sweep.k", 0.2, "sweep.k: .*valid list, got 0.2"),
        ("sweep.k", [0.2, -1.0], "sweep.k.1"),
        ("sweep.seeds", [7], "sweep.seeds: .*table1.seeds"),
        ("sweep.mask", "none", "sweep.mask: a mask of kind none"),
        ("data.test", ["cat", "photographs"], "data: train, validation and test must be different"),
        ("table1.masks", ["paper"], "table1.masks: must hold none"),
        ("masks.start", {"kind": "none"}, "masks: one entry, named none"),
        ("models.esrgan.lr_patch", 18, "models.esrgan: lr_patch must be a multiple of 8, at least 16"),
        ("models.pesr.lr_patch", 18, "models.pesr: lr_patch must be a multiple of 4"),
        ("models.pesr.start.phases", [], "models.pesr: start: needs phases or a checkpoint"),
        ("figure4.crops.0.top", 61, r"figure4.crops.0.top: .*multiple of 4"),
        ("figure4.crops.0.set", "cart", r"figure4.crops: there is no 'cart' .*'cat'"),
        ("figure4.size", 62, r"figure4.size: .*multiple of 4"),
        ("figure4.search", 0, r"figure4.search: .*greater than 0"),
        ("figure4", NOTHING, "figure4: shows nothing; set largest_difference or random to 1, or name crops"),
        ("table1.masks", ["none"], "figure4.largest_difference: no mask in table1.masks .* set it to 0"),
        (
            "masks.paper",
            {
                "kind": "error",
                "k": 1.0,
                "b": 0.1,
                "error_range": "1",
                "window": 1,
                "per_channel": False,
                "apply": "gradient",
                "detach": False,
            },
            "masks.paper: apply: gradient .* needs detach: true",
        ),
        ("train.precision", "fp16", "train.precision: .*'fp32', 'tf32' or 'bf16'"),
        ("weights.vgg", "imagenet", "weights: vgg_width must be 1"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(mini: dict, tmp_path: Path, at: str, value, expected: str) -> None:
    with pytest.raises(MasksrError, match=expected) as error:
        load(mini, tmp_path, at=at, value=value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("params.yaml: ")


def test_a_missing_key_is_named(mini: dict, tmp_path: Path) -> None:
    del mini["train"]["precision"]
    with pytest.raises(MasksrError, match=r"train.precision: this key is missing"):
        load(mini, tmp_path)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasksrError, match=r"params.yaml: cannot be read"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("profile: [")
    with pytest.raises(MasksrError, match="not valid YAML"):
        params.load(tmp_path / "params.yaml")


def test_a_sweep_point_is_the_mask_with_its_own_k_and_b(mini: dict, tmp_path: Path) -> None:
    settings = load(mini, tmp_path)
    assert settings.mask("paper", 7, 0.1).model_dump() == settings.masks["paper"].model_dump() | {"k": 7.0, "b": 0.1}
    assert settings.mask("paper", settings.masks["paper"].k, settings.masks["paper"].b) == settings.masks["paper"]
    with pytest.raises(MasksrError, match="no 'papper'"):
        settings.mask("papper")


def test_sweep_values_stay_as_written_because_they_name_folders(mini: dict, tmp_path: Path) -> None:
    settings = load(mini, tmp_path, at="sweep.k", value=[1, 0.5])
    assert [str(k) for k in settings.sweep.k] == ["1", "0.5"]


def test_numbers_may_be_written_as_people_write_them(mini: dict, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(mini).replace("learning_rate: 0.001", "learning_rate: 1e-3"))
    assert params.load(path) == params.load(ROOT / "profiles/mini.yaml")


# ---- What reaches a shell --------------------------------------------------------------------------------------


def test_all_that_is_in_commands_is_checked() -> None:
    """Of dvc.yaml, every ``${...}`` is a Name, a number, or ``run``, which params.yaml cannot replace."""
    known = {"run", "profile", "data.train", "data.validation", "data.test", "table1.models", "table1.masks"}
    known |= {"table1.seeds", "sweep.model", "sweep.mask", "sweep.k", "sweep.b", "sweep.seeds"}
    used = set(re.findall(r"\$\{([^}]+)\}", (ROOT / "dvc.yaml").read_text()))
    assert {name for name in used if not name.startswith("item.")} <= known
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert "${" not in pipeline["stages"]["params"]["cmd"].replace("${run}", "")


@given(st.text(max_size=8) | st.from_regex(r"[A-Za-z0-9._]+\s?[;&|$`(){}<>*?~#!\\'\"\n\r /-]?.?", fullmatch=True))
def test_a_name_means_nothing_to_a_shell_or_a_path(text: str) -> None:
    try:
        name = TypeAdapter(params.Name).validate_python(text)
    except ValidationError:
        return
    assert shlex.quote(name) == name and Path(name).name == name
    assert name not in (".", "..") and name[0] not in "-.~"


@pytest.mark.parametrize("name", ["x; touch taken; #", "x\ntouch taken\n", "$(touch taken)", "../precious", "-o", ""])
@pytest.mark.parametrize("at", ["profile", "data.train", "table1.models.0"])
def test_a_bad_name_is_refused(mini: dict, tmp_path: Path, at: str, name: str) -> None:
    with pytest.raises(MasksrError, match=f"params.yaml: {at}: "):
        load(mini, tmp_path, at=at, value=name)


def test_every_stage_waits_for_the_check() -> None:
    """DVC stops before any other stage runs where params.yaml is wrong."""
    import networkx
    from dvc.repo import Repo

    graph = Repo(str(ROOT)).index.graph
    (check,) = (stage for stage in graph if stage.addressing == "params")
    waiting = {stage for stage in graph if check in networkx.descendants(graph, stage)}
    assert set(graph) - waiting == {check}
