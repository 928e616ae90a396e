"""From ``data/registry.yaml`` to data sets and weights on this disk.

The cache (``MASKSR_CACHE``, else ``~/.cache/masksr``) holds ``downloads`` (archives until they are unpacked),
``sets``, which is laid out like a data folder, and ``weights``; all of it checked.
"""
