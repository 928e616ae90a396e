"""From files to larger files: what is kept of a picture, what is written where, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from masksr.data.bicubic import imresize
from masksr.data.images import read_image
from masksr.errors import MasksrError
from masksr.models.build import build_generator, save_generator
from masksr.params import EDSRSize
from masksr.results.evaluate import with_generator
from masksr.tools.photo import Photo, find_photos, read_photo, write_photo
from masksr.tools.upscale import plan, run, upscale_files, upscale_photo

CPU = torch.device("cpu")
SIZE = EDSRSize(architecture="edsr", n_resblocks=1, n_feats=8, res_scale=0.1)


class Repeat(nn.Module):
    """Repeats each pixel: what becomes of every level is known. Red can be shifted, as a network's colours would be."""

    def __init__(self, scale: int = 4, pixel_range: float = 1.0, red: float = 0.0) -> None:
        super().__init__()
        self.scale, self.pixel_range = scale, pixel_range
        self.shift = nn.Parameter(pixel_range * torch.tensor([red, 0, 0]).view(3, 1, 1))

    def forward(self, lr: Tensor) -> Tensor:
        assert lr.shape[1] == 3
        return F.interpolate(lr + self.shift, scale_factor=self.scale, mode="nearest")


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def repeated(pixels: np.ndarray, scale: int = 4) -> np.ndarray:
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of three pictures and a note."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number, name in enumerate(("one.png", "two.bmp", "three.jpg")):
        Image.fromarray(noise(6 + number, 9, 3)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


# ---- One picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixel_range", [1.0, 255.0])
def test_every_level_of_every_depth_goes_through_unharmed(dtype, channels, pixel_range):
    pixels = noise(30, 40, channels, dtype=dtype)
    sr = upscale_photo(Photo(pixels, None, b"profile"), Repeat(4, pixel_range), tile=16, overlap=2)
    np.testing.assert_array_equal(sr.pixels, repeated(pixels))
    assert sr.pixels.dtype == dtype and sr.alpha is None and sr.profile == b"profile"


def test_grey_is_the_mean_of_the_colours_that_a_network_makes_of_it():
    pixels = np.full((4, 5, 1), 100, np.uint8)
    sr = upscale_photo(Photo(pixels, None, None), Repeat(red=30 / 255))
    assert (sr.pixels == 110).all() and sr.pixels.shape == (16, 20, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_transparency_is_enlarged_by_our_bicubic(scale):
    alpha = noise(7, 5)
    sr = upscale_photo(Photo(noise(7, 5, 3), alpha, None), Repeat(scale))
    np.testing.assert_array_equal(sr.alpha, imresize(alpha, scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (13, 11)])
def test_transparency_of_16_bits_is_the_same_bicubic_with_finer_levels(scale, size):
    alpha = 60 + noise(*size) // 2  # away from the ends, where 8 bits are cut between the passes
    sr = upscale_photo(Photo(noise(*size, 3, dtype=np.uint16), alpha.astype(np.uint16) * 257, None), Repeat(scale))
    assert sr.alpha.dtype == np.uint16
    assert np.abs(sr.alpha / 257 - imresize(alpha, scale)).max() <= 1.2  # its two roundings: half a level each, or more


def test_opaque_stays_opaque_and_holes_stay_holes():
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        alpha = np.zeros((12, 12), dtype)
        alpha[:, 6:] = top
        sr = upscale_photo(Photo(noise(12, 12, 3, dtype=dtype), alpha, None), Repeat())
        assert (sr.alpha[:, :16] == 0).all() and (sr.alpha[:, 32:] == top).all()


# ---- Files -----------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_folder_of_png(album, tmp_path, capsys):
    out = tmp_path / "new" / "large"
    written = upscale_files([str(album)], out, Repeat(), device=CPU)
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "three.png", "two.png"]
    assert sorted(written) == sorted(out.iterdir())
    for name in ("one.png", "two.bmp", "three.jpg"):
        expected = repeated(read_image(album / name))
        np.testing.assert_array_equal(read_image((out / name).with_suffix(".png")), expected)
    assert "[1/3]" in (said := capsys.readouterr().out) and "9 x 6 to 36 x 24" in said


def test_all_that_a_picture_holds_arrives_in_the_file(tmp_path):
    pixels, alpha = noise(5, 6, 3, dtype=np.uint16), np.full((5, 6), 65535, np.uint16)
    write_photo(tmp_path / "in.png", Photo(pixels, alpha, b"a profile"))
    (path,) = upscale_files([str(tmp_path / "in.png")], tmp_path / "out", Repeat(), device=CPU)
    sr = read_photo(path)
    np.testing.assert_array_equal(sr.pixels, repeated(pixels))
    assert (sr.alpha == 65535).all() and sr.profile == b"a profile"


def test_photos_from_a_turned_camera_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "in.png", exif=exif)
    (path,) = upscale_files([str(tmp_path / "in.png")], tmp_path / "out", Repeat(), device=CPU)
    np.testing.assert_array_equal(read_image(path), repeated(np.rot90(noise(6, 9, 3), -1)))
    assert not Image.open(path).getexif()


def test_what_is_there_stays_unless_it_may_be_overwritten(album, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "two.png").write_bytes(b"precious")
    written = upscale_files([str(album)], out, Repeat(), device=CPU)
    assert (out / "two.png").read_bytes() == b"precious" and len(written) == 2
    assert "--overwrite" in capsys.readouterr().out
    assert len(upscale_files([str(album)], out, Repeat(), device=CPU, overwrite=True)) == 3
    np.testing.assert_array_equal(read_image(out / "two.png"), repeated(read_image(album / "two.bmp")))


