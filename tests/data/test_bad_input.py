"""What people feed the readers: each file is taken for what it rightly is, or refused by name."""

import pytest
from bad_sets import CASES

from fcnexp.errors import DataError


@pytest.mark.parametrize("case", CASES)
def test_reader_takes_a_file_rightly_or_names_it_and_the_cure(tmp_path, case):
    act, expected = CASES[case]
    if not isinstance(expected, str):
        assert act(tmp_path) == expected
        return
    with pytest.raises(DataError, match=expected) as error:
        act(tmp_path)
    assert str(tmp_path) in str(error.value) or "lists overlap" in case  # that names both lists
