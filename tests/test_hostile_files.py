"""Files made to harm: each is refused with our own error, before it can take memory, the process or the page."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, features
from safetensors.torch import save_file
from scipy.io import loadmat, savemat

from masksr.data import images
from masksr.data.images import FORMATS, read_image, write_png
from masksr.data.packed import Pack
from masksr.errors import MasksrError
from masksr.fetch import archives
from masksr.files import user_path
from masksr.models import EDSR, build, load_vgg19, read_weights
from masksr.quality.mat5 import read_mat
from masksr.quality.matfiles import read_ma, read_niqe
from masksr.terminal import shown
from masksr.tools.photo import read_photo
from masksr.tools.pretrained import load_pretrained
from masksr.training import checkpoints

# Pictures


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *more: bytes, bits: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + end


@pytest.mark.parametrize("read", [read_image, read_photo])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("limit", [None, 10**12])
def test_pixels_are_counted_whatever_pillow_was_told(tmp_path, monkeypatch, read, bits, limit):
    monkeypatch.setattr(images.Image, "MAX_IMAGE_PIXELS", limit)
    (tmp_path / "x.png").write_bytes(png(60_000, 60_000, bits=bits))
    with pytest.raises(MasksrError, match=r"x\.png: has more than 89 megapixels"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("read", [read_image, read_photo])
@pytest.mark.parametrize("name, head", [(b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")])
def test_a_bomb_beside_the_pixels_is_refused(tmp_path, read, name, head):
    (tmp_path / "x.png").write_bytes(png(5, 5, chunk(name, head + zlib.compress(bytes(10**9 // 4)))))
    with pytest.raises(MasksrError, match=r"x\.png: cannot be read as a picture"):
        read(tmp_path / "x.png")


def test_formats_that_are_programs_are_no_pictures(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(eps)
    with Image.open(tmp_path / "x.png") as known:
        assert known.format == "EPS"  # which Pillow gives to Ghostscript
    with pytest.raises(MasksrError, match="cannot be read as a picture"):
        read_image(tmp_path / "x.png")
    assert {"PNG", "JPEG", "GIF", "BMP", "PPM"} <= set(images._formats()) <= set(FORMATS)


def test_common_formats_are_read(tmp_path):
    picture = Image.fromarray(np.full((20, 20, 3), 90, np.uint8))
    for name in ["a.png", "a.jpg", "a.gif", "a.bmp", "a.ppm", "a.tif", *["a.webp"] * features.check("webp")]:
        picture.save(tmp_path / name)
        assert read_image(tmp_path / name).shape == (20, 20, 3)


def test_no_pixels_no_file_and_too_many_bytes(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(png(0, 5))
    with pytest.raises(MasksrError, match="cannot be read as a picture"):
        read_image(tmp_path / "x.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MasksrError, match="not a file"):
        read_image(tmp_path / "pipe.png")
    write_png(tmp_path / "y.png", np.zeros((9, 9, 3), np.uint8))
    monkeypatch.setattr(images, "LARGEST_FILE", 10)
    with pytest.raises(MasksrError, match="cannot be read as a picture"):
        read_image(tmp_path / "y.png")


# Weights


def test_a_pickle_that_holds_itself_ends(tmp_path):
    content: dict = {}
    content["params"] = content
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(MasksrError, match="holds no state dict"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(1).expand(10**15),
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3, device="meta"),
        "text",
    ],
    ids=["expanded", "sparse", "complex", "meta", "text"],
)
def test_only_plain_tensors_are_weights(tmp_path, value):
    torch.save({"a": value}, tmp_path / "x.pth")
    with pytest.raises(MasksrError, match=r"holds no state dict|cannot be read as weights"):
        read_weights(tmp_path / "x.pth")


def test_many_views_of_one_tensor_are_no_network(tmp_path):
    base = torch.zeros(10_000)
    torch.save({f"w{n}": base.view(100, 100) for n in range(100)}, tmp_path / "x.pth")
    with pytest.raises(MasksrError, match="more than a network"):
        read_weights(tmp_path / "x.pth")
    torch.save({0: base}, tmp_path / "y.pth")
    with pytest.raises(MasksrError, match="holds no state dict"):
        read_weights(tmp_path / "y.pth")


def test_a_compressed_checkpoint_is_a_bomb(tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as whole, zipfile.ZipFile(tmp_path / "y.pth", "w") as packed:
        for info in whole.infolist():
            packed.writestr(info.filename, whole.read(info), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(MasksrError, match="cannot be read as weights"):
        read_weights(tmp_path / "y.pth")


def test_sizes_are_not_believed_before_the_weights_fit(tmp_path):
    empty = torch.zeros(4096, 3, 3, 3)
    save_file({"conv_first.weight": empty, "body.0.rdb1.conv1.weight": torch.zeros(4096, 1, 1, 1),
               "conv_last.weight": torch.zeros(3, 1, 1, 1)}, tmp_path / "x.safetensors")  # fmt: skip
    with pytest.raises(MasksrError, match="does not fit RRDBNet"):  # 1.3 TB, if it were built
        load_pretrained(tmp_path / "x.safetensors", "rrdb")
    save_file({"conv_first.weight": torch.zeros(10**5, 3, 1, 1), "body.0.rdb1.conv1.weight": torch.zeros(1, 1, 1, 1),
               "conv_last.weight": torch.zeros(3, 1, 1, 1)}, tmp_path / "y.safetensors")  # fmt: skip
    with pytest.raises(MasksrError, match="no network here has num_feat 100000"):
        load_pretrained(tmp_path / "y.safetensors", "rrdb")
    save_file({"features.34.weight": torch.zeros(10**6, 0, 3, 3)}, tmp_path / "v.safetensors")
    with pytest.raises(MasksrError, match="does not fit VGG19Features"):
        load_vgg19(tmp_path / "v.safetensors")


@pytest.mark.parametrize(
    "size, scale",
    [
        ({"architecture": "edsr", "n_resblocks": 1000, "n_feats": 4096, "res_scale": 0.1}, "4"),
        ({"architecture": "edsr", "n_resblocks": 10**9, "n_feats": 8, "res_scale": 0.1}, "4"),
        ({"architecture": "edsr", "n_resblocks": 1, "n_feats": 8, "res_scale": 0.1}, "400000000"),
        ({"architecture": "edsr", "n_resblocks": 1, "n_feats": 8, "res_scale": 0.1}, None),
        ({"architecture": "x"}, "4"),
        ("nonsense", "4"),
    ],
)
def test_a_header_that_lies_of_its_network(tmp_path, size, scale):
    metadata = {"generator": json.dumps(size)} | ({"scale": scale} if scale else {})
    save_file(EDSR(1, 8, 0.1, 4).state_dict(), tmp_path / "g.safetensors", metadata)
    with pytest.raises(MasksrError, match=r"says nonsense of its network|does not fit EDSR"):
        build.load_generator(tmp_path / "g.safetensors")


def test_a_checkpoint_with_a_forged_checksum_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/taken",)

    torch.save({"a": Evil()}, tmp_path / "x.pt")
    digest = checkpoints.hashlib.sha256((tmp_path / "x.pt").read_bytes()).hexdigest()[:16]
    (tmp_path / "x.pt").rename(tmp_path / f"step-00000001-{digest}.pt")
    with pytest.raises(MasksrError, match="is whole, but no checkpoint"):
        checkpoints.load_last(tmp_path, torch.device("cpu"))
    assert not (tmp_path / "taken").exists()


# MATLAB files


def nested(levels: int) -> bytes:
    """A cell in a cell in a cell, around a number."""
    head = struct.pack("<IIIIIIIIii", 14, 0, 6, 8, 1, 0, 5, 8, 1, 1)
    inner = struct.pack("<IIIIIIIIiiIIIId", 14, 56, 6, 8, 6, 0, 5, 8, 1, 1, 1, 0, 9, 8, 1.0)
    parts, size = [inner], len(inner)
    for level in range(levels):
        name = struct.pack("<I4s", 1 << 16 | 1, b"x") if level == levels - 1 else struct.pack("<II", 1, 0)
        parts.append(head[:4] + struct.pack("<I", size + 40) + head[8:] + name)
        size += len(parts[-1])
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(reversed(parts))


def test_nested_cells_end_in_an_error_and_not_the_process(tmp_path):
    (tmp_path / "x.mat").write_bytes(nested(3))
    assert read_mat(tmp_path / "x.mat")["x"][0, 0][0, 0][0, 0] == loadmat(tmp_path / "x.mat")["x"][0, 0][0, 0][0, 0]
    (tmp_path / "x.mat").write_bytes(nested(100_000))  # scipy.io.loadmat dies of this
    for read in (read_niqe, read_ma):
        with pytest.raises(MasksrError, match="does not hold"):
            read(tmp_path / "x.mat")


def same(ours, theirs):
    if theirs.dtype.names:
        for one, other in zip(ours.ravel(), theirs.ravel(), strict=True):
            assert list(one) == list(theirs.dtype.names)
            for name, value in one.items():
                same(value, other[name])
    elif theirs.dtype == object:
        assert ours.shape == theirs.shape
        for one, other in zip(ours.ravel(), theirs.ravel(), strict=True):
            same(one, other)
    else:
        assert (ours.dtype, ours.shape, ours.strides) == (theirs.dtype, theirs.shape, theirs.strides)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_no_trick_is_read_as_scipy_reads_it(tmp_path, compressed):
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    content = {f"a_{kind}": np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    content |= {"empty": np.zeros((0, 3)), "cube": np.ones((2, 3, 4)), "one": np.float64(2.5)}
    content["cell"] = np.array([np.ones((2, 2)), np.zeros((1, 5)), np.array([[]])], object)
    content["struct"] = {"x": np.arange(3.0), "y": {"z": np.int32(1)}}
    savemat(tmp_path / "x.mat", content | {"text": "hello"}, do_compression=compressed)
    ours, theirs = read_mat(tmp_path / "x.mat"), loadmat(tmp_path / "x.mat")
    assert ours.pop("text") is None
    for name, value in ours.items():
        same(value, theirs[name])
    assert ours.keys() == content.keys()


def test_a_compressed_variable_is_bounded(tmp_path):
    packed = zlib.compress(bytes(10**8))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    (tmp_path / "x.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match="too large"):
        read_mat(tmp_path / "x.mat")


# Packs, archives, names


def pack(folder, **changes):
    np.save(folder / "hr.npy", np.zeros(3 * 8 * 8, np.uint8))
    np.save(folder / "lr_x4.npy", np.zeros(3 * 2 * 2, np.uint8))
    image = {"name": "a", "height": 8, "width": 8, "offset": 0, "cut": False, "lr": {"lr_x4": "masksr"}}
    image |= {"sha256": {"hr": "0" * 64, "lr_x4": "0" * 64}} | changes
    manifest = {"format": 2, "set": "s", "title": "t", "scales": [4], "images": [image]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        *({"offset": 64}, {"offset": -192}, {"height": -8, "width": -8}, {"height": 8.0}, {"lr": None}),
        *({"height": 2**40, "width": 4}, {"height": 0}, {"sha256": {}}, {"name": 3}, {"name": ""}, {"width": "8"}),
        {"width": True},
    ],
)
def test_a_manifest_never_leads_out_of_its_files(tmp_path, changes):
    assert len(Pack(pack(tmp_path))) == 1
    with pytest.raises(MasksrError, match="build the pack again"):
        Pack(pack(tmp_path, **changes))


def test_an_archive_in_place_of_an_array(tmp_path):
    np.savez(pack(tmp_path) / "hr", x=np.zeros(3))
    (tmp_path / "hr.npz").rename(tmp_path / "hr.npy")
    with pytest.raises(MasksrError, match="is no array"):
        Pack(tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_rare_compression_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a.png", b"x" * 1000)
    with pytest.raises(MasksrError, match="rare compression"):
        archives.unpack(tmp_path / "x.zip", tmp_path, lambda name: True, limit=10**6)


@pytest.mark.parametrize("text", ["~nobody.of.this.name/x", "x" * 300, "a\0b"])
def test_what_cannot_be_a_path_is_named(text):
    with pytest.raises(MasksrError, match="cannot be a path"):
        user_path(text)


def test_a_terminal_is_told_nothing():
    name = "a\x1b[2J\r\n\x9b\u202eb\udcff\u2028é漢.png"
    assert shown(name) == "a\\x1b[2J\\r\\n\\x9b\\u202eb\\udcff\\u2028é漢.png"
    assert shown("two\nlines", keep="\n") == "two\nlines"
