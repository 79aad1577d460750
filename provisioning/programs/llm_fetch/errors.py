"""What went wrong, for the person who reads the log or for another try."""


class FetchError(Exception):
    """What the person who reads the log can mend."""


class InterruptedTransferError(Exception):
    """A transfer that may work when it is tried again."""
