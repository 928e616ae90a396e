"""The mask at work: what equation 8 does to the networks of a profile (``notebooks/31_mask.ipynb``).

``networks`` runs them on a few fixed patches, ``masks`` and ``gradient`` measure, ``tables`` and ``pictures`` show.
"""
