"""Everything a person can get wrong: a clear message with the numbers, and the right exit code."""

import json
from pathlib import Path

import pytest
from program import Run, write_config


@pytest.mark.parametrize("command", ["ask", "route", "check", "serve", "models"])
def test_a_config_that_is_not_there(run: Run, tmp_path: Path, command: str) -> None:
    """Every command says which file is missing; none falls back to another."""
    missing = tmp_path / "nowhere.toml"
    more = ["list"] if command == "models" else ["hi"] if command in {"ask", "route"} else []
    done = run(command, *more, "--config", missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --config: there is no file {missing}\n")


def test_broken_toml(run: Run, tmp_path: Path) -> None:
    """A syntax error is told with file and line."""
    broken = tmp_path / "models.toml"
    broken.write_text('version = 1\n[models.a\npath = "x"\n')
    done = run("ask", "--config", broken, "hi")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {broken}:2: ")


def test_all_mistakes_are_told_at_once(run: Run, tmp_path: Path, tiny_gguf: Path) -> None:
    """Unknown keys and wrong values come with line, place and did-you-mean, all in one go."""
    config = write_config(tmp_path / "bad", tiny_gguf, "slot = 2", 'residency = "sometimes"')
    done = run("check", "--config", config)
    assert done.returncode == 2
    assert done.stderr == (
        f'error: {config}:4: models.tiny.slot: unknown key (did you mean "slots"?)\n'
        f'{config}:5: models.tiny.residency: expected "resident" or "mapped", got "sometimes"\n'
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "is empty"),
        (b"#!/bin/sh\nexit 0\n", "is not a GGUF file"),
        ("half", "holds"),
    ],
)
def test_a_model_file_that_is_no_model(
    run: Run, tmp_path: Path, tiny_gguf: Path, content: bytes | str | None, said: str
) -> None:
    """A missing, empty, foreign or truncated model file is named, with what is wrong with it."""
    path = tmp_path / "model.gguf"
    if content == "half":
        path.write_bytes(tiny_gguf.read_bytes()[: tiny_gguf.stat().st_size // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    config = write_config(tmp_path / "bad", path)
    for arguments in (["ask", "hi"], ["ask", "-m", "tiny", "hi"], ["check"]):
        done = run(*arguments, "--config", config)
        assert done.returncode == 2
        assert str(path) in done.stderr
        assert said in done.stderr
    listed = run("models", "list", "--config", config)
    assert f"tiny cannot be used: {path}" in listed.stdout


def test_a_model_that_llama_cpp_cannot_load(run: Run, tmp_path: Path, tiny_gguf: Path) -> None:
    """A sound file of an unknown architecture fails in the worker; its last words say why."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes().replace(b"llama", b"lhama"))
    done = run("ask", "--config", write_config(tmp_path / "odd", path), "hi")
    assert done.returncode == 70
    assert done.stderr.startswith(f"error: tiny: llama.cpp could not load {path}; its last words: ")
    assert "unknown model architecture: 'lhama'" in done.stderr


def test_the_list_says_who_counted(run: Run, tmp_path: Path, tiny_gguf: Path) -> None:
    """What a model needs is llama.cpp's own account, or marked as an estimate."""
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(tiny_gguf.read_bytes().replace(b"llama", b"lhama"))
    for path, origin in ((tiny_gguf, "llama.cpp"), (odd, "formula")):
        config = write_config(tmp_path / origin, path)
        (listed,) = json.loads(run("models", "list", "--json", "--config", config).stdout)
        assert listed["footprint"]["origin"] == origin
        line = run("models", "list", "--config", config).stdout.splitlines()[-1]
        assert ("  ~0.0" in line) == (origin == "formula")


def test_a_broken_chat_template(run: Run, tmp_path: Path, tiny_gguf: Path) -> None:
    """`check` tries the template, and `ask` says whose it is."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes().replace(b"{% for ", b"{% fur "))
    config = write_config(tmp_path / "odd", path)
    said = "tiny: the model's chat template cannot be rendered: Encountered unknown tag 'fur'"
    checked, asked = run("check", "--config", config), run("ask", "--config", config, "hi")
    assert (checked.returncode, asked.returncode) == (2, 2)
    assert f"error: models.{said}" in checked.stderr
    assert f"error: {said}" in asked.stderr


def test_an_unknown_model(run: Run, tiny_config: Path) -> None:
    """An unknown model is refused with the nearest name and the list of what there is."""
    done = run("ask", "--config", tiny_config, "-m", "tinny", "hi")
    assert done.returncode == 2
    assert done.stderr == (
        'error: no model or role "tinny"; there are tiny, code, general, auto\n'
        'hint: did you mean "tiny"?\n'
    )


@pytest.mark.parametrize("stdin", [b"", b"  \n\n"])
def test_an_empty_prompt(run: Run, tiny_config: Path, stdin: bytes) -> None:
    """Nothing asked is an error, not an answer."""
    done = run("ask", "--config", tiny_config, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the prompt is empty\n")


def test_a_prompt_longer_than_the_context(run: Run, tiny_config: Path) -> None:
    """A prompt that does not fit is refused with both numbers."""
    done = run("ask", "--config", tiny_config, "-", stdin=b"x" * 5000)
    assert (done.returncode, done.stdout) == (2, "")
    assert "tokens; the model's context holds 512, and the answer needs" in done.stderr
    assert "hint: shorten the prompt" in done.stderr


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_max_tokens_below_one(run: Run, tiny_config: Path, limit: str) -> None:
    """An answer of no tokens is no answer."""
    done = run("ask", "--config", tiny_config, "--max-tokens", limit, "hi")
    assert done.returncode == 2
    assert done.stderr == f"error: max_tokens must be at least 1, got {limit}\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--temperature", "-1"], "temperature must be from 0 to 5, got -1.0"),
        (["--seed", "-1"], "seed must be from 0 to 4,294,967,294, got -1"),
        (["--timeout", "0"], "the time limit must be more than 0 seconds, got 0.0"),
        (["--temperature", "nan"], "temperature must be from 0 to 5, got nan"),
    ],
)
def test_values_out_of_range(run: Run, tiny_config: Path, options: list[str], said: str) -> None:
    """A value no sampler can mean is refused with its range."""
    done = run("ask", "--config", tiny_config, *options, "hi")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")


def test_stdin_that_is_not_utf8(run: Run, tiny_config: Path) -> None:
    """Bytes that are no UTF-8 are refused with their place and a way out."""
    done = run("ask", "--config", tiny_config, "what is this", stdin=b"caf\xe9 au lait")
    assert done.returncode == 2
    assert done.stderr == (
        "error: stdin is not UTF-8 text: byte 0xe9 at position 3\n"
        "hint: convert it first, for instance with: iconv -f latin1 -t utf-8\n"
    )


def test_stdin_with_nul_characters(run: Run, tiny_config: Path) -> None:
    """A binary file is recognised by its NULs."""
    done = run("ask", "--config", tiny_config, "what is this", stdin=b"ELF\x00\x01")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the prompt holds a NUL character at position 3: ")


def test_an_argument_that_is_not_unicode(run: Run, tiny_config: Path) -> None:
    """A file name's raw bytes on the command line are refused, not mangled."""
    done = run("ask", "--config", tiny_config, "caf\udce9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the prompt is not valid Unicode: U+DCE9 stands alone")


def test_time_that_is_up(run: Run, tiny_config: Path) -> None:
    """`--timeout` ends an answer that takes longer, with the code for 'later'."""
    done = run("ask", "--config", tiny_config, "--timeout", "0.001", "hi")
    assert done.returncode == 75
    assert done.stderr.startswith("error: the time limit of 0.001 s was up")


def test_a_model_that_never_fits(run: Run, tmp_path: Path, tiny_gguf: Path) -> None:
    """A budget too small for the model is told with the numbers, at once, with its own code."""
    config = write_config(tmp_path / "small", tiny_gguf)
    config.write_text(config.read_text() + '[budget]\nram = "16MiB"\nreserve = "1MiB"\n')
    done = run("ask", "--config", config, "hi")
    assert done.returncode == 69
    assert "the budget is 15.0 MiB" in done.stderr
    assert "hint: lower its `context`" in done.stderr


def test_an_unknown_policy(run: Run, tiny_config: Path) -> None:
    """A policy that is not there is refused with the ones that are."""
    done = run("ask", "--config", tiny_config, "--policy", "balance", "hi")
    assert done.returncode == 2
    assert 'no policy "balance" (did you mean "balanced"?)' in done.stderr


def test_unknown_options_and_commands(run: Run) -> None:
    """Usage mistakes exit 2 and show no traceback."""
    for arguments in (["ask", "--modle", "x", "hi"], ["aks", "hi"], ["models"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
