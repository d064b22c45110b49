"""What a check raises."""


class CheckFailed(Exception):
    """The endpoint is not well; the text says why, in a few words."""
