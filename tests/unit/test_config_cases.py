"""Every wrong file in tests/config_cases gives exactly the words below its line of dashes.

A case holds files, each after a line "# file: NAME"; one that it leaves out is the sound one here.
"""

import re
from pathlib import Path

import pytest

from modelrouter import config
from modelrouter.errors import ConfigError

CASES = sorted((Path(__file__).parent.parent / "config_cases").glob("*.case"))
FILE_LINE = re.compile(r"^# file: (\S+)\n", re.MULTILINE)
FIELDS = ("code", "general")

SOUND_FILES = {
    "models.toml": """
version = 1
policy = "mine"

[models.coder]
path = "coder.gguf"

[models.large]
path = "large.gguf"
""",
    "policies/mine.toml": """
description = "No rules, one model."

[otherwise]
use = ["coder"]
when_full = "wait"
""",
}


def write_files(case: str, folder: Path) -> None:
    """Write the sound files and those of `case` over them."""
    _, *named = FILE_LINE.split(case)
    files = SOUND_FILES | dict(zip(named[::2], named[1::2], strict=True))
    (folder / "policies").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


def test_the_sound_files_are_sound(tmp_path: Path) -> None:
    """What a case leaves out is not to blame for its message."""
    write_files("", tmp_path)
    source = config.find_config(tmp_path / "models.toml")
    assert config.load(source, fields=FIELDS).policy_name == "mine"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken files are refused with every mistake on its line, in words that help."""
    case, expected = path.read_text().split("----------\n")
    write_files(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        config.load(config.find_config(), fields=FIELDS)
    assert f"{refused.value.message}\n" == expected
