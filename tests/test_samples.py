"""The rows of figure 4 from generators of random weights: whose pixels, whose errors, whose masks."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from masksr import params
from masksr import plots as figures
from masksr.data.images import luma, to_image, to_tensor
from masksr.data.packs import Pack
from masksr.fetch.find import build_pack
from masksr.models.checkpoints import build_generator, load_generator, save_generator
from masksr.paths import Paths
from masksr.plots import samples
from masksr.training.mask import error_mask

ROOT = Path(__file__).parents[1]
SIZE = 64


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("a project")
    content = yaml.safe_load((ROOT / "profiles/mini.yaml").read_text())
    content["models"]["esrgan"]["generator"] |= {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    content["models"]["edsr"]["generator"] |= {"n_resblocks": 1, "n_feats": 8}
    content["table1"] |= {"models": ["esrgan", "edsr"], "masks": ["none", "paper"]}
    content["data"]["test"] = ["cat"]
    crop = {"set": "cat", "image": 1, "top": 40, "left": 60, "size": 96}
    content["figure4"] |= {"size": SIZE, "largest_difference": 1, "random": 1, "crops": [crop]}
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    (root / "dvc.yaml").touch()
    settings, paths = params.load(root / "params.yaml"), Paths(root, "mini")
    build_pack("cat", paths.set("cat"))
    for model in settings.table1.models:
        size = settings.models[model].generator
        for number, mask in enumerate(settings.table1.masks):
            folder = paths.variant(model, mask, 0)
            folder.mkdir(parents=True)
            save_generator(build_generator(size, 4, seed=number), size, folder / "generator.safetensors")
    return settings, paths


@pytest.fixture(scope="module")
def made(project):
    return samples.figure4_rows(*project)


@torch.inference_mode()
def upscaled(paths, model, mask, image):
    generator = load_generator(paths.variant(model, mask, 0) / "generator.safetensors").eval()
    lr = to_tensor(Pack(paths.set("cat")).lr(image, 4), generator.pixel_range)
    return to_image(generator(lr)[0], generator.pixel_range)


def test_every_row_has_every_variant_at_one_place(project, made):
    rows, titles = made
    assert titles == ["LR", "ESRGAN", "ESRGAN+Mask", "EDSR", "EDSR+Mask", "HR"]
    assert [row.how for row in rows] == ["largest difference", "random, seed 0", "chosen by hand"]
    by_hand, pack = rows[-1], Pack(project[1].set("cat"))
    assert by_hand.box == (40, 60, 96) and by_hand.name == f"cat: {pack.names[1]}"
    np.testing.assert_array_equal(by_hand.images[-1], pack.hr(1)[40:136, 60:156])
    np.testing.assert_array_equal(by_hand.images[0], pack.lr(1, 4)[10:34, 15:39])
    np.testing.assert_array_equal(by_hand.images[4], upscaled(project[1], "edsr", "paper", 1)[40:136, 60:156])


def test_no_other_square_differs_more(project, made):
    """Mean absolute difference of luma between mask and plain, mean over the models, over all images and places."""
    means = {}
    for image in range(2):
        pairs = [
            [luma(upscaled(project[1], model, mask, image)) for mask in ("none", "paper")]
            for model in ("esrgan", "edsr")
        ]
        difference = np.mean([np.abs(masked - plain) for plain, masked in pairs], axis=0)
        for top in range(0, difference.shape[0] - SIZE + 1, 4):
            for left in range(0, difference.shape[1] - SIZE + 1, 4):
                means[image, top, left] = difference[top : top + SIZE, left : left + SIZE].mean()
    image, top, left = max(means, key=means.get)
    row = made[0][0]
    assert row.box == (top, left, SIZE)
    np.testing.assert_array_equal(row.photograph, Pack(project[1].set("cat")).hr(image))


def test_masks_are_equation_8_of_the_whole_picture_in_the_range_of_the_network(project, made):
    settings, paths = project
    row, mask = made[0][-1], settings.masks["paper"]
    assert list(row.masks) == ["ESRGAN", "ESRGAN+Mask", "EDSR", "EDSR+Mask"]
    for title, model, name, pixel_range in [("ESRGAN", "esrgan", "none", 1), ("EDSR+Mask", "edsr", "paper", 255)]:
        pair = [
            image.astype(np.float64) * pixel_range / 255 for image in (upscaled(paths, model, name, 1), row.photograph)
        ]
        expected = np.clip(mask.k * np.square(pair[0] - pair[1]).mean(axis=2) + mask.b, 0, 1)[40:136, 60:156]
        np.testing.assert_allclose(row.masks[title], expected, atol=1e-4)
    tensors = [to_tensor(image, 1) for image in (upscaled(paths, "esrgan", "none", 1), row.photograph)]
    relative = {
        "masks": settings.masks | {"paper": mask.model_copy(update={"error_range": "relative", "kind": "expected"})}
    }
    rows, _ = samples.figure4_rows(settings.model_copy(update=relative), paths)
    whole = error_mask(*tensors, mask.model_copy(update={"error_range": "relative"}))[0, 0].numpy()
    np.testing.assert_allclose(rows[-1].masks["ESRGAN"], whole[40:136, 60:156], atol=1e-6)


def test_both_figures_draw_them(made):
    rows, titles = made
    figure, maps = figures.figure4(rows, titles, lines=2), figures.figure4_maps(rows, titles)
    assert all(how in figure.alt for how in ("largest difference", "random, seed 0", "chosen by hand"))
    assert not figure.is_drawing() and not maps.is_drawing()
    drawn = [ax.images[0] for ax in maps.axes if ax.images]
    errors = [image for image in drawn if image.get_array().ndim == 2 and image.norm.vmax != 1]
    assert len(drawn) == 3 * (1 + 2 * 4) and len({image.norm.vmax for image in errors}) == 1, "one scale for all"
    expected = np.abs(luma(rows[0].images[1]) - luma(rows[0].images[-1]))
    np.testing.assert_array_equal(errors[0].get_array(), expected)


def test_without_a_mask_there_is_no_difference_to_look_for(project):
    settings, paths = project
    plain = settings.model_copy(
        update={
            "table1": settings.table1.model_copy(update={"masks": ["none"]}),
            "figure4": settings.figure4.model_copy(update={"largest_difference": 0}),
        }
    )
    rows, titles = samples.figure4_rows(plain, paths)
    assert titles == ["LR", "ESRGAN", "EDSR", "HR"] and list(rows[0].masks) == ["ESRGAN", "EDSR"]
    assert figures.figure4_maps(rows, titles).alt
