"""Nothing that loaded is looked at for garbage, and everything after it is."""

import gc

import pytest

from infra.automation.loading import no_garbage


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_loaded_stays_out_of_sight(fails: bool) -> None:
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
