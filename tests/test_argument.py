"""Members of a class are members to the last byte; what a network learns where the classes are known is their mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from masksr import plots as figures
from masksr.argument import classes as argument
from masksr.argument import errors as argument_errors
from masksr.argument import experiment
from masksr.argument.classes import EquivalenceClass, equivalence_class, project
from masksr.argument.photographs import Neighbours, by_detail, possible
from masksr.data.bicubic import imresize
from masksr.data.packs import Pack
from masksr.fetch.find import build_pack
from masksr.results import claims

SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def pixels(low: int = 0, high: int = 255) -> st.SearchStrategy[np.ndarray]:
    return SIDES.flatmap(lambda s: arrays(np.uint8, (4 * s[0], 4 * s[1], 3), elements=st.integers(low, high)))


@given(pixels(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_whatever_is_called_found_shrinks_to_the_patch_in_every_byte(hr: np.ndarray, seed: int) -> None:
    lr = imresize(hr, 1 / 4)
    rng = np.random.default_rng(seed)
    candidates = np.stack([hr, rng.integers(0, 256, hr.shape), rng.normal(128, 300, hr.shape)])
    members, found = project(lr, candidates, steps=50)
    assert members.dtype == np.uint8 and members.shape == candidates.shape
    for member, is_member in zip(members, found, strict=True):
        assert np.array_equal(imresize(member, 1 / 4), lr) == is_member
    assert found[0] and np.array_equal(members[0], hr), "what is a member already stays as it is"


@given(pixels(64, 192), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_texture_finds_its_place_where_there_is_room(hr: np.ndarray, seed: int) -> None:
    textures = np.random.default_rng(seed).integers(0, 256, (3, *hr.shape))
    assert project(imresize(hr, 1 / 4), textures)[1].all()


def test_the_matrix_is_imresize_without_its_rounding() -> None:
    image = np.random.default_rng(0).integers(40, 216, (24, 40, 3), dtype=np.uint8)
    rows, columns = argument.shrinking(24), argument.shrinking(40)
    shrunk = np.einsum("hH,HWc,wW->hwc", rows, image.astype(float), columns)
    assert np.abs(shrunk - imresize(image, 1 / 4)).max() < 1.2  # a rounding between the axes, and one at the end
    assert np.allclose(rows.sum(axis=1), 1) and rows.shape == (6, 24)


def test_the_change_is_the_smallest_and_the_detail_stays() -> None:
    rng = np.random.default_rng(0)
    candidate, lr = rng.integers(90, 166, (32, 32, 3)), np.full((8, 8, 3), 130, np.uint8)
    members, found = project(lr, candidate)
    change = np.moveaxis(members[0] - candidate.astype(float), 2, 0)
    seen = np.linalg.pinv(argument.shrinking(32)) @ argument.shrinking(32)
    lost = change - seen @ change @ seen  # the smallest change has nothing in the null space, but for the rounding
    assert found.all() and np.sqrt(np.square(lost).mean()) < 0.6 < 4 < np.sqrt(np.square(change).mean())


@pytest.mark.parametrize("shape", [(1, 32, 28, 3), (32, 32), (1, 32, 32, 1)])
def test_candidates_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot shrink to an LR patch"):
        project(np.zeros((8, 8, 3), np.uint8), np.zeros(shape))


def test_equal_members_count_once_and_the_numbers_are_told() -> None:
    grey, checks = np.full((16, 16, 3), 100), np.indices((16, 16)).sum(axis=0)[..., None] % 2
    patch = equivalence_class(np.full((4, 4, 3), 100, np.uint8), [("a", grey), ("b", grey), ("c", grey * checks)])
    assert patch.names == ["a", "c"] and (patch.tried, patch.exact) == (3, 3)
    assert "3 of 3" in argument.in_words([patch]) and "2 of them differ" in argument.in_words([patch])
    assert "768 numbers" in argument.free_numbers(patch.lr) and "leaves 720 free" in argument.free_numbers(patch.lr)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return build_pack("rocket", tmp_path_factory.mktemp("packs") / "rocket")


def test_places_are_found_by_the_detail_that_is_lost(photographs: Pack) -> None:
    patches = by_detail(photographs, [0, 0.5, 1])
    missed = [np.square(patch.hr - imresize(patch.lr, 4).astype(float)).mean() for patch in patches]
    assert 4 * missed[0] < missed[1] < missed[2] / 4
    assert all(patch.hr.shape == (32, 32, 3) and patch.lr.shape == (8, 8, 3) for patch in patches)
    assert patches[0].overlaps(patches[0]) and not patches[0].overlaps(patches[2])


def test_smooth_and_textured_places_differ_in_what_is_probable_not_in_what_is_possible(photographs: Pack) -> None:
    smooth, textured = by_detail(photographs, [0.1, 0.9])
    neighbours = Neighbours([photographs])
    spread = {}
    for name, patch in {"smooth": smooth, "textured": textured}.items():
        for kind, found in [
            ("possible", possible(patch, photographs)),
            ("probable", neighbours.probable(patch, 9)),
        ]:
            assert all(np.array_equal(imresize(member, 1 / 4), patch.lr) for member in found.members)
            assert found.names[0] == "the photograph" and np.array_equal(found.members[0], patch.hr)
            spread[name, kind] = np.sqrt(found.variance.mean())
    assert spread["smooth", "possible"] == pytest.approx(spread["textured", "possible"], rel=0.25)
    assert 4 * spread["smooth", "probable"] < spread["textured", "probable"] < spread["textured", "possible"]


def world(classes: int = 4, members: int = 5, side: int = 4) -> list[EquivalenceClass]:
    """Classes of growing variance, each of exactly one LR patch."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(classes):
        lr = rng.integers(80, 176, (side, side, 3), dtype=np.uint8)
        textures = rng.normal(0, 4 + 12 * number, (members, 4 * side, 4 * side, 3)) + 128
        made.append(equivalence_class(lr, [(str(i), texture) for i, texture in enumerate(textures)]))
    return made


