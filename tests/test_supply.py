"""Patches reach the device by other ways, and are the same patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masksr.data import supply
from masksr.data.images import write_png
from masksr.data.packs import Pack
from masksr.data.patches import PatchSampler, ReadAhead, ResidentPatches
from masksr.fetch.registry import FolderSet, Layout
from masksr.fetch.sets import build_pack

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("data")
    for number, size in enumerate([(48, 64), (61, 40), (40, 40)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        write_png(folder / f"own/{number}.png", pixels)
    about = {"name": "own", "title": "Own", "role": "train", "cite": "-", "licence": "-", "homepage": "-"}
    spec = FolderSet(**about, kind="folder", images=3, layouts=[Layout(hr="own/{name}.png")])
    return build_pack(spec, folder / "pack", data_folder=folder)


@given(
    lr_size=st.integers(1, 10),
    scale=st.sampled_from([2, 4]),
    batch=st.integers(1, 9),
    seed=st.integers(0, 2**31 - 1),
    step=st.integers(0, 2**40),
)
def test_patches_cut_on_the_device_are_the_samplers(pack, lr_size, scale, batch, seed, step):
    sampler = PatchSampler(pack, lr_size=lr_size, scale=scale, batch=batch, seed=seed)
    for ours, expected in zip(ResidentPatches(sampler, CPU).batch(step), sampler.batch(step), strict=True):
        assert ours.dtype == torch.uint8 and torch.equal(ours, expected)


def test_all_eight_turns_are_the_samplers(pack):
    sampler = PatchSampler(pack, lr_size=7, scale=4, batch=64, seed=3)
    assert {turn for *_, turn in sampler.draw(0)} == set(range(8))
    for ours, expected in zip(ResidentPatches(sampler, CPU).batch(0), sampler.batch(0), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("steps", [[0, 1, 2, 3], [7, 8, 2, 3, 3, 0]], ids=["in order", "in any order"])
def test_patches_read_ahead_are_the_samplers(pack, steps):
    sampler = PatchSampler(pack, lr_size=8, scale=4, batch=4, seed=0)
    ahead = ReadAhead(sampler, pin=False)
    for step in steps:
        assert all(map(torch.equal, ahead.batch(step), sampler.batch(step)))


def test_an_error_of_the_thread_reaches_the_step(pack, monkeypatch):
    sampler = PatchSampler(pack, lr_size=8, scale=4, batch=4, seed=0)
    ahead = ReadAhead(sampler, pin=False)
    ahead.batch(0)
    ahead._next[1].result()
    monkeypatch.setattr(sampler, "batch", lambda step: 1 / 0)
    ahead.batch(1)
    with pytest.raises(ZeroDivisionError):
        ahead.batch(2)


@pytest.mark.parametrize(("free", "expected"), [(10**9, ResidentPatches), (10_000, ReadAhead)])
def test_a_gpu_keeps_the_pack_where_it_fits(pack, monkeypatch, free, expected):
    made = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    for kind in (ResidentPatches, ReadAhead):
        monkeypatch.setattr(kind, "__init__", lambda self, *_, **__: made.append(type(self)))
    sampler = PatchSampler(pack, lr_size=8, scale=4, batch=4, seed=0)
    supply.supply(sampler, torch.device("cuda"))
    assert made == [expected]
    assert supply.supply(sampler, CPU) == sampler.batch


def test_the_pack_says_where_its_images_are(pack: Pack, tmp_path: Path):
    for scale in (1, 2, 4):
        pixels, offsets, widths = pack.flat(scale)
        assert pack.nbytes(scale) == len(pixels)
        for number, (begin, width) in enumerate(zip(offsets, widths, strict=True)):
            image = pack.hr(number) if scale == 1 else pack.lr(number, scale)
            np.testing.assert_array_equal(pixels[begin : begin + image.size].reshape(-1, width, 3), image)
