"""Valid files of every kind, small, by a name whose suffix matters."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import torch
from PIL import Image

from masksr.fetch import checksums, staging
from masksr.models import EDSR, PESR, RRDBNet, build, save_weights
from masksr.params import EDSRSize
from masksr.quality.ma import FEATURES, MaModel, one_leaf
from masksr.quality.niqe import NiqeModel
from masksr.quality.weights import RECORD, write_ma, write_niqe
from masksr.tools.photo import Photo, write_photo

ROOT = Path(__file__).parents[2]


def written(write: Callable[[Path], object]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def pictures() -> dict[str, bytes]:
    def write(at: Path) -> None:
        rgb, grey = Image.fromarray(noise(40, 33, 3)), Image.fromarray(noise(40, 33))
        exif = Image.Exif()
        exif[0x0112] = 6
        for name in ("rgb.png", "rgb.jpg", "rgb.gif", "rgb.bmp", "rgb.tif", "rgb.webp", "rgb.ppm"):
            rgb.save(at / name, **({"exif": exif} if name.endswith(("png", "jpg", "webp", "tif")) else {}))
        rgb.save(at / "progressive.jpg", progressive=True, icc_profile=bytes(500))
        rgb.save(at / "lzw.tif", compression="tiff_lzw")
        rgb.convert("CMYK").save(at / "cmyk.jpg")
        rgb.convert("P").save(at / "palette.png", transparency=3)
        grey.convert("1").save(at / "bits.png")
        grey.save(at / "grey.png", icc_profile=bytes(3000))
        grey.convert("F").save(at / "float.tif")
        rgb.save(at / "moving.gif", save_all=True, append_images=[grey, rgb], duration=9)
        rgb.save(at / "moving.png", save_all=True, append_images=[rgb], duration=9)
        if "AVIF" in Image.SAVE:
            rgb.save(at / "rgb.avif")

    return written(write)


def photos() -> dict[str, bytes]:
    def write(at: Path) -> None:
        for channels in (1, 3):
            for dtype in (np.uint8, np.uint16):
                photo = Photo(noise(21, 30, channels, dtype=dtype), noise(21, 30, dtype=dtype), bytes(300))
                write_photo(at / f"{channels}-{np.dtype(dtype).name}.png", photo)
        Image.fromarray(noise(20, 20, dtype=np.uint16)).save(at / "i16.png")

    return written(write)


def weights() -> dict[str, bytes]:
    networks = {"rrdb": RRDBNet(8, 2, 4), "edsr": EDSR(2, 8, 0.1, 4), "pesr": PESR(2, 8, 0.1)}

    def write(at: Path) -> None:
        for name, network in networks.items():
            state = network.state_dict()
            save_weights(network, at / f"{name}.safetensors", {"note": "x"})
            torch.save({"params": state}, at / f"{name}.pth")
            torch.save(state, at / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)

    return written(write)


def generator() -> dict[str, bytes]:
    size = EDSRSize(architecture="edsr", n_resblocks=2, n_feats=8, res_scale=0.1)
    return written(lambda at: build.save_generator(build.build_generator(size, 4, 0), size, at / "g.safetensors"))


def checkpoint() -> dict[str, bytes]:
    buffer = io.BytesIO()
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    torch.save({"step": 3, "parts": [optimizer.state_dict()], "history": [{"l1": 0.1}]}, buffer)
    return {"c.pt": buffer.getvalue()}


def niqe(at: Path) -> None:
    write_niqe(at / "niqe.mat", NiqeModel(np.ones(36), np.eye(36)))


def ma(at: Path) -> None:
    write_ma(at / "ma.mat", MaModel((one_leaf(3.0),) * len(FEATURES), np.ones(4)))


def pack() -> dict[str, bytes]:
    hr, lr = io.BytesIO(), io.BytesIO()
    pixels = {"hr": noise(2, 3 * 64 * 32), "lr_x4": noise(2, 3 * 16 * 8)}
    np.save(hr, pixels["hr"].ravel())
    np.save(lr, pixels["lr_x4"].ravel())
    image = {"height": 64, "width": 32, "cut": False, "lr": {"lr_x4": "masksr"}}
    sums = [{key: hashlib.sha256(both[n].data).hexdigest() for key, both in pixels.items()} for n in range(2)]
    images = [image | {"name": f"i{n}", "offset": n * 3 * 64 * 32, "sha256": sums[n]} for n in range(2)]
    about = dict.fromkeys(("title", "citation", "licence", "origin"), "x")
    manifest = {"format": 2, "set": "s", **about, "scales": [4], "images": images}
    return {"manifest.json": json.dumps(manifest).encode(), "hr.npy": hr.getvalue(), "lr_x4.npy": lr.getvalue()}


def archives(picture: bytes) -> dict[str, bytes]:
    files = {"set/HR/a.png": picture, "set/HR/b.png": picture[::-1], "set/read.me": b"hello"}
    zipped, plain, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    for buffer, mode in ((plain, "w"), (packed, "w:gz")):
        with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name if mode == "w" else name + "\u00e4" * 80)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return {"a.zip": zipped.getvalue(), "a.tar": plain.getvalue(), "a.tgz": packed.getvalue()}


def notebooks() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((ROOT / "notebooks").glob("0[1346]*.ipynb"))}


def executed(picture: bytes) -> dict[str, bytes]:
    new = nbformat.v4
    table = '<style>#T_a {font-weight: bold}</style><table id="T_a"><tr><td colspan="2">1</td></tr></table>'
    outputs = [
        new.new_output("stream", name="stdout", text="a\x1b[31mred\x1b[0m\n 10%|# | 1/9 2 it/s\n"),
        new.new_output("display_data", {"image/png": base64.b64encode(picture).decode()}, metadata={"alt": "a"}),
        new.new_output("display_data", {"text/html": table, "text/plain": "t"}),
        new.new_output("execute_result", {"text/markdown": "| a |\n|--|\n| $x_1$ |"}, execution_count=1),
        new.new_output("display_data", {"image/svg+xml": "<svg/>", "application/json": {"a": 1}}),
    ]
    cells = [
        new.new_markdown_cell("# Title\n\n$$a\\tag{8}$$ ![x](attachment:p.png) [t](#place) <b>b</b>", id="a"),
        new.new_code_cell("k = 1", metadata={"tags": ["parameters"]}, execution_count=1, id="b"),
        new.new_code_cell("plot()", outputs=outputs, execution_count=2, metadata={"caption": "*C*"}, id="c"),
    ]
    cells[0]["attachments"] = {"p.png": {"image/png": base64.b64encode(picture).decode()}}
    return {"n.ipynb": nbformat.writes(new.new_notebook(cells=cells)).encode()}


def records() -> dict[str, bytes]:
    sha256 = hashlib.sha256(b"abc").hexdigest()
    entry = {"sha256": sha256, "bytes": 3, "mtime_ns": 1, "url": "https://a.example", "date": "2026-01-01"}
    halves = {half: {"file": "x", "sha256": sha256, "source": "official"} for half in ("niqe", "ma")}
    contents = {
        checksums.RECORD: {"a.zip": entry},
        staging.RECORD: {"from": {"a.zip": sha256}, "files": {"a.png": sha256}},
        RECORD: halves,
    }
    return {name: json.dumps(content).encode() for name, content in contents.items()}
