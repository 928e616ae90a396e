"""The formats in which the authors of NIQE and Ma publish their parameters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from masksr.errors import MasksrError
from masksr.quality.forest import one_leaf
from masksr.quality.ma import MaModel
from masksr.quality.matfiles import read_ma, read_niqe, write_ma, write_niqe
from masksr.quality.niqe import NiqeModel

SOME_NIQE = NiqeModel(np.linspace(0.1, 2, 36), np.eye(36) / 10)
SOME_MA = MaModel((one_leaf(4.0), one_leaf(6.0), one_leaf(5.0)), np.array([1.0, 0.5, 0.25, 0.1]))


def test_files_come_back_as_they_were_written(tmp_path):
    write_niqe(tmp_path / "niqe.mat", SOME_NIQE)
    write_ma(tmp_path / "ma.mat", SOME_MA)
    niqe, ma = read_niqe(tmp_path / "niqe.mat"), read_ma(tmp_path / "ma.mat")
    np.testing.assert_array_equal(niqe.mean, SOME_NIQE.mean)
    np.testing.assert_array_equal(niqe.covariance, SOME_NIQE.covariance)
    np.testing.assert_array_equal(ma.linear, SOME_MA.linear)
    assert [forest.predict(np.zeros(1)) for forest in ma.forests] == [4, 6, 5]
    assert ma.predict((np.zeros(18), np.zeros(45), np.zeros(75))) == pytest.approx(1 + 2 + 1.5 + 0.5)


def test_a_forest_as_matlab_saves_it_is_read(tmp_path):
    """Rows count from one, unused rows are zero, the fields may have any names."""
    tree = {
        "lDau": np.array([[2, 0], [0, 0], [4, 0], [0, 0], [0, 0]], np.int32),
        "rDau": np.array([[3, 0], [0, 0], [5, 0], [0, 0], [0, 0]], np.int32),
        "c": np.zeros((5, 2), np.int32),
        "d": np.int32(5),
        "e": np.array([[0.5, 0], [0, 0], [1.5, 0], [0, 0], [0, 0]]),
        "f": np.array([[0, 8.0], [1, 0], [0, 0], [2, 0], [3, 0]]),
        "g": np.array([[3, 0], [0, 0], [1, 0], [0, 0], [0, 0]], np.int32),
    }
    cells = np.empty((1, 3), object)
    cells[0, :] = [tree, tree, tree]
    scipy.io.savemat(tmp_path / "m.mat", {"model": {"rf": cells, "linear": np.array([[0.0], [1], [0], [0]])}})
    forest = read_ma(tmp_path / "m.mat").forests[0]
    for first, third, leaf in ((9, 0.5, 1), (1.5, 0.6, 2), (1.6, 0.6, 3)):
        assert forest.predict(np.array([first, 0, third])) == (leaf + 8) / 2


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a.mat", "b.mat"):
        write_ma(tmp_path / name, SOME_MA)
    assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()


def test_a_damaged_file_is_named(tmp_path):
    write_ma(tmp_path / "ma.mat", SOME_MA)
    whole = (tmp_path / "ma.mat").read_bytes()
    for name, content in {"cut.mat": whole[:300], "page.mat": b"<html>404</html>", "empty.mat": b""}.items():
        (tmp_path / name).write_bytes(content)
        for read in (read_ma, read_niqe):
            with pytest.raises(MasksrError, match=name):
                read(tmp_path / name)
    with pytest.raises(MasksrError, match=r"ma\.mat"):
        read_niqe(tmp_path / "ma.mat")
    with pytest.raises(MasksrError, match="no such file"):
        read_ma(tmp_path / "missing.mat")
