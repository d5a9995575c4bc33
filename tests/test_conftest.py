"""The data fixture skips, fails or gives a folder, never anything in between."""

import pytest
from conftest import DATA_VARIABLE, find_data


def test_unset_skips_and_says_how_to_set_it():
    with pytest.raises(pytest.skip.Exception, match=f"set {DATA_VARIABLE}"):
        find_data({})


def test_set_but_absent_fails(tmp_path):
    with pytest.raises(pytest.fail.Exception, match="does not exist"):
        find_data({DATA_VARIABLE: str(tmp_path / "nowhere")})


def test_set_and_there_is_returned(tmp_path):
    assert find_data({DATA_VARIABLE: str(tmp_path)}) == tmp_path


def test_the_packaged_encoder_is_found(encoder_dir):
    assert encoder_dir.endswith("model")
