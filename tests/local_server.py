"""Files over HTTP from this machine, for tests of what comes from the network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server:
    """Serves a folder, with ranges. ``faults`` holds, by path, what happens to the next requests one by one:

    a status that refuses; "cut": the connection ends after half of the body; "stall": it falls silent there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.over = threading.Event()
        self.address = ""  # once it is served

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted, file = handler.headers["Range"], self.folder / handler.path[1:]
        self.requests.append((handler.path, wanted))
        faults = self.faults.get(handler.path)
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int) or not file.is_file():
            return handler.send_error(fault or 404)
        content = file.read_bytes()
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if begin and begin >= len(content):
            return handler.send_error(416)
        body = content[begin:]
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Content-Type", "text/html" if file.suffix == ".html" else "image/png")
        handler.end_headers()
        with suppress(ConnectionError):
            handler.wfile.write(body if fault is None else body[: len(body) // 2])
        if fault == "stall":
            self.over.wait(20)

@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder."""
    server = Server(folder)
    methods = {"log_message": lambda *_: None, "do_GET": lambda handler: server.answer(handler)}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), methods)) as http:
        server.address = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.over.set()
            http.shutdown()
