"""The box that is soaked: four models of random weights, their models.toml, a policy, a budget.

Everything lies in one folder, home and temporary files too, so that what a server leaves behind can
be counted. It starts nothing but `modelrouter plan`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelrouter.synthetic import TINY, Geometry, write

PROGRAM = (sys.executable, "-m", "modelrouter")
MAX_WAITING = 10
PINS_BYTES = 24 * 2**20
"""What the tight budget has beside footprints: the models' weights are pinned with it, in part."""

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the box; `context_tokens` are each slot's."""

    name: str
    geometry: Geometry
    context_tokens: int
    slots: int
    is_resident: bool = False


HEAVY = (
    Model("resident", Geometry(4, 256, 512, 4, 4, 4096), 2048, 4, is_resident=True),
    Model("small", Geometry(6, 256, 1024, 4, 4, 4096, None, 8, 1), 4096, 3),
    Model("middle", Geometry(8, 512, 1024, 8, 8, 4096, None, 3, 1), 4096, 2),
    Model("large", Geometry(12, 512, 2048, 8, 8, 4096), 4096, 3),
)
"""Charged 100 to 400 MiB, most of it context; a load takes about a second. Experts make the mapped
files large: together they do not fit what a cgroup leaves to the page cache, each one does.
"""

LIGHT = (
    Model("resident", TINY, 512, 4, is_resident=True),
    Model("small", Geometry(2, 256, 512, 4, 4, 4096), 1024, 2),
    Model("middle", Geometry(4, 256, 512, 4, 4, 4096), 2048, 2),
    Model("large", Geometry(6, 256, 512, 4, 4, 4096), 4096, 2),
)
"""Little more than bare workers, and still slow enough to be caught at work."""

RULES = """\
description = "Something of everything that a policy can ask of the scheduler."

[[rules]]
name = "side job"
task = "background"
use = ["large"]

[[rules]]
name = "next"
tag = "next"
use = ["large", "middle", "small", "resident"]
when_full = "next"

[[rules]]
name = "wait"
tag = "wait"
use = ["middle", "small"]
when_full = "wait"

[otherwise]
use = ["resident"]
when_full = "wait"
"""


@dataclass(frozen=True)
class Box:
    """A folder with all that `modelrouter serve` needs; `charges` are bytes by model."""

    folder: Path
    models: Sequence[Model]
    charges: Mapping[str, int] = field(default_factory=dict)
    budget_bytes: int = 0

    @property
    def config(self) -> Path:
        """The models.toml."""
        return self.folder / "models.toml"

    @property
    def own_folders(self) -> dict[str, str]:
        """The environment that keeps a server's files inside the folder."""
        kinds = {f"XDG_{kind}_HOME": kind.lower() for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
        names = {"HOME": "home", "TMPDIR": "tmp", **kinds}
        return {variable: str(self.folder / name) for variable, name in names.items()}

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a program in this box."""
        kept = {name: value for name, value in os.environ.items() if name != "MODELROUTER_CONFIG"}
        return kept | self.own_folders

    def file_of(self, model: str) -> Path:
        """Return a model's file."""
        return self.folder / f"{model}.gguf"

    def files(self) -> int:
        """Return how many files there are in all its folders: of models, cache, state, and left."""
        return sum(len(names) for _, _, names in os.walk(self.folder))

    def forget_pages(self) -> None:
        """Take the model files out of the page cache: whoever reads them next is charged."""
        for model in self.models:
            with self.file_of(model.name).open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def build(folder: Path, models: Sequence[Model], *, room_for_all: bool = False) -> Box:
    """Write the models and their models.toml, and return the box.

    The budget holds the resident model, of the others either the largest or the two smallest, and
    some pins; with `room_for_all` it holds them all.
    """
    box = Box(folder, models)
    for path in box.own_folders.values():
        Path(path).mkdir(parents=True)
    (folder / "policies").mkdir()
    (folder / "policies" / "soak.toml").write_text(RULES)
    for number, model in enumerate(models):
        write(box.file_of(model.name), model.geometry, "Q8_0", seed=number)
    box.config.write_text(_models_toml(models, ram_bytes=2**40))
    charges = _charges(box)
    budget_bytes = sum(charges.values()) if room_for_all else _tight_budget(models, charges)
    box.config.write_text(_models_toml(models, budget_bytes))
    return Box(folder, models, charges, budget_bytes)


def _tight_budget(models: Sequence[Model], charges: Mapping[str, int]) -> int:
    residents = sum(charges[model.name] for model in models if model.is_resident)
    others = sorted(charges[model.name] for model in models if not model.is_resident)
    return residents + max(others[-1], sum(others[:2])) + PINS_BYTES


def _charges(box: Box) -> dict[str, int]:
    """Return what the budget is charged for each model, as `modelrouter plan` says."""
    command = [*PROGRAM, "plan", "--json", "--config", str(box.config)]
    done = subprocess.run(command, capture_output=True, check=True, env=box.environment)
    planned = json.loads(done.stdout)["models"]
    return {model["model"]: model["footprint_bytes"] for model in planned}


def _models_toml(models: Sequence[Model], ram_bytes: int) -> str:
    head = f"""\
version = 1
policy = "soak"

[budget]
ram = "{ram_bytes}B"
reserve = "0B"

[server]
max_waiting = {MAX_WAITING}
"""
    roles = f"\n[roles]\ngeneral = {json.dumps([model.name for model in models])}\n"
    return head + "".join(_entry(model) for model in models) + roles


def _entry(model: Model) -> str:
    return f"""
[models.{model.name}]
path = "{model.name}.gguf"
residency = "{"resident" if model.is_resident else "mapped"}"
context = {model.context_tokens}
slots = {model.slots}
threads = 1
"""
