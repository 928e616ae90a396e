"""The perceptual index and its companions: pyiqa's numbers, tens of times as fast, with honest labels.

>>> from masksr.quality import score
>>> score(image, reference).pi                                                              # doctest: +SKIP
"""

from masksr.quality.index import Score, score, score_many

__all__ = ["Score", "score", "score_many"]
