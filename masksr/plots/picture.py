"""A figure that can say what it shows, and how it becomes a file and the output of a cell."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from PIL.PngImagePlugin import PngInfo

LONGEST_SVG = 300_000  # bytes; what a notebook holds of a drawing beside its pixels


class Picture(Figure):
    """A matplotlib figure with ``alt``: what it shows, in words and numbers, for who cannot see it."""

    alt: str = ""

    def encoded(self, kind: Literal["png", "svg"]) -> bytes:
        """The file, with ``alt`` in it as its description. The same figure gives the same bytes."""
        self._settle()
        return self._png() if kind == "png" else self._svg()

    def is_drawing(self) -> bool:
        """Whether it is made of lines and text alone; photographs and maps are pixels, also in an SVG."""
        return not self.findobj(AxesImage)

    def _settle(self) -> None:
        """Lay it out once: constrained layout moves things a little with every drawing, and no two files were alike."""
        if self.get_layout_engine() is None:
            return
        self.draw_without_rendering()
        self.set_layout_engine("none")
        # Its solver orders sums by addresses: the last bits differ from run to run, and with them names in an SVG.
        for part in self.subfigs:
            part.bbox_relative.p0, part.bbox_relative.p1 = (
                part.bbox_relative.p0.round(6),
                part.bbox_relative.p1.round(6),
            )
        for ax in self.axes:
            ax.set_position(np.round(ax.get_position(original=True).bounds, 6))

    def _png(self) -> bytes:
        drawn, file, about = io.BytesIO(), io.BytesIO(), PngInfo()
        self.savefig(drawn, format="png", pil_kwargs={"compress_level": 0})
        image = Image.open(drawn)
        resolution, image = image.info["dpi"], image.convert("RGB")
        if not any(shown.get_array().ndim == 3 for shown in self.findobj(AxesImage)):
            # A third of the bytes, and nobody sees the difference in lines and maps; photographs keep every pixel.
            image = image.quantize(256, dither=Image.Dither.NONE)
        if self.alt:
            about.add_itxt("Description", self.alt)
        image.save(file, "PNG", optimize=True, pnginfo=about, dpi=resolution)
        return file.getvalue()

    def _svg(self) -> bytes:
        file, about = io.BytesIO(), {"Creator": None, "Date": None}  # which version of matplotlib, and when
        with matplotlib.rc_context({"svg.hashsalt": "masksr"}):
            self.savefig(file, format="svg", metadata=about | ({"Description": self.alt} if self.alt else {}))
        return file.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        """What Jupyter shows: PNG, for a drawing SVG too, each with the description where the report finds it."""
        data = {"image/png": b64encode(self.encoded("png")).decode(), "text/plain": self.alt or repr(self)}
        if self.is_drawing() and len(svg := self.encoded("svg")) <= LONGEST_SVG:
            data["image/svg+xml"] = svg.decode()
        return data, {mime: {"alt": self.alt} for mime in data if mime.startswith("image/") and self.alt}
