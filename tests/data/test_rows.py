import pickle

import pytest

from preftune.data.rows import BadRow, Row
from preftune.errors import DataError, DataFault
from preftune.groups import Completion, Origin, Pair, PromptGroup

ROW = Row(Origin("prefs", 3), {})


@pytest.mark.parametrize("fault", ["equal", "empty", "other"])
def test_a_bad_row_has_the_fault_of_its_error_for_any_message(fault: DataFault) -> None:
    message = "chosen and rejected are equal, so an empty completion"
    assert BadRow.of(ROW, DataError(message, fault=fault)).fault == fault
    assert BadRow.of(ROW, ROW.error("chosen", "is odd.", fault=fault)).fault == fault


def test_the_record_itself_names_the_fault() -> None:
    with pytest.raises(DataError) as caught:
        Completion("")
    assert caught.value.fault == "empty"
    with pytest.raises(DataError) as caught:
        PromptGroup("q", (Completion("a"), Completion("a")), (Pair(0, 1),), ROW.origin)
    assert caught.value.fault == "equal"


def test_an_error_keeps_its_fault_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DataError("the completion is empty.", fault="empty")))
    assert (str(error), error.fault) == ("the completion is empty.", "empty")
