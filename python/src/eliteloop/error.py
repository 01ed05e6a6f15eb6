"""What is told to whoever gave a wrong folder or a wrong name."""


class EliteloopError(Exception):
    """The user's mistake, or a store that cannot be read.

    `hint` says what to do; empty where there is nothing to advise.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
        self.message = message
        self.hint = hint
