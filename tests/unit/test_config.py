"""Where models.toml and its policy come from, and what they become. Wrong files have cases."""

import re
from dataclasses import fields as fields_of
from pathlib import Path

import pytest

from modelrouter import config
from modelrouter.config import ConfigSource, Percent
from modelrouter.errors import BadModelFile, ConfigError, Problem
from modelrouter.types import Sampling

MODELS = """
version = 1
[models.coder]
path = "coder.gguf"
[roles]
code = ["coder"]
general = ["coder"]
"""
SHIPPED = Path(config.__file__).parent.parent.parent


def write(path: Path, text: str = MODELS) -> Path:
    """Write a file, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def settings_of(tmp_path: Path, text: str) -> config.Settings:
    """Load the shortest sound models.toml with `text` added."""
    return config.load(config.find_config(write(tmp_path / "models.toml", MODELS + text)))


def refusal_of(tmp_path: Path, text: str) -> str:
    """Return what is said of the shortest sound models.toml with `text` added."""
    with pytest.raises(ConfigError) as refused:
        settings_of(tmp_path, text)
    return refused.value.message


def test_the_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place beats the ones after it: --config, the variable, here, the user's, the shipped."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    assert config.find_config() == ConfigSource(SHIPPED / "models.toml", "shipped")
    users = write(tmp_path / "xdg" / "modelrouter" / "models.toml")
    assert config.find_config() == ConfigSource(users, "user folder")
    here = write(tmp_path / "models.toml")
    assert config.find_config() == ConfigSource(here, "current folder")
    named = write(tmp_path / "named.toml")
    monkeypatch.setenv("MODELROUTER_CONFIG", "named.toml")
    assert config.find_config() == ConfigSource(named, "$MODELROUTER_CONFIG")
    asked = write(tmp_path / "asked.toml")
    assert config.find_config(Path("asked.toml")) == ConfigSource(asked, "--config")


def test_a_file_that_was_asked_for_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong --config or $MODELROUTER_CONFIG is an error, even where another file would do."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "models.toml")
    with pytest.raises(ConfigError) as refused:
        config.find_config(Path("other.toml"))
    assert refused.value.message == f"--config: there is no file {tmp_path}/other.toml"
    monkeypatch.setenv("MODELROUTER_CONFIG", "~/other.toml")
    with pytest.raises(ConfigError) as refused:
        config.find_config()
    assert refused.value.message == (
        f"$MODELROUTER_CONFIG: there is no file {Path.home()}/other.toml"
    )


def test_an_empty_variable_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MODELROUTER_CONFIG= is how a shell unsets it for one command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELROUTER_CONFIG", "")
    here = write(tmp_path / "models.toml")
    assert config.find_config() == ConfigSource(here, "current folder")


def test_policies_beside_models_toml_hide_the_shipped(tmp_path: Path) -> None:
    """A policy of one's own takes the place of the shipped one of its name; the rest stay."""
    source = config.find_config(write(tmp_path / "models.toml"))
    own = write(tmp_path / "policies" / "editor.toml")
    assert config.find_policies(source) == {
        "balanced": SHIPPED / "policies" / "balanced.toml",
        "editor": own,
        "quality": SHIPPED / "policies" / "quality.toml",
        "small-only": SHIPPED / "policies" / "small-only.toml",
    }
    assert config.find_policy(source, "editor") == own


def test_an_unknown_policy_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """Asking for a policy that is not there names those that are."""
    source = config.find_config(write(tmp_path / "models.toml"))
    with pytest.raises(ConfigError) as refused:
        config.load(source, "qualty")
    assert refused.value.message == (
        'no policy "qualty" (did you mean "quality"?); '
        "there are balanced, editor, quality, small-only"
    )


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    """The shortest models.toml is enough, and its defaults are those that the manual tells."""
    file = settings_of(tmp_path, "").models_file
    assert file.policy == "balanced"
    assert file.budget.model_dump() == {"ram": None, "reserve_bytes": 2**30}
    assert file.server.model_dump() == {
        "host": "127.0.0.1",
        "port": 8012,
        "hosts": (),
        "origins": (),
        "api_keys_file": None,
        "max_body_bytes": 2**24,
        "max_connections": 512,
        "stop_within_seconds": 5.0,
        "max_waiting": 64,
        "max_wait_seconds": None,
    }
    assert file.cache.model_dump() == {"enabled": True, "directory": None, "size_bytes": 2**30}
    assert file.models["coder"].model_dump(exclude={"sampling"}) == {
        "path": "coder.gguf",
        "residency": "mapped",
        "context": None,
        "slots": (1, 1),
        "kv_type": None,
        "drafts": None,
        "threads": None,
        "batch": 512,
        "fim": None,
        "fim_markers": None,
    }
    assert file.models["coder"].sampling.to_sampling() == Sampling()


