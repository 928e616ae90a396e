"""The same scores for many images of one size at once, in torch, on a GPU.

What is large is done here, on the device and in double precision: a pixel's neighbourhood, a patch, a band. What is
small (the fits of a few hundred samples, the decompositions of small matrices, the forests) is done by the very
functions that score a single image, on the host, so that an image without a score has no influence on its neighbours.
"""

from masksr.quality.batched.scores import score_batches

__all__ = ["score_batches"]
