"""Headless Chromium for tests, by its DevTools protocol over two pipes: no port, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from masksr.report import pdf

Message = dict[str, Any]
SECONDS = 20  # without a word, after which Chromium is given up


class Tab:
    """One page. ``events``: all that Chromium told of it, in order."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._rest, self._id = commands, answers, b"", 0
        self.events: list[Message] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Message:
        """Send a command and wait for its result."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._id:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self) -> Message:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], SECONDS)[0]:
                raise RuntimeError(f"Chromium said nothing for {SECONDS} s")
            if not (piece := os.read(self._answers, 1 << 20)):
                raise RuntimeError("Chromium ended")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file anew and wait until it is there. ``events`` are those since then."""
        self.events.clear()
        if "loaderId" not in self.call("Page.navigate", url=page.as_uri() + fragment):  # only the fragment is another
            self.reload()
            return
        self._loaded()

    def reload(self) -> None:
        self.events.clear()
        self.call("Page.reload")
        self._loaded()

    def _loaded(self) -> None:
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited. Raises RuntimeError where it throws."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", **asked)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return answer["result"].get("value")

    def look(self, width: int, height: int = 900, *, scheme: str = "light", media: str = "") -> None:
        """Set the width of the window, the system's colour scheme and the medium."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def press(self, key: str) -> None:
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Enter": 13, "Tab": 9}
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            code = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            self.call("Input.dispatchKeyEvent", type=kind, **code, **(more if kind == "keyDown" else {}))

    def mouse(self, x: float, y: float, to: tuple[float, float] | None = None) -> None:
        """Click, or drag to another place."""
        button = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, buttons=1, **button)
        x, y = to or (x, y)
        if to:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, buttons=1, button="left")
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **button)

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def picture(self, file: Path, whole: bool = False) -> None:
        """What the window shows, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(shot))


@contextmanager
def chromium() -> Iterator[Tab]:
    """A tab of a Chromium that knows no network. Raises MasksrError where none is installed."""
    program = pdf.chromium()
    with tempfile.TemporaryDirectory(prefix="masksr-chromium-", ignore_cleanup_errors=True) as folder:
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for pipe in (os.pipe(), os.pipe()) for end in pipe]
        its_in, our_out, our_in, its_out = ends
        started = subprocess.Popen(
            [
                *(program, *pdf.flags(), "--remote-debugging-pipe", f"--user-data-dir={folder}"),
                *("--host-resolver-rules=MAP * ~NOTFOUND", "about:blank"),
            ],
            preexec_fn=lambda: (os.dup2(its_in, 3), os.dup2(its_out, 4)),
            close_fds=False,  # 3 and 4 are where Chromium looks; all others close by themselves
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        try:
            yield Tab(our_out, our_in)
        finally:
            with suppress(OSError):
                os.write(our_out, b'{"id": 0, "method": "Browser.close"}\0')
            os.close(our_out)
            os.close(our_in)
            try:
                started.wait(5)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
