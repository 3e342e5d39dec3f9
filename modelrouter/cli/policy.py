"""`modelrouter policy`: the policies there are, and whether one does what is expected of it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelrouter.cli import options
from modelrouter.config import find_config, find_policies, load

if TYPE_CHECKING:
    from modelrouter.trial import Outcome, Trial

FAILED = 1
"""The exit code where a case is not as expected."""

SHOWN_CHARACTERS = 60

app = typer.Typer(no_args_is_help=True, help="The policies, and tests of them.")


@app.command("list")
def list_policies(*, as_json: options.AsJson = False, config: options.Config = None) -> None:
    """List the policies, the one in use with a star, and what each is for."""
    source = find_config(config)
    used = load(source).policy_name
    found = {name: load(source, name).policy_file.description for name in find_policies(source)}
    if as_json:
        rows = [{"name": n, "in_use": n == used, "description": d} for n, d in found.items()]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    for name, description in found.items():
        sys.stdout.write(f"{'*' if name == used else ' '} {name}\n")
        sys.stdout.writelines(f"    {line}\n" for line in description.strip().splitlines())


@app.command("test")
def run_cases(
    files: Annotated[
        list[Path], typer.Argument(help="Cases; docs/configuration.md says what is in a file.")
    ],
    *,
    as_json: options.AsJson = False,
    policy: options.Policy = None,
    config: options.Config = None,
) -> None:
    """Run a policy against prompts and the models that they should go to."""
    from modelrouter.trial import Trial

    source = find_config(config)
    trials = [Trial(file, source, policy) for file in files]
    outcomes = [outcome for trial in trials for outcome in _run(trial, as_json=as_json)]
    if as_json:
        rows = [outcome.to_json() for outcome in outcomes]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
    if any(outcome.complaint for outcome in outcomes):
        raise typer.Exit(FAILED)


def _run(trial: "Trial", *, as_json: bool) -> "list[Outcome]":
    outcomes = list(trial.outcomes())
    wrong = [outcome for outcome in outcomes if outcome.complaint]
    if not as_json:
        sys.stdout.writelines(f"{_line(outcome)}\n" for outcome in wrong)
        right = len(outcomes) - len(wrong)
        sys.stdout.write(
            f"{trial.name}: {right} of {len(outcomes)} as expected of {trial.policy_name}\n"
        )
    return outcomes


def _line(outcome: "Outcome") -> str:
    prompt = " ".join(outcome.prompt.split())
    if len(prompt) > SHOWN_CHARACTERS:
        prompt = f"{prompt[:SHOWN_CHARACTERS]}..."
    seen = f"{outcome.prediction.field} {outcome.prediction.confidence:.2f}"
    return f'{outcome.file}:{outcome.line}: "{prompt}" ({seen}): {outcome.complaint}'
