"""What a perceptual index may be called, given where the weights of its halves come from."""

from __future__ import annotations


def half_label(name: str, weights: str) -> str:
    """``NIQE`` or ``Ma`` where the weights are ``official``, else with the word that they are not."""
    return name if weights == "official" else f"{name} (stand-in)"


def pi_label(niqe_weights: str, ma_weights: str) -> str:
    """``PI`` where both halves have their official weights; else a name that says which have not.

    niqe_weights, ma_weights: ``official`` or ``stand-in``.
    """
    stand_ins = [name for name, kind in {"NIQE": niqe_weights, "Ma": ma_weights}.items() if kind != "official"]
    return {0: "PI", 1: f"PI (stand-in {''.join(stand_ins)})", 2: "PI (stand-in)"}[len(stand_ins)]
