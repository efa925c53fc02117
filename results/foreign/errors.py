"""What is said when somebody else's table cannot be understood."""


class ForeignError(ValueError):
    """A table that cannot be read as traces: what was found, what is needed, and in `hint` what would do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
