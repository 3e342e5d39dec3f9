"""The prompts in data/: well formed, each there once, and no kind or language tells the label."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from modelrouter.classifier.census import duplicates, main, one_sided, table
from modelrouter.classifier.dataset import Row, read_sources

DATA = Path(__file__).parents[2] / "data"


def rows_of(folder: str) -> list[Row]:
    """Return all prompts of data/FOLDER; a malformed line is an error with its place."""
    return [
        row for each in read_sources(sorted((DATA / folder).glob("*.jsonl"))) for row in each.rows
    ]


def row(text: str, label: str = "code", kind: str = "plain", lang: str = "en") -> Row:
    """Return a prompt as a file would hold it."""
    return Row("f.jsonl", text, label, kind, lang, f"{kind}/sitting-1", is_found=False)


@pytest.fixture(scope="module")
def prompts() -> list[Row]:
    """Return the prompts that are trained on, or held out from it."""
    return rows_of("prompts")


@pytest.fixture(scope="module")
def hard() -> list[Row]:
    """Return the prompts of the hard set, which nothing is trained on."""
    return rows_of("hard")


@pytest.mark.parametrize("folder", ["prompts", "hard"])
def test_every_label_is_one_of_two(folder: str) -> None:
    """The files are well formed, and a prompt is code or general."""
    assert {row.label for row in rows_of(folder)} == {"code", "general"}


def test_no_prompt_comes_twice(prompts: list[Row], hard: list[Row]) -> None:
    """Case, blanks and punctuation aside, every prompt stands once in each of the two sets."""
    assert duplicates(prompts) == []
    assert duplicates(hard) == []


def test_no_hard_prompt_is_trained_on(prompts: list[Row], hard: list[Row]) -> None:
    """Only asks of three words at most may stand in both, one in fifty: people type the same."""
    both = duplicates([*prompts, *hard])
    assert [pair for pair in both if len(pair[1].text.split()) > 3] == []
    assert len(both) <= len(hard) // 50


@pytest.mark.parametrize("folder", ["prompts", "hard"])
def test_no_kind_and_no_language_stands_for_a_label(folder: str) -> None:
    """Where there are ten prompts of a kind or a language, there are both labels."""
    assert one_sided(rows_of(folder)) == []


@pytest.mark.parametrize("folder", ["prompts", "hard"])
def test_the_counts_are_those_of_the_files(folder: str) -> None:
    """What COUNTS.md says is what `make classifier` writes today."""
    assert (DATA / folder / "COUNTS.md").read_text() == table(rows_of(folder))


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (["Sort it!", "sort  it"], 1),
        (["sort it", "sort them"], 0),
        (["->", "=>"], 0),
        (["->", "->"], 1),
        (["Straße", "STRASSE"], 1),
        (["a", "a", "a"], 2),
    ],
)
def test_duplicates_are_found_whatever_their_dress(texts: Sequence[str], count: int) -> None:
    """Only letters and digits tell texts apart, where there are any."""
    assert len(duplicates(map(row, texts))) == count


def test_a_kind_with_one_label_is_named() -> None:
    """Ten prompts of one kind or language with a single label stand for it; nine may be chance."""
    both = [row("a"), row("b", "general")]
    assert one_sided([*both, *[row(str(n), kind="sql") for n in range(10)]]) == ["kind sql"]
    assert one_sided([*both, *[row(str(n), kind="sql") for n in range(9)]]) == []
    assert one_sided([*both, *[row(str(n), lang="de") for n in range(10)]]) == ["language de"]
    assert one_sided([*both, *[row(str(n), kind="prefix", lang="c") for n in range(9)]]) == []


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts by kind, and by language of the ask where there is one."""
    file = tmp_path / "own.jsonl"
    file.write_text(
        '{"text": "a", "label": "code", "kind": "prefix", "lang": "c", "run": "sitting-2"}\n'
        '{"text": "b", "label": "general", "kind": "plain", "lang": "en", "run": "sitting-1"}\n'
    )
    assert main([str(file)]) == 0
    assert capsys.readouterr().out == (
        "2 prompts: 1 code, 1 general.\n\n"
        "| kind | code | general |\n|---|--:|--:|\n| plain | 0 | 1 |\n| prefix | 1 | 0 |\n\n"
        "| language | code | general |\n|---|--:|--:|\n| en | 0 | 1 |\n"
    )


def test_the_command_names_bad_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with mistakes is not counted."""
    file = tmp_path / "bad.jsonl"
    file.write_text("[]\n")
    assert main([str(file)]) == 2
    assert capsys.readouterr().err == (
        f"error: {file}:1: expected an object, got list\n"
        'hint: a line is {"text", "label", "kind", "lang", "run"}; nothing was written\n'
    )
