"""The faults that `make mutation` may not find are explained, and are faults of lines that are still there."""

from __future__ import annotations

import tomllib

import pytest

from tests.mutation.run import EXPLAINED, ROOT, Survivor, _test_files


def test_every_explained_survivor_is_a_fault_of_a_line_that_there_is() -> None:
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["survivor"]
    assert entries
    for entry in entries:
        source = " ".join((ROOT / entry["module"]).read_text(encoding="utf-8").split())
        assert " ".join(entry["before"].split()) in source, entry["before"]
        assert entry["before"] != entry["after"]
        assert entry["why"].endswith(".")


@pytest.mark.parametrize(
    ("before", "after", "no_account"),
    [
        ('return value.decode("ascii")', 'return value.decode("ASCII")', True),
        ('text.encode("ascii", "replace")', 'text.encode("ASCII", "replace")', True),
        ('hmac.digest(key, PURPOSE, "sha256")[:8].hex()', 'hmac.digest(key, PURPOSE, "SHA256")[:8].hex()', True),
        ('unquote(path, "latin-1")', 'unquote(path, "LATIN-1")', True),
        ('raise ValueError("no such thing")', 'raise ValueError("XXno such thingXX")', True),
        pytest.param('value.decode("ascii")', 'value.decode("utf-8")', False, id="another encoding"),
        pytest.param('value.decode("ascii")', 'value.decode("XXasciiXX")', False, id="none that there is"),
        pytest.param('value.decode("ascii")', "value.decode(None)", False, id="none at all"),
        pytest.param('value == "utf-8"', 'value == "UTF-8"', False, id="a comparison looks nothing up"),
        pytest.param('value == b"ascii"', 'value == b"ASCII"', False, id="nor do bytes"),
        pytest.param('x.encode("ascii", "replace")', 'x.encode("ascii", "REPLACE")', False, id="errors have case"),
        pytest.param('text.decode("close")', 'text.decode("CLOSE")', False, id="another word"),
        pytest.param('a.decode("ascii") + "x"', 'a.decode("ASCII") + "y"', False, id="something else as well"),
        pytest.param("return 1", "return 1", False, id="no change at all"),
    ],
)
def test_the_case_of_an_encodings_or_a_hashs_name_and_the_spelling_of_a_sentence_are_no_faults(
    before: str, after: str, no_account: bool
) -> None:
    assert Survivor("sidecar/core/x.py", before, after).is_of_no_account is no_account


def test_tests_that_read_the_source_judge_no_fault() -> None:
    """They stumble over mutmut's copies."""
    judges = _test_files(["tests/unit"])
    assert "tests/unit/advice/test_texts.py" not in judges
    assert "tests/unit/core/test_resend.py" in judges
