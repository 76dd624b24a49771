"""Unusual and broken input files are read correctly, or refused with their name."""

import pytest
from bad_sets import CASES

from fcnexp.errors import DataError


@pytest.mark.parametrize("case", CASES)
def test_file_is_read_correctly_or_refused_with_its_name_and_a_fix(tmp_path, case):
    act, expected = CASES[case]
    if not isinstance(expected, str):
        assert act(tmp_path) == expected
        return
    with pytest.raises(DataError, match=expected) as error:
        act(tmp_path)
    assert (
        str(tmp_path) in str(error.value) or "lists overlap" in case
    )  # this message names both lists