@given(st.integers(0, 2**32 - 1), st.floats(0, 300))
@settings(max_examples=20)
def test_the_error_of_any_answer_is_variance_plus_squared_distance(seed: int, size: float) -> None:
    classes = world(2)
    answers = np.random.default_rng(seed).normal(128, size, (2, 16, 16, 3))
    errors = argument_errors.expected_errors(classes, answers)
    assert np.allclose(errors["error"], errors["variance"] + errors["to_mean"], rtol=1e-12, atol=0)
    assert errors["variance"].to_list() == pytest.approx([patch.variance.mean() for patch in classes])
    assert (errors["error"] >= errors["variance"]).all()


@pytest.fixture(scope="module")
def trained() -> tuple[experiment.Training, experiment.Training]:
    return experiment.train(world(), steps=600), experiment.train(world(), "l1", steps=600)


Both = tuple[experiment.Training, experiment.Training]


def test_training_with_squared_error_comes_down_to_the_variance(trained: Both) -> None:
    course = argument_errors.over_time(trained[0].errors)
    assert (np.diff(course["to_mean"]) < 0).all(), "nearer to the class mean at every look"
    assert (course["error"] > course["variance"]).all()
    last = course.iloc[-1]
    assert last["error"] < 1.05 * last["variance"] < 0.8 * course["error"].iloc[0]
    by_class = trained[0].errors.query("step == 600")
    assert by_class["error"].is_monotonic_increasing, "the error of a class tells its variance"


def test_l1_goes_to_the_median_instead(trained: Both) -> None:
    mse, l1 = (argument_errors.over_time(training.errors).iloc[-1] for training in trained)
    assert l1["to_median"] < l1["to_mean"] and mse["to_mean"] < mse["to_median"]


def test_the_same_numbers_again_and_nobodys_random_numbers_are_touched() -> None:
    torch.manual_seed(3)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(3)
    first, second = (experiment.train(world(2), steps=20) for _ in range(2))
    pd.testing.assert_frame_equal(first.errors, second.errors, check_exact=True)
    assert torch.equal(torch.rand(1), expected) and torch.get_num_threads() == threads


def test_patches_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        experiment.train(world(1) + world(1, side=3))


def test_the_summary_is_what_the_claim_is_judged_by(trained: Both) -> None:
    mse, l1 = trained
    found = argument_errors.summary(world(), mse.errors, l1.errors, mse.weights)
    assert found["classes"] == 4 and found["members"] == 20 and found["steps"] == 600
    assert found["identity"] < 1e-12 and "4 classes" in argument_errors.in_words(found)
    assert f"{found['l1_to_median']:.1f}" in argument_errors.l1_in_words(found)

    def verdict(**changed: float) -> str:
        return claims._error_reaches_variance(found | changed, 0.05)[2]

    assert verdict() == "supported"
    assert verdict(excess=0.06) == "undecided" and verdict(distance=99.0) == "undecided"
    assert verdict(excess=-0.01) == "contradicted" and verdict(identity=1e-3) == "contradicted"
    assert claims._error_reaches_variance(None, 0.05)[2] == "not run"


def test_the_pictures_are_drawn(trained: Both) -> None:
    classes, mse = world(), trained[0]
    drawn = [
        figures.class_members({"one": classes[0], "two": classes[1]}, named=True),
        figures.answers_over_training(classes, {step: mse.answers[step] for step in (0, 600)}, [0, 3]),
        figures.error_and_variance(argument_errors.over_time(mse.errors), mse.errors),
    ]
    for figure in drawn:
        figure.draw_without_rendering()
    assert [len(figure.axes) > 1 for figure in drawn] == [True] * 3
