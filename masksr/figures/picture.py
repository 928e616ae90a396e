"""A figure that can say what it shows, and how it becomes a file and the output of a cell."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

LONGEST_SVG = 300_000  # bytes; what a notebook holds of a drawing beside its pixels


class Picture(Figure):
    """A matplotlib figure with ``alt``: what it shows, in words and numbers, for who cannot see it."""

    alt: str = ""

    def encoded(self, kind: Literal["png", "svg"]) -> bytes:
        """The file, with ``alt`` in it as its description. The same figure gives the same bytes."""
        self._settle()
        metadata = {"png": {"Software": None}, "svg": {"Creator": None, "Date": None}}[kind]  # versions and times
        if self.alt:
            metadata["Description"] = self.alt
        file, smaller = io.BytesIO(), {"pil_kwargs": {"optimize": True}} if kind == "png" else {}
        with matplotlib.rc_context({"svg.hashsalt": "masksr"}):
            self.savefig(file, format=kind, metadata=metadata, **smaller)
        return file.getvalue()

    def _settle(self) -> None:
        """Lay it out once: constrained layout moves things a little with every drawing, and no two files were alike."""
        if self.get_layout_engine() is not None:
            self.draw_without_rendering()
            self.set_layout_engine("none")

    def is_drawing(self) -> bool:
        """Whether it is made of lines and text alone; photographs and maps are pixels, also in an SVG."""
        return not self.findobj(AxesImage)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        """What Jupyter shows: PNG, for a drawing SVG too, each with the description where the report finds it."""
        data = {"image/png": b64encode(self.encoded("png")).decode(), "text/plain": self.alt or repr(self)}
        if self.is_drawing() and len(svg := self.encoded("svg")) <= LONGEST_SVG:
            data["image/svg+xml"] = svg.decode()
        return data, {mime: {"alt": self.alt} for mime in data if mime.startswith("image/") and self.alt}
