"""The errors: one class for each thing that goes wrong, known everywhere it must be.

It knows no part that raises them.
"""

import copy
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import modelrouter
from modelrouter import errors
from modelrouter.errors import (
    BadModelFile,
    ConfigError,
    ModelRouterError,
    Problem,
    all_errors,
    did_you_mean,
)

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def every_error() -> list[type[ModelRouterError]]:
    """Return all classes of the tree, those that other modules add to it included."""
    for module in pkgutil.walk_packages(modelrouter.__path__, "modelrouter."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return all_errors()


ERRORS = every_error()


def drawn_tree() -> dict[str, tuple[str | None, str, str]]:
    """Read (parent, exit code, HTTP status) of each class from the docstring's drawing."""
    found: dict[str, tuple[str | None, str, str]] = {}
    parent: str | None = None
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.match(r"([│ ]*)[├└]── (\w+)", line)
        if drawn is None:
            continue
        is_leaf = bool(drawn[1])
        _, exit_code, http = found.get(parent or "", (None, "", "")) if is_leaf else (None, "", "")
        exit_code = (re.findall(r"exit (\d+)", line) or [exit_code])[0]
        http = (re.findall(r"(\d{3})$", line) or [http])[0]
        found[drawn[2]] = (parent if is_leaf else None, exit_code, http)
        parent = parent if is_leaf else drawn[2]
    return found


def test_every_class_has_a_code_of_its_own() -> None:
    """A code names one class: surfaces and scripts can rely on it."""
    assert all("code" in vars(error) for error in ERRORS)
    codes = [error.code for error in ERRORS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every class of errors.py is drawn under its parent with its exit code and HTTP status."""
    own = [error for error in ERRORS if error.__module__ == errors.__name__]
    parents = {e: e.__bases__[0].__name__ for e in own if e.__bases__[0] is not ModelRouterError}
    assert drawn_tree() == {
        error.__name__: (parents.get(error), str(error.exit_code), str(error.http_status))
        for error in own
    }


@pytest.mark.parametrize("error", ERRORS)
def test_the_page_of_errors_has_a_row_for(error: type[ModelRouterError]) -> None:
    """docs/errors.md shows each code with its class, exit code and HTTP status as they are."""
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line[:1] == "|"]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    name, _, exit_code, http, example = cells[f"`{error.code}`"]
    assert (name, exit_code, http) == (error.__name__, str(error.exit_code), str(error.http_status))
    assert example


@pytest.mark.parametrize("error", ERRORS)
def test_a_copy_says_the_same(error: type[ModelRouterError]) -> None:
    """Each of many who are told the same gets a copy of their own, with nothing lost."""
    original = error("what happened", hint="what would help")
    twin = copy.copy(original)
    assert type(twin) is error
    assert (str(twin), twin.message, twin.hint) == ("what happened",) * 2 + ("what would help",)
    assert twin is not original


def test_a_copy_keeps_the_problems() -> None:
    """A ConfigError's list travels with it."""
    problem = Problem("models.toml", 3, "budget.ram", "too much")
    assert copy.copy(BadModelFile("bad", problems=[problem])).problems == (problem,)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("models.toml", 3, "budget.ram", "too much"),
            "models.toml:3: budget.ram: too much",
        ),
        (Problem("models.toml", None, "models", "missing"), "models.toml: models: missing"),
        (Problem("models.toml", 1, "", "not TOML"), "models.toml:1: not TOML"),
    ],
)
def test_a_problem_reads_like_a_compilers(problem: Problem, text: str) -> None:
    """File, line and key, as far as they are known, then what is wrong."""
    assert str(problem) == text


def test_a_fresh_error_has_no_trace_yet() -> None:
    """The router fills it in; a ConfigError without problems has an empty list."""
    error = ConfigError("no")
    assert (error.trace, error.problems, error.hint) == (None, (), None)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("codr", 'did you mean "coder"?'), ("llama", 'did you mean "llama-65b"?'), ("zzz", None)],
)
def test_did_you_mean_names_what_is_near(name: str, hint: str | None) -> None:
    """One near name, or none rather than a far one."""
    assert did_you_mean(name, ["coder", "llama-65b", "smollm2"]) == hint
