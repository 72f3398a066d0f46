"""The one error of the launcher, and the exit codes of the platform."""

FAILED = 1
BAD_REQUEST = 2
CONFLICT = 4


class Refusal(Exception):
    """A command stops here; the message says to a person what is wrong and what mends it."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
