"""The keys that open the server's door, and the file that they are written in."""

from pathlib import Path

import pytest

from modelrouter.errors import ConfigError
from modelrouter.server.auth import Keys, read_keys


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file of keys."""
    path = folder / "keys"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_keys_stand_one_a_line(tmp_path: Path) -> None:
    """Comments, empty lines and blanks around a key are no part of one."""
    assert read_keys(write(tmp_path, "# the editor\nabc\n\n  def \r\n#ghi\n")) == ["abc", "def"]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("abc\n", 0o640, "others can read the API keys in {}: its mode is 0640"),
        ("abc\n", 0o604, "others can read the API keys in {}: its mode is 0604"),
        ("# none\n\n", 0o600, "{} holds no API key"),
        ("abc\na b\n", 0o600, "{}:2: a key is made of printable ASCII, without blanks"),
        ("schlüssel\n", 0o600, "{}:1: a key is made of printable ASCII, without blanks"),
    ],
)
def test_a_file_that_will_not_do(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """It is said which file, where in it, and what is wrong."""
    path = write(tmp_path, text, mode)
    with pytest.raises(ConfigError) as refused:
        read_keys(path)
    assert refused.value.message == said.format(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, no text: the reason is the system's."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_keys(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_keys(tmp_path)
    path = write(tmp_path, "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8"):
        read_keys(path)


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "authorization"])
def test_each_header_carries_each_key(name: str) -> None:
    """The headers of Anthropic, Azure and OpenAI; all keys are as good."""
    keys = Keys(["abc", "def"])
    scheme = "bearer " if name == "authorization" else ""
    assert keys.admits({name: f"{scheme}abc"})
    assert keys.admits({name: f"{scheme}def"})
    assert not keys.admits({name: f"{scheme}abcdef"})
    assert not keys.admits({name: scheme})


def test_who_sends_a_wrong_key_and_a_right_one_comes_in() -> None:
    """A client may send its own idea of a key in one header, and its user's in another."""
    assert Keys(["abc"]).admits({"authorization": "Bearer sk-none", "x-api-key": "abc"})


def test_without_keys_any_will_do() -> None:
    """Clients that cannot leave the key out send a made-up one."""
    keys = Keys([])
    assert not keys
    assert keys.admits({})
    assert keys.admits({"authorization": "Bearer sk-none"})