def test_the_policy_comes_along(tmp_path: Path) -> None:
    """Settings hold the policy that models.toml names, or the one asked for in its place."""
    settings = settings_of(tmp_path, "")
    assert settings.policy_name == "balanced"
    names = [rule.name for rule in settings.policy_file.rules]
    assert names == ["background", "completion", "code", "unsure"]
    other = config.load(settings.source, "small-only")
    assert (other.policy_name, other.policy_path.name) == ("small-only", "small-only.toml")
    assert other.policy_file.otherwise.use == ("code",)


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [
        ("512B", 512),
        ("20 KiB", 20 * 2**10),
        ("1.5GiB", 3 * 2**29),
        ("0.3GB", 300_000_000),
        ("1TiB", 2**40),
        ("7MB", 7_000_000),
    ],
)
def test_sizes_are_read_exactly(tmp_path: Path, size: str, size_bytes: int) -> None:
    """Decimal and binary units mean what their standard says, to the byte."""
    settings = settings_of(tmp_path, f'[budget]\nram = "{size}"\n')
    assert settings.models_file.budget.ram == size_bytes


@pytest.mark.parametrize(
    "size",
    ["48", "GiB", "-1GiB", "1.GiB", "1e3GiB", "48gib", "48  GiB", "1_0GiB", "48GiB ", "\u0664GiB"],
)
def test_what_is_not_quite_a_size_is_refused(tmp_path: Path, size: str) -> None:
    """A size is never guessed at."""
    assert refusal_of(tmp_path, f'[budget]\nreserve = "{size}"\n').endswith(
        f':9: budget.reserve: expected a size like "48GiB", got "{size}"'
    )


def test_ram_may_be_a_share(tmp_path: Path) -> None:
    """A percentage of the machine's memory stays one until the machine is known."""
    settings = settings_of(tmp_path, '[budget]\nram = "12.5%"\n')
    assert settings.models_file.budget.ram == Percent(12.5)
    assert Percent(12.5).of(1001) == 125


@pytest.mark.parametrize("share", ["0%", "0.0%", "100.1%", "-5%", "%", "five%", "1e1%"])
def test_what_is_not_quite_a_share_is_refused(tmp_path: Path, share: str) -> None:
    """A share is a number above 0 and up to 100."""
    assert refusal_of(tmp_path, f'[budget]\nram = "{share}"\n').endswith(
        f':9: budget.ram: expected a share above "0%" and up to "100%", got "{share}"'
    )


def test_sampling_has_the_keys_of_requests() -> None:
    """What a request may set, models.toml may preset: all but the biases of single tokens."""
    settings = [field.name for field in fields_of(Sampling)]
    assert [*config.SamplingTable.model_fields, "logit_bias"] == settings


def test_model_paths(tmp_path: Path) -> None:
    """A path is seen from the file that holds it, ~ is the user's home."""
    settings = settings_of(
        tmp_path,
        '[models.near]\npath = "files/x.gguf"\n'
        '[models.home]\npath = "~/x.gguf"\n'
        '[models.far]\npath = "/srv/x.gguf"\n',
    )
    assert settings.model_path("near") == tmp_path / "files" / "x.gguf"
    assert settings.model_path("home") == Path.home() / "x.gguf"
    assert settings.model_path("far") == Path("/srv/x.gguf")


