"""`modelrouter plan`: who would get what of the memory, in bars and in JSON; nothing is loaded."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_state_path
from typer.testing import CliRunner

from modelrouter.cli import app
from modelrouter.generation import Done, Timings, Usage
from modelrouter.memory.budget import read_machine
from modelrouter.registry import ModelSpec
from modelrouter.scheduler.rates import Rates

MODELS_TOML = """\
version = 1
[budget]
ram = "{ram}"
reserve = "16MiB"
[models.small]
path = "{model}"
residency = "resident"
context = 512
batch = 32
[models.large]
path = "{model}"
context = [{least}, 4096]
batch = 32
[models.gone]
path = "gone.gguf"
[roles]
code = ["small"]
general = ["large"]
"""


def planned(folder: Path, model: Path, ram: str, *options: str, least: int = 512) -> str:
    """Return what the command prints; the large model wants `least` tokens of context."""
    file = folder / "models.toml"
    file.write_text(MODELS_TOML.format(ram=ram, model=model, least=least))
    said = CliRunner().invoke(app, ["plan", "--config", str(file), *options])
    assert said.exit_code == 0, said.output
    return said.stdout


def test_residents_first_then_the_others_then_pins(tmp_path: Path, tiny_gguf: Path) -> None:
    """With plenty of room everybody has the most they asked for, and all weights are pinned."""
    plan: dict[str, Any] = json.loads(planned(tmp_path, tiny_gguf, "1GiB", "--json"))
    assert plan["budget"]["models_bytes"] == 2**30 - 16 * 2**20
    small, large = plan["models"]
    assert (small["residency"], small["context_tokens"]) == ("resident", 512)
    assert plan["resident_bytes"] == small["footprint_bytes"]
    assert (large["context_tokens"], large["is_narrowed"]) == (4096, False)
    assert large["pinned_bytes"] == large["weights_bytes"] > 0
    assert list(plan["unusable"]) == ["gone"]


def test_what_does_not_fit_is_told_with_its_numbers(tmp_path: Path, tiny_gguf: Path) -> None:
    """A budget for one model alone: the other is refused in the words of the scheduler."""
    needed = json.loads(planned(tmp_path, tiny_gguf, "1GiB", "--json"))["resident_bytes"]
    ram = f"{needed + 17 * 2**20}B"
    said = planned(tmp_path, tiny_gguf, ram)
    assert re.search(r"large needs [\d.]+ MiB; the budget is", said)
    assert "of which resident models have" in said
    assert json.loads(planned(tmp_path, tiny_gguf, ram, "--json"))["models"][1]["problem"]


def test_what_would_fit_does(tmp_path: Path, tiny_gguf: Path) -> None:
    """A byte short of what 4,096 tokens need: it names 2,048, and with those the model fits."""
    roomy = json.loads(planned(tmp_path, tiny_gguf, "1GiB", "--json", least=4096))
    small, large = (model["footprint_bytes"] for model in roomy["models"])
    ram = f"{small + large + 16 * 2**20 - 1}B"
    refused = json.loads(planned(tmp_path, tiny_gguf, ram, "--json", least=4096))["models"][1]
    assert refused["problem"]
    assert refused["would_fit"] == "slots = 1 and context = 2048"
    fits = json.loads(planned(tmp_path, tiny_gguf, ram, "--json", least=2048))["models"][1]
    assert (fits["problem"], fits["context_tokens"]) == (None, 2048)


def test_what_the_machine_does_not_tell_is_told(tmp_path: Path, tiny_gguf: Path) -> None:
    """Warnings of the budget and all that the machine lacks stand in the page and in the JSON."""
    missing = list(read_machine().missing)
    told = json.loads(planned(tmp_path, tiny_gguf, "999GiB", "--json"))
    (warning,) = told["budget"]["notes"]
    assert warning.startswith("budget.ram is 999.00 GiB, and ")
    assert told["machine"]["missing"] == missing
    said = planned(tmp_path, tiny_gguf, "999GiB")
    notes = re.findall(r"^note      (.*)$", said, re.MULTILINE)
    assert notes == [warning, *missing]


def test_the_pace_needs_measured_speeds(tmp_path: Path, tiny_gguf: Path) -> None:
    """Nothing is measured unasked; once it was, plan goes by what is kept, and says what limits."""
    said = planned(tmp_path, tiny_gguf, "1GiB")
    assert said.count("is not known yet: `modelrouter plan --measure` finds out") == 2
    told = json.loads(planned(tmp_path, tiny_gguf, "1GiB", "--json", "--measure"))
    again = json.loads(planned(tmp_path, tiny_gguf, "1GiB", "--json"))
    assert again["speeds"] == told["speeds"]
    kinds = {key.partition("/")[0] for key in again["speeds"]}
    assert kinds == {"memory", "disk", "decoding"}
    small, large = (model["pace"] for model in again["models"])
    assert small["limit"] == large["limit"] in {"memory", "CPU"}
    assert small["touched_bytes"] == large["touched_bytes"] > 0
    assert small["streamed_bytes"] == large["streamed_bytes"] == 0
    assert "a token predicted, by the " in planned(tmp_path, tiny_gguf, "1GiB")


def test_what_was_measured_stands_beside_what_is_predicted(
    tmp_path: Path, make_spec: Callable[..., ModelSpec], tiny_gguf: Path
) -> None:
    """A hundred tokens in four seconds: 40 ms each, and how much of that was foreseen."""
    spec = make_spec(tiny_gguf, name="small", residency="resident", context=512, batch=32)
    rates = Rates(Path(user_state_path("modelrouter"), "rates.json"))
    rates.of(spec.identity).answered(Done("length", Usage(100, 100, 0), Timings(2.0, 4.0)))
    rates.save()
    told = json.loads(planned(tmp_path, tiny_gguf, "1GiB", "--json", "--measure"))
    small, large = (model["pace"] for model in told["models"])
    assert small["measured_seconds_a_token"] == 0.04
    assert small["measured_prefill_tokens_per_second"] == 50
    assert small["times_measured"] == small["predicted_seconds_a_token"] / 0.04
    assert large["measured_seconds_a_token"] is large["times_measured"] is None
    assert "; 40.0 ms measured" in planned(tmp_path, tiny_gguf, "1GiB")


def test_the_bars_fill_the_budget(tmp_path: Path, tiny_gguf: Path) -> None:
    """Sixty cells each: the resident ones, what the mapped one needs, its pin, and what is left."""
    said = planned(tmp_path, tiny_gguf, "1GiB")
    bars = [line.split(maxsplit=1)[1] for line in said.splitlines() if "··" in line]
    assert [len(bar) for bar in bars] == [60, 60]
    assert bars[0].startswith("█")
    assert set(bars[1]) == {"█", "▓", "▒", "·"}
    assert "gone cannot be used" in said


@pytest.mark.parametrize("ram", ["17MiB", "20MiB"])
def test_a_machine_that_is_too_small_gets_a_sentence(
    tmp_path: Path, tiny_gguf: Path, ram: str
) -> None:
    """Not even the resident model fits: it says so, and nothing breaks."""
    said = planned(tmp_path, tiny_gguf, ram)
    assert re.search(r"small needs [\d.]+ MiB; the budget is [14]\.0 MiB", said)
