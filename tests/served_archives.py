"""Tiny archives in the formats of the real data sets; a server and a registry that give them from here."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
import yaml
from made_up_scores import SOME_MA, SOME_NIQE
from PIL import Image

from masksr.data.bicubic import imresize
from masksr.models.vgg import random_vgg19
from masksr.quality.weights import write_ma, write_niqe

IMAGES = 3  # of each set
# archive: what is in it, as (path, scale: 1 for HR, number of the first image); {} is the number of the image
CONTENT: dict[str, list[tuple[str, int, int]]] = {
    "DIV2K_train_HR.zip": [("DIV2K_train_HR/{:04d}.png", 1, 1)],
    "DIV2K_train_LR_bicubic_X4.zip": [("DIV2K_train_LR_bicubic/X4/{:04d}x4.png", 4, 1)],
    "DIV2K_train_LR_bicubic_X2.zip": [("DIV2K_train_LR_bicubic/X2/{:04d}x2.png", 2, 1)],
    "DIV2K_valid_HR.zip": [("DIV2K_valid_HR/{:04d}.png", 1, 801)],
    "DIV2K_valid_LR_bicubic_X4.zip": [("DIV2K_valid_LR_bicubic/X4/{:04d}x4.png", 4, 801)],
    "benchmark.tar": [
        (path, scale, first)
        for name, first in (("Set5", 10), ("Set14", 20), ("B100", 30), ("Urban100", 40))
        for path, scale in (
            (f"benchmark/{name}/HR/img_{{:03d}}.png", 1), (f"benchmark/{name}/LR_bicubic/X4/img_{{:03d}}x4.png", 4),
            (f"benchmark/{name}/LR_bicubic/X2/img_{{:03d}}x2.png", 2),
        )
    ],
    "PIRM_valid_HR.tar.gz": [("PIRM_valid_HR/{}.png", 1, 50)],
    "PIRM_valid_LR_x4.tar.gz": [("PIRM_valid_LR_x4/{}.png", 4, 50)],
    "BSR_bsds500.tgz": [("BSR/BSDS500/data/images/train/{}.jpg", 1, 60)],
}
BESIDES = {  # what else lies in such archives, and nobody wants
    "BSR_bsds500.tgz": ["BSR/BSDS500/data/images/train/Thumbs.db", "BSR/BSDS500/data/groundTruth/train/60.mat"],
    "DIV2K_valid_HR.zip": ["__MACOSX/DIV2K_valid_HR/._0801.png", "DIV2K_valid_HR/.DS_Store"],
}


def photograph(number: int, height: int = 132, width: int = 144) -> np.ndarray:
    """Something with the spectrum of a photograph, always the same for a number: (H, W, 3) uint8."""
    rng = np.random.default_rng(number)
    parts = []
    for factor in (1, 4, 16):
        small = rng.integers(0, 256, (-(-height // factor), -(-width // factor), 3), dtype=np.uint8)
        parts.append((small if factor == 1 else imresize(small, factor))[:height, :width])
    return np.mean(parts, axis=0).astype(np.uint8)


def encoded(number: int, scale: int, suffix: str) -> bytes:
    large = number < 10 or number >= 60  # the training sets: patches of 64 LR pixels come from them
    hr = photograph(number, 264, 268) if large else photograph(number)
    buffer = io.BytesIO()
    kind = {".png": "PNG", ".jpg": "JPEG"}[suffix]
    Image.fromarray(hr if scale == 1 else imresize(hr, 1 / scale)).save(buffer, format=kind)
    return buffer.getvalue()


def make_archives(folder: Path) -> Path:
    """The archives of ``CONTENT`` and the weight files, under their real names."""
    for name, groups in CONTENT.items():
        files = {
            path.format(number): encoded(number, scale, Path(path).suffix)
            for path, scale, first in groups
            for number in range(first, first + IMAGES)
        }
        files |= dict.fromkeys(BESIDES.get(name, []), b"nothing for us")
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                for path, content in files.items():
                    archive.writestr(path, content)
            continue
        with tarfile.open(folder / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    write_niqe(folder / "niqe_modelparameters.mat", SOME_NIQE)
    write_ma(folder / "NRQM_model.mat", SOME_MA)
    torch.save(random_vgg19(1.0, seed=0).state_dict(), folder / "vgg19-dcbb9e9d.pth")
    return folder


def local_registry(original: Path, served: Path, address: str) -> str:
    """data/registry.yaml with the files of ``served`` at ``address``, and as many images as they hold."""
    content = yaml.safe_load(original.read_text())
    for name, file in content["files"].items():
        file["urls"] = [f"{address}/{name}"]
        for known in ("bytes", "about", "sha256", "md5"):
            file.pop(known, None)
        if (path := served / name).is_file():
            file |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for spec in content["sets"].values():
        if spec["kind"] == "folder":
            spec["images"] = IMAGES
    return yaml.safe_dump(content, sort_keys=False)


class Server:
    """Serves a folder, with ranges. ``faults``: by path, what happens to the next requests one by one.

    A status that refuses; "cut": the connection ends after half of the body; "stall": it falls silent there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.over = threading.Event()
        self.address = ""  # once it is served

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted, file = handler.headers["Range"], self.folder / handler.path[1:]
        self.requests.append((handler.path, wanted))
        faults = self.faults.get(handler.path)
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int) or not file.is_file():
            return handler.send_error(fault or 404)
        content = file.read_bytes()
        begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if begin and begin >= len(content):
            return handler.send_error(416)
        body = content[begin:]
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Content-Type", "text/html" if file.suffix == ".html" else "image/png")
        handler.end_headers()
        with suppress(ConnectionError):
            handler.wfile.write(body if fault is None else body[: len(body) // 2])
        if fault == "stall":
            self.over.wait(20)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder."""
    server = Server(folder)
    methods = {"log_message": lambda *_: None, "do_GET": lambda handler: server.answer(handler)}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), methods)) as http:
        server.address = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.over.set()
            http.shutdown()
