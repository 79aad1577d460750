"""Loading a cloud's SDK: it makes a million objects that all stay, and looking for garbage among them takes long."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """Look for no garbage while the block loads, nor later among what it has loaded."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
