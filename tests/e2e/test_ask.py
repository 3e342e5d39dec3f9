"""`modelrouter ask` and `route` as a person uses them."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import psutil
from program import PROGRAM, Run, Serve, write_config

QUESTION = "Write a Python function that reverses a linked list"


def test_ask_answers_with_the_starter_model_and_says_why(run: Run) -> None:
    """On a fresh machine the shipped models.toml answers; stderr says which model and why."""
    done = run("ask", QUESTION, "--max-tokens", "24", "--temperature", "0")
    assert done.returncode == 0
    assert "class Node" in done.stdout
    assert done.stdout.endswith("\n")
    field, rule, model, tokens, limit = done.stderr.strip().split(" · ")
    assert field.startswith("code ")
    assert (rule, model, limit) == ('rule "code"', "smollm2", "cut off at the limit")
    assert tokens.startswith("24 tokens, ")


def test_json_is_one_object_with_everything(run: Run, tiny_config: Path) -> None:
    """`--json` prints text, model, role, cache, usage and trace as one object."""
    done = run("ask", "--config", tiny_config, "--json", "--max-tokens", "5", "reverse a list")
    answer = json.loads(done.stdout)
    assert {"text", "model", "role", "cache", "usage", "trace"} <= answer.keys()
    assert answer["model"] == "tiny"
    assert answer["usage"]["completion_tokens"] <= 5
    steps = [step["step"] for step in answer["trace"]]
    assert steps[:3] == ["classify", "decide", "lease"]
    assert steps[-1] == "done"
    assert done.stderr == ""


def test_text_piped_in_comes_before_the_words(run: Run, tiny_config: Path) -> None:
    """`cat f.py | modelrouter ask explain` asks about the file."""
    piped = run("route", "--config", tiny_config, "--json", "explain", stdin=b"def f():\n  pass\n")
    alone = run("route", "--config", tiny_config, "--json", "explain")
    dash = run("route", "--config", tiny_config, "--json", "-", stdin=b"def f():\n  pass\n")
    features = [
        {feature["text"] for feature in json.loads(done.stdout)["features"]}
        for done in (piped, alone, dash)
    ]
    assert "explain" in features[0] & features[1]
    assert features[0] != features[1]
    assert "explain" not in features[2]


def test_a_seed_makes_the_answer_repeatable_and_the_second_comes_from_the_cache(
    run: Run, tiny_config: Path
) -> None:
    """The same question with the same seed is answered once; another seed is another question."""
    asked = ("ask", "--config", tiny_config, "--json", "--max-tokens", "9", "hello", "--seed")
    first, again, other, fresh = (
        json.loads(run(*asked, *more).stdout) for more in (["7"], ["7"], ["8"], ["7", "--no-cache"])
    )
    assert [answer["cache"] for answer in (first, again, other, fresh)] == [
        "miss",
        "hit",
        "miss",
        "bypass",
    ]
    assert first["text"] == again["text"] == fresh["text"]
    assert other["text"] != first["text"]
    assert "lease" not in [step["step"] for step in again["trace"]]


def test_streamed_and_unstreamed_answers_are_the_same_text(run: Run, tiny_config: Path) -> None:
    """`--no-stream` prints at the end what streaming prints as it comes."""
    asked = ("ask", "--config", tiny_config, "--max-tokens", "20", "--temperature", "0", "hi")
    assert run(*asked, "--no-cache").stdout == run(*asked, "--no-cache", "--no-stream").stdout


def test_verbose_prints_every_step(run: Run, tiny_config: Path) -> None:
    """`-v` says where the answer comes from and prints the trace, to stderr."""
    done = run("ask", "--config", tiny_config, "-v", "--max-tokens", "3", "hi")
    assert done.stderr.startswith(f"no server runs for {tiny_config}; answering in this process\n")
    for step in ("classify", "decide", "lease", "done"):
        assert f" ms  {step}  " in done.stderr


def test_route_explains_without_loading_anything(run: Run, tiny_config: Path) -> None:
    """`route --json` has field, confidence, scores, features, rule, policy, candidates, time."""
    done = run("route", "--config", tiny_config, "--json", QUESTION)
    route = json.loads(done.stdout)
    wanted = "field confidence scores features rule policy candidates elapsed_ms"
    assert set(wanted.split()) <= route.keys()
    assert (route["field"], route["rule"], route["policy"]) == ("code", "code", "balanced")
    assert route["candidates"][0]["state"] == "unloaded"
    assert 'rule      "code" of balanced' in run("route", "--config", tiny_config, QUESTION).stdout


def test_a_model_or_role_by_name_beats_the_policy(run: Run, tiny_config: Path) -> None:
    """`-m` names a model or a role, and the rule says so."""
    for name, rule in (("tiny", "model"), ("general", "role")):
        done = run("route", "--config", tiny_config, "--json", "-m", name, QUESTION)
        assert json.loads(done.stdout)["rule"] == rule


def test_ask_uses_the_server_that_runs(run: Run, serve: Serve, tiny_config: Path) -> None:
    """With a server for the same models.toml, `ask` and `route` ask it and start no worker."""
    server = serve(tiny_config)
    done = run("ask", "--config", tiny_config, "-v", "--max-tokens", "4", "--seed", "3", "hi")
    assert done.stderr.startswith(f"asking the server at {server.url}\n")
    assert done.returncode == 0
    assert 'rule "' in done.stderr
    assert len(server.workers()) == 1
    route = json.loads(run("route", "--config", tiny_config, "--json", "hi").stdout)
    assert route["candidates"][0]["state"] == "ready"
    here = run(
        "ask", "--config", tiny_config, "--policy", "quality", "-v", "--max-tokens", "4", "x"
    )
    assert here.stderr.startswith("no server runs for")


def test_a_server_that_is_gone_is_not_waited_for(run: Run, serve: Serve, tiny_config: Path) -> None:
    """A note left by a killed server misleads nobody."""
    server = serve(tiny_config)
    server.process.kill()
    server.process.wait()
    done = run("ask", "--config", tiny_config, "-v", "--max-tokens", "4", "hi")
    assert done.returncode == 0
    assert done.stderr.startswith("no server runs for")


def test_ctrl_c_stops_the_work_and_exits_130(starter_gguf: Path, tmp_path: Path) -> None:
    """Ctrl-C in a terminal ends the answer, and the worker with it."""
    config = write_config(tmp_path / "starter", starter_gguf, 'residency = "resident"')
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "ask", "--config", config, "Count to one thousand, in words"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stdout is not None
    assert process.stdout.read(1)  # the answer has begun
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert not psutil.wait_procs(workers, timeout=10)[1]


def test_a_reader_that_leaves_ends_the_work_quietly(tiny_config: Path) -> None:
    """`modelrouter ask ... | head -c 1` ends without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [*PROGRAM, "ask", "--config", tiny_config, "hi"],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=50,
    )
    os.close(writer)
    assert process.returncode == 1
    assert process.stderr == b""
