"""Two pictures of one place, one over the other, with a handle between them; side by side without a script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from masksr.plots.crops import Detail


def text(details: Sequence[Detail]) -> str:
    """The prose above the pictures, as markdown; it names their sources."""
    return (
        "# Before and after\n\nThe crops of [Figure 4](14_figure4.ipynb) pixel by pixel, as the networks made them and "
        f"enlarged without smoothing, each in {len(details[0].titles)} versions. Choose two of them above the picture "
        "and move the handle, with the mouse or the arrow keys. Whether the mask was worth it should show without "
        "knowing which side is which.\n"
    )


def html(details: Sequence[Detail]) -> str:
    """The widgets. To begin with, the first plain model is on the left and the same with the mask on the right."""
    return (
        '<div class="comparisons">\n'
        + "\n".join(_widget(number, detail) for number, detail in enumerate(details, start=1))
        + "\n</div>\n"
    )


def _pair(titles: Sequence[str]) -> tuple[int, int]:
    masked = next((n for n, title in enumerate(titles) if title.endswith("+Mask")), min(1, len(titles) - 1))
    plain = titles.index(name) if (name := titles[masked].removesuffix("+Mask")) in titles[:masked] else 0
    return plain, masked


def _widget(number: int, detail: Detail) -> str:
    left, right = _pair(detail.titles)
    pictures, options = [], {"left": [], "right": []}
    for n, (title, picture) in enumerate(zip(detail.titles, detail.pictures, strict=True)):
        side = ' class="left"' if n == left else ' class="right"' if n == right else ""
        address = "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
        alt = f"detail {number}: {title}"
        pictures.append(
            f'<figure{side}><img src="{address}" alt="{escape(alt)}"><figcaption>{escape(title)}</figcaption></figure>'
        )
        for chosen, list_ in zip((left, right), options.values(), strict=True):
            list_.append(f"<option{' selected' if n == chosen else ''}>{escape(title)}</option>")
    choices = "".join(
        f'<select class="{side}" aria-label="on the {side}">{"".join(entries)}</select>'
        for side, entries in options.items()
    )
    handle = f"detail {number}: where the left picture ends"
    return (
        f'<div class="compare" role="group" aria-label="Detail {number}">\n<div class="choice">{choices}</div>\n'
        f'<div class="pictures">{"".join(pictures)}</div>\n'
        f'<input type="range" min="0" max="100" value="50" aria-label="{handle}">\n</div>'
    )
