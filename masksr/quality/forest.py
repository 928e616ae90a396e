"""Regression forests in the layout of MATLAB's ``regRF_train``: one column per tree, one row per node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor


@dataclass(frozen=True, eq=False)
class Forest:
    """Arrays (nodes, trees); row 0 is the root. x <= threshold goes to row ``left``, else to ``right``; 0 at a leaf."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]

    def predict(self, features: NDArray[np.float64]) -> float:
        """The mean over all trees for one vector of features; the trees are walked down side by side."""
        tree = np.arange(self.left.shape[1])
        node = np.zeros_like(tree)
        for _ in range(self.left.shape[0]):
            goes_left = features[self.feature[node, tree]] <= self.threshold[node, tree]
            below = np.where(goes_left, self.left[node, tree], self.right[node, tree])
            if not below.any():
                break
            node = np.where(below > 0, below, node)
        return float(self.value[node, tree].mean())


def one_leaf(value: float) -> Forest:
    """The forest that always predicts ``value``."""
    zero = np.zeros((1, 1), np.int32)
    return Forest(zero, zero, zero, np.zeros((1, 1)), np.full((1, 1), value))


def from_sklearn(regressor: RandomForestRegressor, *, gridded: int = 0) -> Forest:
    """Scikit-learn's trees in this layout.

    The first ``gridded`` features are multiples of 0.001. Between two of them a threshold often falls on a third, where
    float32 rounding would decide the branch: such thresholds are moved half a step away.
    """
    trees = [estimator.tree_ for estimator in regressor.estimators_]
    shape = (max(tree.node_count for tree in trees), len(trees))
    left, right, feature = (np.zeros(shape, np.int32) for _ in range(3))
    threshold, value = np.zeros(shape), np.zeros(shape)
    for i, tree in enumerate(trees):
        rows, inner = slice(tree.node_count), tree.children_left >= 0
        left[rows, i] = np.where(inner, tree.children_left, 0)
        right[rows, i] = np.where(inner, tree.children_right, 0)
        feature[rows, i] = np.where(inner, tree.feature, 0)
        value[rows, i] = tree.value[:, 0, 0]
        moved = np.floor(tree.threshold * 1000) / 1000 + 0.0005
        threshold[rows, i] = np.where(inner, np.where(tree.feature < gridded, moved, tree.threshold), 0)
    return Forest(left, right, feature, threshold, value)
