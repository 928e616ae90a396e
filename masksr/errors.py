"""The one kind of error a user of masksr should ever see."""


class MasksrError(RuntimeError):
    """Something the user can mend: its message is complete, fits one paragraph and says what to do."""
