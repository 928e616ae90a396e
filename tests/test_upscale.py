"""Pictures as photographers keep them, read, upscaled and written: what is kept, and what is said."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_scores import make_project
from PIL import Image, ImageCms, ImageOps
from tiny_project import ROOT, change, write_files
from torch import Tensor, nn

from masksr.data.bicubic import imresize
from masksr.data.images import Photo, find_photos, read_image, read_photo, to_image, to_tensor, write_photo
from masksr.io import MasksrError
from masksr.models.build import build_generator, save_generator
from masksr.models.edsr import EDSR, PESR
from masksr.models.rrdb import RRDBNet
from masksr.params import EDSRSize
from masksr.results.evaluate import with_generator
from masksr.results.tiles import upscale_tiled
from masksr.tools import upscale
from masksr.tools.upscale import plan, run, upscale_photo

SIZE = EDSRSize(architecture="edsr", n_resblocks=1, n_feats=8, res_scale=0.1)
TWO = [Image.new("L", (4, 4), level) for level in (0, 9)]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class Repeat(nn.Module):
    """Repeats each pixel: what becomes of every level is known. Red can be shifted, as a network's might."""

    def __init__(self, scale: int = 4, pixel_range: float = 1.0, red: float = 0.0) -> None:
        super().__init__()
        self.scale, self.pixel_range = scale, pixel_range
        self.shift = nn.Parameter(pixel_range * torch.tensor([red, 0, 0]).view(3, 1, 1))

    def forward(self, lr: Tensor) -> Tensor:
        assert lr.shape[1] == 3
        return F.interpolate(lr + self.shift, scale_factor=self.scale, mode="nearest")


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), channels=st.sampled_from([1, 3]),
    transparent=st.booleans(), dtype=st.sampled_from([np.uint8, np.uint16]),
    profile=st.sampled_from([None, PROFILE]),
)
def test_a_photo_comes_back_as_it_was_written(tmp_path_factory, size, channels, transparent, dtype, profile):
    pixels, alpha = noise(*size, channels, dtype=dtype), noise(*size, dtype=dtype)
    if profile and channels == 1:  # of colours it is left out
        write_photo(tmp_path_factory.getbasetemp() / "colours.png", Photo(pixels, None, profile))
        assert read_photo(tmp_path_factory.getbasetemp() / "colours.png").profile is None
        profile = profile[:16] + b"GRAY" + profile[20:]
    path = tmp_path_factory.getbasetemp() / "new" / "photo.png"
    write_photo(path, Photo(pixels, alpha if transparent else None, profile))
    back = read_photo(path)
    assert (back.pixels == pixels).all() and back.pixels.dtype == dtype and back.levels == np.iinfo(dtype).max
    assert back.profile == (profile if dtype == np.uint8 else None)
    np.testing.assert_array_equal(back.alpha, alpha if transparent else None)
    write_photo(path, Photo(pixels, np.full_like(alpha, back.levels), None))
    expected = np.rint(pixels * (255 / back.levels)) + np.zeros(3)
    np.testing.assert_array_equal(read_image(path), expected)  # what is measured: 8 bits of colour


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_all_modes_of_8_bits_are_read_as_pillow_reads_them_and_upright(tmp_path, mode):
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned
    Image.fromarray(noise(8, 6, 4)).convert(mode).save(tmp_path / "a.png", exif=exif)
    photo = read_photo(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        rgba = np.array(ImageOps.exif_transpose(saved).convert("RGBA"))
    np.testing.assert_array_equal(np.broadcast_to(photo.pixels, rgba[..., :3].shape), rgba[..., :3])
    np.testing.assert_array_equal(photo.alpha, None if mode in ("1", "L") else rgba[..., 3])


@pytest.mark.parametrize(("name", "save", "says"), [
    ("a.png", lambda path: None, "no such file"),
    ("a.png", lambda path: Image.new("RGBA", (4, 4), (9, 9, 9, 254)).save(path), "transparent"),
    ("a.png", lambda path: Image.new("P", (4, 4)).save(path, transparency=0), "transparent"),
    ("a.tif", lambda path: Image.new("CMYK", (4, 4)).save(path), "mode CMYK .*RGB PNG"),
    ("a.tif", lambda path: cv2.imwrite(str(path), noise(4, 4, 3, dtype=np.uint16)), "8 bits"),
    ("a.gif", lambda path: TWO[0].save(path, save_all=True, append_images=TWO[1:]), "several pictures"),
])
def test_what_is_not_read_is_named(tmp_path, name, save, says):
    save(tmp_path / name)
    with pytest.raises(MasksrError, match=rf"{name}: .*{says}"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("pixel_range", [1, 255])
def test_to_image_undoes_to_tensor_and_refuses_nan(pixel_range):
    pixels = noise(12, 20, 3)
    tensor = to_tensor(pixels, pixel_range)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / (255 / pixel_range))
    np.testing.assert_array_equal(to_image(tensor, pixel_range), pixels)
    np.testing.assert_array_equal(to_image(tensor[0], pixel_range), pixels)
    with pytest.raises(MasksrError, match="diverged"):
        to_image(torch.nan * tensor, pixel_range)


def test_folders_and_patterns_stand_for_their_pictures(tmp_path):
    names = "b.JPG", "a.png", "notes.txt", ".hidden.png", "below/c.png", "[a].png", "empty/x.txt", "z/d.jfif"
    write_files(tmp_path, dict.fromkeys(names, ""))
    (tmp_path / "z/e.jpe").symlink_to("d.jfif")  # a name of its own, as in the stores of DVC and git-annex

    def found(*names: str) -> list[str]:
        return [path.name for path in find_photos([str(tmp_path / name) for name in names])]

    assert found("b.JPG", "*.png", "", "**/c.*") == ["b.JPG", "[a].png", "a.png", "c.png"]  # nothing twice
    assert found("[a].png") == ["[a].png"] and found("z", "z/../z/d.jfif") == ["d.jfif", "e.jpe"]
    for wrong in ("nothing.png", "*.bmp", "empty"):
        with pytest.raises(MasksrError, match="no such file, or no picture"):
            found("a.png", wrong)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixel_range", [1.0, 255.0])
def test_every_level_of_every_depth_goes_through_unharmed(dtype, channels, pixel_range):
    pixels = noise(30, 40, channels, dtype=dtype)
    sr = upscale_photo(Photo(pixels, None, b"profile"), Repeat(4, pixel_range), tile=16, overlap=2)
    np.testing.assert_array_equal(sr.pixels, pixels.repeat(4, axis=0).repeat(4, axis=1))
    assert sr.pixels.dtype == dtype and sr.alpha is None and sr.profile == b"profile"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparency_is_enlarged_by_bicubic_and_grey_is_the_mean_of_the_colours(dtype):
    sr = upscale_photo(Photo(np.full((4, 5, 1), 100, np.uint8), None, None), Repeat(red=30 / 255))
    assert (sr.pixels == 110).all() and sr.pixels.shape == (16, 20, 1)
    alpha, finer = 60 + noise(13, 11) // 2, np.iinfo(dtype).max // 255  # away from the ends, which are cut
    alpha[:, 8:] = 255
    sr = upscale_photo(Photo(noise(13, 11, 3, dtype=dtype), alpha.astype(dtype) * dtype(finer), None), Repeat())
    difference = sr.alpha / finer - imresize(alpha, 4)
    assert sr.alpha.dtype == dtype and np.abs(difference[8:-8, 8:-8]).max() <= 1.2  # imresize rounds twice


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of three pictures and a note."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number, name in enumerate(("one.png", "two.bmp", "three.jpg")):
        Image.fromarray(noise(6 + number, 9, 3)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_a_folder_becomes_a_folder_of_png(album, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(upscale, "load_pretrained", lambda *_: (Path("g.pth"), Repeat()))
    out, options = tmp_path / "new" / "large", {"checkpoint": "g.pth", "device": "cpu"}
    written = run([str(album)], out, "edsr", **options)
    assert sorted(path.name for path in written) == ["one.png", "three.png", "two.png"]
    assert sorted(written) == sorted(out.iterdir())
    for name in ("one.png", "two.bmp", "three.jpg"):
        enlarged = read_image((out / name).with_suffix(".png"))
        np.testing.assert_array_equal(enlarged, read_image(album / name).repeat(4, axis=0).repeat(4, axis=1))
    assert "[1/3]" in (said := capsys.readouterr().out) and "36 x 24 pixels" in said
    assert not run([str(album)], out, "edsr", **options), "what is there stays"
    assert "--overwrite" in capsys.readouterr().out
    assert len(run([str(album)], out, "edsr", overwrite=True, **options)) == 3
    whole = (album / "one.png").read_bytes()
    (album / "one.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MasksrError, match=r"(?s)^1 of 3 pictures failed:.*one\.png: cannot be read"):
        run([str(album)], tmp_path / "out", "edsr", **options)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["three.png", "two.png"]


def test_no_picture_replaces_another(album, tmp_path):
    (album / "ONE.jpg").write_bytes((album / "three.jpg").read_bytes())
    names = {path.name for path in plan(find_photos([str(album)]), tmp_path / "out").values()}
    assert names == {"ONE.jpg.png", "one.png.png", "three.png", "two.png"}
    (tmp_path / "linked").symlink_to(album)
    for pictures, out in (
        ([tmp_path / "linked/two.png"], album), ([album / "one.png", tmp_path / "other/ONE.png"], tmp_path / "out"),
        ([album / "three.jpg", album / "two.png"], album),
    ):
        with pytest.raises(MasksrError, match="it would replace another picture"):
            plan([album / "three.png", *pictures], out)


def test_a_checkpoint_needs_no_project_and_none_is_what_the_profile_trained(album, tmp_path, monkeypatch):
    paths, out = make_project(tmp_path / "project"), tmp_path / "out"
    trained = paths.variant("edsr", "paper", 0) / "generator.safetensors"
    monkeypatch.chdir(paths.root)
    save_generator(build_generator(SIZE, 4, seed=0), SIZE, trained)
    assert len(run([str(album)], out, "edsr", device="cpu")) == 3
    Path("params.yaml").write_text((ROOT / "profiles/real_flat.yaml").read_text())
    change(Path(), "table1", value={"models": ["esrgan"], "masks": ["none", "flat_letter", "letter"], "seeds": [3, 0]})
    for model, says in (("esrgan", "esrgan-letter-s3/.*not trained yet"), ("edsr", "trains esrgan, no edsr; name a")):
        with pytest.raises(MasksrError, match=says):
            run([str(album)], out, model, device="cpu")
    monkeypatch.chdir(tmp_path)
    run([str(album)], tmp_path / "again", "edsr", checkpoint=str(trained), device="cpu")
    assert (tmp_path / "again/one.png").read_bytes() == (out / "one.png").read_bytes()
    for wrong, says in (
        ({"model": "pesr"}, "use --model edsr"), ({"inputs": ["nothing.png"]}, "no such file"),
        ({"tile": 10, "overlap": 5}, "--overlap"), ({"out": Path(__file__)}, "could not be written"),
    ):
        arguments = {"inputs": [str(album)], "out": tmp_path / "new", "model": "edsr", "checkpoint": str(trained)}
        with pytest.raises(MasksrError, match=says):
            run(**arguments | {"device": "cpu"} | wrong)


class Blur(nn.Module):
    """Means of squares of ``2 radius + 1`` pixels, then repeated: its context is known, its sums exact."""

    pixel_range = 255.0

    def __init__(self, radius: int, scale: int = 2) -> None:
        super().__init__()
        self.radius, self.scale, self.sizes = radius, scale, set()
        self.weight = nn.Parameter(torch.ones(3, 1, 2 * radius + 1, 2 * radius + 1))

    def forward(self, lr: Tensor) -> Tensor:
        self.sizes.add(lr.shape[2:])
        mean = F.conv2d(lr, self.weight, padding=self.radius, groups=3) / self.weight[0].numel()
        return F.interpolate(mean, scale_factor=self.scale, mode="nearest")


def picture(height: int, width: int, pixel_range: float = 255) -> Tensor:
    return torch.from_numpy(noise(1, 3, height, width)).float() / (255 / pixel_range)


def whole(network: nn.Module, lr: Tensor) -> Tensor:
    """The network's output of the picture at once, as evaluation rounds it."""
    with torch.inference_mode():
        return torch.from_numpy(to_image(network(lr), network.pixel_range)).permute(2, 0, 1)[None]


@settings(max_examples=60)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 12), st.integers(1, 40), st.integers(1, 4))
def test_with_enough_context_the_result_is_that_of_the_whole_picture(height, width, overlap, more, scale):
    tile = 2 * overlap + more
    network, lr = Blur(min(overlap, 4), scale), picture(height, width)
    assert torch.equal(upscale_tiled(network, lr, tile=tile, overlap=overlap), whole(network, lr))
    sizes = network.sizes - {(height, width)}
    assert len(sizes) <= 1 and all(max(sides) <= tile for sides in sizes)  # one shape, in one bound of memory


@pytest.mark.parametrize(("make", "reach"), [
    (lambda: RRDBNet(8, 1, 4), 19), (lambda: PESR(2, 8), 8), (lambda: EDSR(2, 8, scale=3), 8),
])
def test_every_architecture_upscales_without_seams(make, reach):
    """reach: how far it looks in LR pixels; a convolution 1, after an upsampling 1/2, then 1/4."""
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():  # an untrained one gives nearly one colour, in which no seam would show
        *_, last = (module for module in network.modules() if isinstance(module, nn.Conv2d))
        last.weight *= 0.2 * network.pixel_range / network(picture(24, 24, network.pixel_range)).std()
        last.bias -= network(picture(24, 24, network.pixel_range)).mean() - network.pixel_range / 2
    for height, width in ((1, 1), (2, 61), (53, 71)):
        lr = picture(height, width, network.pixel_range)
        expected = whole(network, lr)
        difference = upscale_tiled(network, lr, tile=2 * reach + 9, overlap=reach).int() - expected.int()
        assert difference.abs().max() <= 1  # sums of other lengths are added in another order
        assert torch.equal(upscale_tiled(network, lr, tile=71, overlap=4), expected)  # one tile
    assert len(expected.unique()) > 50
    fine = upscale_tiled(network, lr, tile=71, overlap=4, levels=65535)
    assert fine.dtype == torch.uint16 and (fine.int() / 257 - expected.int()).abs().max() <= 0.5 + 1e-3


def test_too_little_memory_a_diverged_network_and_tiles_without_sense_are_errors(monkeypatch):
    network = Blur(1)
    network.weight.data[:] = torch.nan
    with pytest.raises(MasksrError, match="NaN"):
        upscale_tiled(network, picture(4, 4), tile=12, overlap=2)
    monkeypatch.setattr(network, "forward", Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory. Tried ...")))
    with pytest.raises(MasksrError, match="too little memory; try a --tile below 12"):
        upscale_tiled(network, picture(8, 10), tile=12, overlap=2)
    for tile, overlap in ((8, 4), (8, -1), (0, 0)):
        with pytest.raises(MasksrError, match="--tile or --overlap"):
            upscale_tiled(Blur(0), picture(4, 4), tile=tile, overlap=overlap)


def test_a_picture_too_large_for_the_device_is_upscaled_in_tiles(capsys, monkeypatch) -> None:
    pixels = noise(40, 2000, 3)
    pack = SimpleNamespace(names=["0"], lr=lambda *_: imresize(pixels, 0.25))
    network = EDSR(1, 8)
    upscale, forward = with_generator(network, torch.device("cpu")), network.forward
    whole = upscale(pack, 0)

    def of_little_memory(lr: Tensor) -> Tensor:
        if lr[0, 0].numel() > 12 * 400:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(lr)

    monkeypatch.setattr(network, "forward", of_little_memory)
    tiled = upscale(pack, 0)
    assert tiled.shape == whole.shape == pixels.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert "does not hold 0 as a whole; it is upscaled in tiles" in capsys.readouterr().out
