"""From ``data/registry.yaml`` to data sets and weights on this disk.

The cache (``MASKSR_CACHE``, else ``~/.cache/masksr``) holds ``downloads`` (archives until they are unpacked),
``sets`` (a folder per set, with the paths of its archives) and ``weights``; all of it complete and checked.
"""