def test_one_broken_file_does_not_lose_the_others(album, tmp_path):
    whole = (album / "one.png").read_bytes()
    (album / "one.png").write_bytes(whole[: len(whole) // 2])
    Image.new("CMYK", (4, 4)).save(album / "print.tif")
    with pytest.raises(MasksrError, match=r"(?s)^2 of 4 pictures failed:.*one\.png: cannot be read.*CMYK"):
        upscale_files([str(album)], tmp_path / "out", Repeat(), device=CPU)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["three.png", "two.png"]


def test_a_failure_of_the_network_names_the_picture(album, tmp_path):
    with pytest.raises(MasksrError, match=r"one\.png: .*NaN"):
        upscale_files([str(album / "one.png")], tmp_path / "out", Repeat(red=float("nan")), device=CPU)
    assert not (tmp_path / "out").exists()


class Unused(Repeat):
    def forward(self, lr: Tensor) -> Tensor:
        raise AssertionError("nothing should be computed")


def test_pictures_of_one_stem_keep_their_whole_names(album, tmp_path):
    (album / "ONE.jpg").write_bytes((album / "three.jpg").read_bytes())
    found = {path.name for path in plan(find_photos([str(album)]), tmp_path / "out").values()}
    assert {"ONE.jpg.png", "one.png.png", "three.png"} <= found


def test_two_pictures_of_one_name_are_refused_before_anything_is_computed(album, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/ONE.png").write_bytes((album / "one.png").read_bytes())
    with pytest.raises(MasksrError, match=r"one\.png and .*ONE\.png would both become|ONE\.png and .*one\.png would"):
        upscale_files([str(album), str(tmp_path / "other")], tmp_path / "out", Unused(), device=CPU)


def test_inputs_are_never_overwritten(album):
    with pytest.raises(MasksrError, match=r"over a picture to upscale"):
        upscale_files([str(album)], album, Unused(), device=CPU, overwrite=True)


@pytest.mark.parametrize(
    "wrong,match",
    [({"inputs": ["nothing.png"]}, "no such file"), ({"tile": 8, "overlap": 4}, "--tile"), ({"out": "file"}, "-o")],
)
def test_what_cannot_work_is_refused_before_anything_is_computed(album, tmp_path, wrong, match):
    (tmp_path / "file").touch()
    inputs, out = wrong.pop("inputs", [str(album)]), tmp_path / wrong.pop("out", "out")
    with pytest.raises(MasksrError, match=match):
        upscale_files(inputs, out, Unused(), device=CPU, **wrong)


# ---- The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "generator.safetensors"
    save_generator(build_generator(SIZE, 4, seed=0), SIZE, path)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the profile mini in which nothing was trained yet."""
    root, here = Path(__file__).parents[1], tmp_path / "project"
    here.mkdir()
    (here / "dvc.yaml").touch()
    (here / "params.yaml").write_text((root / "profiles/mini.yaml").read_text())
    monkeypatch.chdir(here)
    return here


def test_a_file_of_weights_needs_no_project(album, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    run([str(album)], out, "edsr", checkpoint=str(checkpoint), device="cpu")
    generator = build_generator(SIZE, 4, seed=0)

    class OnePicture:
        def lr(self, number: int, scale: int) -> np.ndarray:
            return read_image(album / "one.png")

    expected = with_generator(generator, CPU)(OnePicture(), 0)
    difference = read_image(out / "one.png").astype(int) - expected  # from how evaluation upscales it
    assert np.abs(difference).max() <= 1 and np.count_nonzero(difference) < 0.01 * difference.size
    assert "generator.safetensors: x4, fp32 on CPU" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_generator_gives_the_same_bytes(album, checkpoint, tmp_path, precision):
    for out in ("a", "b"):
        settings = {"checkpoint": str(checkpoint), "device": "cpu", "precision": precision, "tile": 5, "overlap": 1}
        run([str(album / "one.png")], tmp_path / out, "edsr", **settings)
    assert (tmp_path / "a/one.png").read_bytes() == (tmp_path / "b/one.png").read_bytes()


def test_without_a_checkpoint_it_is_what_the_profile_trained(album, checkpoint, project, tmp_path):
    with pytest.raises(MasksrError, match=r"profile mini has no trained edsr yet.*make repro.*--checkpoint"):
        run([str(album)], tmp_path / "out", "edsr", device="cpu")
    trained = project / "runs/mini/variants/edsr-paper-s0/generator.safetensors"
    trained.parent.mkdir(parents=True)
    checkpoint.rename(trained)
    assert len(run([str(album)], tmp_path / "out", "edsr", device="cpu")) == 3
    with pytest.raises(MasksrError, match="--res-scale"):
        run([str(album)], tmp_path / "out", "edsr", device="cpu", res_scale=0.1)


def test_mistakes_on_the_command_line(album, checkpoint, tmp_path):
    def fails(match: str, *inputs: Path, model: str = "edsr", **settings: object) -> None:
        with pytest.raises(MasksrError, match=match):
            run([str(path) for path in inputs or (album,)], tmp_path / "out", model, **settings)

    fails("--model srgan: there are esrgan, pesr, edsr", model="srgan", checkpoint=str(checkpoint))
    fails("use --model edsr", model="pesr", checkpoint=str(checkpoint), device="cpu")
    fails("no such file", tmp_path / "nothing", checkpoint="not looked for")
    fails("--overlap", checkpoint="not looked for", tile=10, overlap=5)
    if not torch.cuda.is_available():
        fails("--device cuda: not available", checkpoint=str(checkpoint), device="cuda")
    assert not (tmp_path / "out").exists()