def test_a_model_inside_a_python_package(tmp_path: Path) -> None:
    """`package:` finds the file beside the package's code, without running any of it."""
    settings = settings_of(tmp_path, '[models.inside]\npath = "package:email/mime/text.py"\n')
    assert settings.model_path("inside").read_text().startswith("#")


@pytest.mark.parametrize("name", ["no_such_package", "this"])
def test_a_package_that_is_not_there(tmp_path: Path, name: str) -> None:
    """A package that is not installed, or a lone module, is refused with the way to install it."""
    settings = settings_of(tmp_path, f'[models.inside]\npath = "package:{name}/x.gguf"\n')
    with pytest.raises(BadModelFile) as refused:
        settings.model_path("inside")
    assert refused.value.message == f"the Python package {name} is not installed"
    assert refused.value.hint == f"pip install {name.replace('_', '-')}"


def test_a_home_folder_of_nobody(tmp_path: Path) -> None:
    """A ~NAME that is no user of this machine is refused, not taken for a folder called so."""
    settings = settings_of(tmp_path, '[models.lost]\npath = "~no-such-user/x.gguf"\n')
    with pytest.raises(ConfigError) as refused:
        settings.model_path("lost")
    assert refused.value.message == '"~no-such-user/x.gguf": there is no such home folder'


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept in the user's cache folder, or in the folder that models.toml names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert settings_of(tmp_path, "").cache_directory() == tmp_path / "caches" / "modelrouter"
    named = settings_of(tmp_path, '[cache]\ndirectory = "answers"\n')
    assert named.cache_directory() == tmp_path / "answers"


def test_all_that_is_shipped_is_sound() -> None:
    """The shipped models.toml fits every shipped policy, with the classifier's own fields."""
    source = ConfigSource(SHIPPED / "models.toml", "shipped")
    assert config.check(source, fields=["code", "general"]) == []
    for name in ("balanced", "editor", "quality", "small-only"):
        policy = config.load(source, name).policy_file
        assert policy.description.strip()


def test_the_commented_models_are_sound_too(tmp_path: Path) -> None:
    """Taking away the comment signs of the shipped examples gives a file that works."""
    shipped = (SHIPPED / "models.toml").read_text()
    opened = re.sub(r"^# (?=\[|[a-z_]+ = )", "", shipped, flags=re.MULTILINE)
    source = config.find_config(write(tmp_path / "models.toml", opened))
    models = config.load(source).models_file.models
    assert list(models) == ["smollm2", "coder", "coder-small", "llama-65b", "llama-70b"]


def test_check_reads_every_policy(tmp_path: Path) -> None:
    """`check` finds mistakes in policies that are not in use, the user's own at least."""
    source = config.find_config(write(tmp_path / "models.toml"))
    own = write(
        tmp_path / "policies" / "mine.toml", 'description = "?"\n[otherwise]\nuse = ["x"]\n'
    )
    assert config.check(source) == [
        Problem(str(own), 2, "otherwise", 'missing key "when_full"'),
        Problem(str(own), 3, "otherwise.use[0]", 'no role or model "x" in models.toml'),
    ]


def test_shipped_policies_may_want_roles_that_one_does_without(tmp_path: Path) -> None:
    """Only the shipped policy that models.toml names is held against its roles and models."""
    text = MODELS.replace("code =", "small =").replace(
        "version = 1", 'version = 1\npolicy = "mine"'
    )
    source = config.find_config(write(tmp_path / "models.toml", text))
    sound = 'description = "All small."\n[otherwise]\nuse = ["small"]\nwhen_full = "wait"\n'
    write(tmp_path / "policies" / "mine.toml", sound)
    assert config.check(source) == []
    write(tmp_path / "models.toml", text.replace("mine", "small-only"))
    assert [(problem.key, problem.message) for problem in config.check(source)] == [
        (
            "otherwise.use[0]",
            'no role or model "code" in models.toml (did you mean "coder"?)',
        )
    ]


def test_check_tells_of_a_models_toml_that_is_no_toml(tmp_path: Path) -> None:
    """A file that cannot be parsed is one problem, with its line."""
    path = write(tmp_path / "models.toml", "version = 1\nmodels = [\n")
    assert [problem.line for problem in config.check(config.find_config(path))] == [2]
