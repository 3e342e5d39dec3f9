"""The stage of a rehearsal: refused before anything of size is written, and gone in the end."""

import fcntl
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelrouter.app import App
from modelrouter.config import ConfigSource, find_config
from modelrouter.errors import CapacityError, NeverFits, RequestError
from modelrouter.generation import Done, Generation, Piece
from modelrouter.rehearsal.stage import (
    LOCK_FILE,
    MODEL_FILE,
    PREFIX,
    Part,
    own_app,
    refuse_small_disk,
    staged,
)
from modelrouter.types import Sampling

ENDLESS = Sampling(temperature=0, frequency_penalty=-2, presence_penalty=-2)
TINY = Part("tiny", "Q8_0")

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
[roles]
code = ["small"]
general = ["small"]
"""


def source_with(folder: Path, model: Path, ram: str = "1GiB") -> ConfigSource:
    """Return a models.toml with one resident model."""
    file = folder / "models.toml"
    file.write_text(MODELS_TOML.format(ram=ram, model=model))
    return find_config(file)


@pytest.fixture
def source(tmp_path: Path, tiny_gguf: Path) -> ConfigSource:
    """A box with a gigabyte."""
    return source_with(tmp_path, tiny_gguf)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where files are to be written; it is not there yet."""
    return tmp_path / "space"


def files_in(folder: Path) -> list[Path]:
    """Return all there is in the folder."""
    return sorted(folder.rglob("*"))


def test_the_part_joins_the_models_of_the_box(source: ConfigSource, folder: Path) -> None:
    """It is planned beside them like an entry of models.toml; in the end nothing is left."""
    with staged(TINY, source, folder) as stage:
        told: list[tuple[int, int]] = []
        app = stage.write(lambda done, total: told.append((done, total)))
        app.results.close()
        assert list(app.catalogue.specs) == ["small", "tiny (Q8_0)"]
        spec = app.catalogue.specs["tiny (Q8_0)"]
        assert (spec.slots, spec.context_tokens, spec.is_resident) == (4, 1024, False)
        assert spec.facts.path.stat().st_size == stage.n_bytes
        assert told[-1] == (stage.n_bytes, stage.n_bytes)
        assert app.scheduler.never_fits("tiny (Q8_0)") is None
    assert files_in(folder) == []


async def drafted_tokens(app: App, model: str) -> int:
    """Have the model say one word again and again; return how many tokens were drafted."""
    async with app, app.scheduler.lease(model) as lease:
        answer = lease.generate(Generation((Piece("hello", special=False),), ENDLESS, 64))
        *_, done = [event async for event in answer]
        assert isinstance(done, Done)
        return done.usage.drafted_tokens


async def test_each_token_is_a_pass(tmp_path: Path, tiny_gguf: Path, folder: Path) -> None:
    """Also of a mapped model that says the same again and again, which drafts elsewhere."""
    source = source_with(tmp_path, tiny_gguf)
    source.path.write_text(source.path.read_text().replace('"resident"', '"mapped"'))
    assert await drafted_tokens(App.open(source), "small") > 0
    assert await drafted_tokens(own_app(source), "small") == 0
    with staged(TINY, source, folder) as stage:
        app = stage.write(lambda _done, _total: None)
        assert await drafted_tokens(app, TINY.model) == 0


def test_the_same_part_is_the_same_model_each_time(source: ConfigSource, folder: Path) -> None:
    """What is kept of models (footprints, rates) is kept of it once."""
    fingerprints = set()
    for _ in range(2):
        with staged(TINY, source, folder) as stage:
            app = stage.write(lambda _done, _total: None)
            app.results.close()
            fingerprints.add(app.catalogue.specs["tiny (Q8_0)"].facts.fingerprint)
    assert len(fingerprints) == 1


def test_what_can_never_run_is_refused_before_it_is_written(
    tmp_path: Path, tiny_gguf: Path, folder: Path
) -> None:
    """With the numbers: what it needs at the least, of what, and what there is."""
    source = source_with(tmp_path, tiny_gguf, "300MiB")
    with (
        pytest.raises(
            NeverFits, match=r"llama-65b \(Q4_K\) needs [\d.]+ GiB; the budget is "
        ) as no,
        staged(Part("llama-65b", "Q4_K"), source, folder),
    ):
        pass
    assert "resident models have" in no.value.message
    assert "MiB to read through" in no.value.message
    assert "for a context of 256 tokens" in no.value.message
    assert files_in(folder) == []


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    """What the file takes, what is free, and what would help."""
    with pytest.raises(
        CapacityError,
        match=r"the file would take 1073741824\.00 GiB, and the disk of "
        r".* has [\d.]+ GiB free",
    ) as full:
        refuse_small_disk(tmp_path, 2**60)
    assert "name a folder on another disk (--folder)" in str(full.value.hint)


@contextmanager
def files_bounded_to(n_bytes: int) -> Iterator[None]:
    """Have the kernel refuse longer files, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up(source: ConfigSource, folder: Path) -> None:
    """Somebody else takes the space while the file is written: an error, and nothing is left."""
    with staged(TINY, source, folder) as stage:
        half = stage.n_bytes // 2
        with (
            files_bounded_to(half),
            pytest.raises(
                CapacityError, match=f"File too large, after {half:,} of {stage.n_bytes:,}"
            ),
        ):
            stage.write(lambda _done, _total: None)
        assert [path.name for path in files_in(folder)][1:] == [LOCK_FILE, MODEL_FILE]  # the hollow
    assert files_in(folder) == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part("llama-66b", "Q4_K"), 'there is no geometry "llama-66b"'),
        (Part("llama-65b", "Q4_K_M"), "there is no quantization 'Q4_K_M'"),
        (Part("qwen2.5-0.5b", "Q4_K"), "Q4_K packs 256 weights of a row together"),
    ],
)
def test_a_part_that_is_none(part: Part, said: str, source: ConfigSource, folder: Path) -> None:
    """It is refused with the names that there are."""
    with pytest.raises(RequestError, match=said), staged(part, source, folder):
        pass
    assert files_in(folder) == []


def test_a_folder_that_cannot_be_written(source: ConfigSource, tmp_path: Path) -> None:
    """It is named, with the system's reason."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(RequestError, match=r"nothing can be written into .*/file/below: Not a dir"),
        staged(TINY, source, tmp_path / "file" / "below"),
    ):
        pass


def test_what_a_killed_rehearsal_left_goes_at_the_next(source: ConfigSource, folder: Path) -> None:
    """A folder whose lock nobody holds; one at work, and what else lies there, stay."""
    for name in ("killed", "at-work"):
        (folder / f"{PREFIX}{name}").mkdir(parents=True)
        (folder / f"{PREFIX}{name}" / LOCK_FILE).touch()
        (folder / f"{PREFIX}{name}" / MODEL_FILE).write_bytes(b"gigabytes")
    (folder / "a user's").touch()
    with (folder / f"{PREFIX}at-work" / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with staged(TINY, source, folder):
            pass
        left = [path.name for path in files_in(folder)]
    assert left == ["a user's", f"{PREFIX}at-work", LOCK_FILE, MODEL_FILE]
