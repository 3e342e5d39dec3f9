"""What the documents show must work as shown."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from program import Serve, write_config

from modelrouter import config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(text: str) -> list[str]:
    """Return the indented blocks of a Markdown text, without their indentation."""
    return [
        textwrap.dedent(found[0])
        for found in re.finditer(r"(?:^    .*\n|^\n)+", text, re.MULTILINE)
    ]


def commands() -> list[str]:
    """Return the README's `modelrouter` commands that end by themselves."""
    lines = [line for block in blocks(README) for line in block.splitlines()]
    ours = [line for line in lines if re.match(r"(cat f.py \| )?modelrouter ", line)]
    return [line for line in ours if not re.match("modelrouter (serve|ps --watch)", line)]


def test_the_readme_has_commands() -> None:
    """The search for commands finds them: an empty list would make the next test say nothing."""
    assert len(commands()) >= 6


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme(
    command: str, tmp_path: Path, tiny_gguf: Path, serve: Serve
) -> None:
    """Each command runs as it stands there (with the tiny model, so that it is quick)."""
    command = command.replace("--geometry llama-65b --quant Q4_K", "--geometry tiny --quant Q8_0")
    (tmp_path / "f.py").write_text("def f():\n    return 1\n")
    config_path = write_config(tmp_path / "tiny", tiny_gguf, "context = 512", name="llama-65b")
    if re.match("modelrouter (ps|models (load|unload))", command):
        serve(config_path)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MODELROUTER_CONFIG": str(config_path),
    }
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout


def test_the_models_of_the_readme_are_valid(tmp_path: Path) -> None:
    """The README's models.toml is one that `check` would accept."""
    (shown,) = [block for block in blocks(README) if "[models.coder]" in block]
    path = tmp_path / "models.toml"
    path.write_text(f"version = 1\n{shown}")
    assert config.load(config.ConfigSource(path, "--config")).models_file.roles["code"] == (
        "coder",
    )


def test_the_policy_of_the_documents_is_valid(tmp_path: Path, tiny_gguf: Path) -> None:
    """docs/configuration.md shows a policy that works."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    (shown,) = [block for block in blocks(text) if "[[rules]]" in block]
    path = write_config(tmp_path / "tiny", tiny_gguf)
    (path.parent / "policies").mkdir()
    (path.parent / "policies" / "shown.toml").write_text(shown)
    source = config.ConfigSource(path, "--config")
    assert config.load(source, "shown").policy_file.rules[0].name == "code"


def test_every_key_of_models_toml_is_documented() -> None:
    """docs/configuration.md names every key that models.toml may have."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    tables = (config.ModelsFile, config.Budget, config.Server, config.Cache, config.ModelEntry)
    for table in (*tables, config.SamplingTable, config.Rule):
        for name, field in table.model_fields.items():
            key = field.alias or name
            assert re.search(
                rf"`{key}`|\[{key}[.\]]|\.{key}\]|^    {key} = ", text, re.MULTILINE
            ), key
