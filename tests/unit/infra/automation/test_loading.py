"""Objects created while modules load are exempt from garbage collection; later ones are not."""

import gc

import pytest

from infra.automation.loading import no_garbage


@pytest.mark.parametrize("fails", [False, True])
def test_loaded_objects_are_exempt_from_garbage_collection(fails: bool) -> None:
    before = gc.get_freeze_count()
    try:
        with no_garbage():
            assert not gc.isenabled()
            if fails:
                raise ImportError
    except ImportError:
        assert fails
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    gc.unfreeze()
