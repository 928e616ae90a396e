"""Embedded images: the notebook's pixels in fewer bytes."""

from __future__ import annotations

import base64
import io
from functools import lru_cache

from PIL import Image

SMALL = 8_192  # bytes below which re-encoding is not worth it
GAIN = 0.9  # replaced only when it becomes at least 10 % smaller


@lru_cache(maxsize=64)
def embed(encoded: str, mime: str = "image/png") -> tuple[str, int | None, int | None]:
    """A base64 image as ``(data address, width, height)``; the sizes are None when it is no raster image.

    A PNG becomes lossless WebP where that is clearly smaller. Never lossy: the report compares super-resolved
    pixels, and the artefacts of a codec would pass for those of a network. What is no base64 becomes an empty image.
    """
    encoded = "".join(encoded.split())
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        return "data:,", None, None
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if mime == "image/png" and len(data) > SMALL and max(image.size) < 16_384 and image.mode in ("RGB", "RGBA"):
                buffer = io.BytesIO()
                image.save(buffer, "WEBP", lossless=True, quality=75, method=4, exact=True)
                if buffer.tell() < GAIN * len(data):
                    mime, encoded = "image/webp", base64.b64encode(buffer.getvalue()).decode("ascii")
    except Exception:  # Pillow's decoders raise a dozen kinds; what a browser makes of it is its own affair
        width = height = None
    return f"data:{mime};base64,{encoded}", width, height


def embed_svg(source: str) -> str:
    """An SVG as a data address for ``<img>``, where it can run nothing and load nothing."""
    return "data:image/svg+xml;base64," + base64.b64encode(source.encode(errors="replace")).decode("ascii")
