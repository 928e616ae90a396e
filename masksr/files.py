"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from masksr.errors import MasksrError


def write_atomic(path: Path | str, *content: bytes | memoryview) -> None:
    """Write ``path`` from pieces, so that a reader, or the next run, never sees half of it. Makes missing folders.

    It is written beside its name, flushed to the disk and renamed. Raises MasksrError when the disk refuses.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise MasksrError(
            f"{path} could not be written ({error.strerror or error}); free some space or fix the rights of "
            f"{path.parent}, then run the same command again: nothing that was finished is lost"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
