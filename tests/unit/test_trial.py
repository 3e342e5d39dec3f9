"""`modelrouter policy test`: prompts, the state of the box, and where they should go."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelrouter import config
from modelrouter.cli import app
from modelrouter.config import ConfigSource
from modelrouter.errors import ConfigError
from modelrouter.trial import Trial

ROOT = Path(config.__file__).parent.parent.parent
SHIPPED = ConfigSource(ROOT / "models.toml", "shipped")
CASES = sorted((ROOT / "policies" / "cases").glob("*.toml"))

BUSY = """
policy = "balanced"
roles = { code = ["coder"], general = ["llama"] }

[[cases]]
prompt = "Write a Python function that reverses a linked list"
model = "coder"

[[cases]]
prompt = "Write a Python function that reverses a linked list"
state = { coder = "busy" }
rule = "otherwise"
models = ["llama"]
"""


def outcomes_of(text: str, folder: Path, policy: str | None = None) -> list[str | None]:
    """Return what there is to complain of each case."""
    path = folder / "cases.toml"
    path.write_text(text)
    return [outcome.complaint for outcome in Trial(path, SHIPPED, policy).outcomes()]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_shipped_policies_do_what_their_cases_say(path: Path) -> None:
    """Every policy that ships has cases of its own name, and they all hold."""
    trial = Trial(path, SHIPPED, None)
    assert trial.policy_name == path.stem
    assert [outcome for outcome in trial.outcomes() if outcome.complaint] == []


def test_every_shipped_policy_has_cases() -> None:
    """A policy without cases is a promise that nobody checks."""
    shipped = {path.stem for path in (ROOT / "policies").glob("*.toml")}
    assert shipped == {path.stem for path in CASES}


def test_what_is_not_as_expected_is_told(tmp_path: Path) -> None:
    """Rule and models each say what was expected and what came."""
    assert outcomes_of(BUSY, tmp_path) == [
        None,
        'expected rule "otherwise", got "code"; expected models llama, got coder, llama',
    ]


def test_another_policy_can_stand_trial(tmp_path: Path) -> None:
    """`--policy` beats the one that the file names."""
    first, _ = outcomes_of(BUSY, tmp_path, "quality")
    assert first == "expected model coder, got llama"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases = []", ":1: cases: needs at least 1 entry, got a list"),
        ("[[cases]]\nprompt = 'a'", ":1: cases[0]: nothing is expected"),
        ("[[cases]]\nrule = 'a'", ':1: cases[0]: expected "prompt" or "turns", one of them'),
        ("[[cases]]\nturns = ['a', 'b']\nrule = 'x'", ":1: cases[0]: the last turn must be"),
        ("[[cases]]\nprompt = 'a'\nmodel = 'smolm2'", ':3: cases[0].model: no model "smolm2" (did'),
        ("[[cases]]\nprompt = 'a'\nrule = 'b'\nstat = 1", ":4: cases[0].stat: unknown key (did"),
        ("[[cases]]\nprompt = 'a'\nrule = 'b'\nanswer = {x = 1}", ":4: cases[0].answer.x: expect"),
    ],
)
def test_a_file_with_mistakes_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """Nothing runs, and the mistake is told with its line."""
    with pytest.raises(ConfigError) as refused:
        outcomes_of(text, tmp_path)
    assert message in refused.value.message


def test_the_command_tells_and_its_exit_code_says_so(tmp_path: Path) -> None:
    """One line a wrong case with its place, then the count; exit code 1."""
    path = tmp_path / "cases.toml"
    path.write_text(BUSY)
    arguments = ["policy", "test", str(path), "--config", str(SHIPPED.path)]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 1
    wrong, count = said.stdout.splitlines()
    assert wrong.startswith(
        f'{path}:9: "Write a Python function that reverses a linked list" (code'
    )
    assert count == f"{path}: 1 of 2 as expected of balanced"
    as_json = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [row["as_expected"] for row in as_json] == [True, False]


def test_the_policies_are_listed() -> None:
    """The one in use has a star; each says what it is for."""
    said = CliRunner().invoke(app, ["policy", "list", "--config", str(SHIPPED.path)]).stdout
    assert "* balanced\n    Code goes to the small code model" in said
    assert "  small-only\n" in said
