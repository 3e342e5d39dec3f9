"""Provenance: a date that a rebuild repeats, and no clock."""

import os
from pathlib import Path

import pytest

from modelrouter.classifier.provenance import data_date
from modelrouter.errors import ConfigError

JANUARY_2 = 1_767_312_000
"""2026-01-02, at midnight in UTC."""


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a date that the tests' caller set away from them."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def file_of(folder: Path, name: str, seconds: int) -> Path:
    """Return a new file that was last changed at that time."""
    file = folder / name
    file.write_text("{}\n")
    os.utime(file, (seconds, seconds))
    return file


def test_the_date_is_that_of_the_newest_file(tmp_path: Path) -> None:
    """In UTC: a second before midnight is the day before."""
    old = file_of(tmp_path, "old.jsonl", JANUARY_2 - 86_401)
    new = file_of(tmp_path, "new.jsonl", JANUARY_2 - 1)
    assert data_date([new, old]) == "2026-01-01"
    assert data_date([old]) == "2025-12-31"


def test_source_date_epoch_beats_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout changes the files' times; who builds names the date. Empty is not set."""
    file = file_of(tmp_path, "new.jsonl", JANUARY_2)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert data_date([file]) == "2023-11-14"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert data_date([file]) == "2026-01-02"


@pytest.mark.parametrize("value", ["yesterday", "1e9", "9" * 30])
def test_a_date_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Exit code 2, and what was expected."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(ConfigError) as caught:
        data_date([file_of(tmp_path, "new.jsonl", JANUARY_2)])
    assert caught.value.message == (f"SOURCE_DATE_EPOCH is '{value}', expected seconds since 1970")
