"""Data sets and weights that are not on this disk yet: from ``data/registry.yaml`` to checked files in the cache.

The cache (``MASKSR_CACHE``, else ``~/.cache/masksr``) holds ``downloads`` (archives until they are unpacked), ``sets``
(a folder for each set, with the layout of its archives) and ``weights``. A set or a file is in its place whole and
checked, or not at all.
"""

from masksr.fetch.sets import fetch_set, set_folder
from masksr.fetch.weights import check_name, fetch_weights, find_pretrained, weights_folder

__all__ = ["check_name", "fetch_set", "fetch_weights", "find_pretrained", "set_folder", "weights_folder"]
