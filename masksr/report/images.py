"""Embedded images: the notebook's pixels in fewer bytes."""

from __future__ import annotations

import base64
import io
import re
from functools import lru_cache

from PIL import Image

SMALL = 8_192  # bytes below which re-encoding is not worth it
GAIN = 0.9  # replaced only when it becomes at least 10 % smaller
LOSSY_GAIN = 0.5  # of a photograph; drawings lose less than half


@lru_cache(maxsize=64)
def embed(encoded: str, mime: str = "image/png", exact: bool = True) -> tuple[str, int | None, int | None]:
    """A base64 image as ``(data address, width, height)``; the sizes are None when it is no raster image.

    A PNG becomes lossless WebP where that is clearly smaller. Lossy only where it need not be ``exact`` and gets less
    than half of that: the report compares super-resolved pixels, and the artefacts of a codec would pass for those of a
    network. What is no base64 becomes an empty image.
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
                if not exact:
                    lossy = io.BytesIO()
                    image.save(lossy, "WEBP", quality=90, method=4)
                    buffer = lossy if lossy.tell() < LOSSY_GAIN * buffer.tell() else buffer
                if buffer.tell() < GAIN * len(data):
                    mime, encoded = "image/webp", base64.b64encode(buffer.getvalue()).decode("ascii")
    except Exception:  # Pillow's decoders raise a dozen kinds; what a browser makes of it is its own affair
        width = height = None
    return f"data:{mime};base64,{encoded}", width, height


def size_of(encoded: str) -> tuple[int, int] | None:
    """Width and height of a base64 raster image; None where it is none."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            return image.size
    except Exception:  # as above
        return None


def embed_svg(source: str) -> tuple[str, int | None, int | None]:
    """An SVG as a data address for ``<img>``, where it can run nothing and load nothing; its size where it tells it."""
    address = "data:image/svg+xml;base64," + base64.b64encode(source.encode(errors="replace")).decode("ascii")
    if root := re.search(r"<svg\b[^>]{0,2000}>", source[:10_000]):
        found = [re.search(rf'\s{side}="(\d{{1,6}}(?:\.\d{{0,9}})?)(pt|px)?"', root[0]) for side in ("width", "height")]
        if all(found):
            sizes = [round(float(side[1]) * (4 / 3 if side[2] == "pt" else 1)) for side in found if side]
            return address, *sizes
    return address, None, None
