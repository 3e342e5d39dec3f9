"""The registry: what models.toml says against what is true of the files, on real small files.

Nothing is loaded and nothing is started.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelrouter import synthetic
from modelrouter.config import find_config, load
from modelrouter.errors import BadModelFile, ConfigError
from modelrouter.memory.footprint import WORKER_BYTES
from modelrouter.memory.plan import plan
from modelrouter.registry import DEFAULT_CONTEXT_TOKENS, ModelSpec, catalogue
from modelrouter.types import Sampling

MakeSpec = Callable[..., ModelSpec]

MODELS_TOML = """\
version = 1
[models.good]
path = "{good}"
[models.gone]
path = "gone.gguf"
[models.broken]
path = "broken.gguf"
[models.greedy]
path = "{good}"
context = 1_000_000
[roles]
code = ["gone", "good"]
general = ["good"]
"""


def test_defaults_are_filled_in(make_spec: MakeSpec, tiny_gguf: Path) -> None:
    """A model of which only the path is said has a whole spec."""
    spec = make_spec(tiny_gguf)
    assert spec.name == "tiny"
    assert spec.facts.path == tiny_gguf
    assert not spec.is_resident
    assert spec.context_tokens == spec.facts.context_length == DEFAULT_CONTEXT_TOKENS
    assert (spec.slots, spec.batch_rows, spec.kv_type, spec.threads) == (1, 512, "f16", None)
    assert spec.sampling == Sampling()


def test_the_type_of_a_context(make_spec: MakeSpec, tmp_path: Path) -> None:
    """A mapped model whose heads have keys of their own gets q8_0; who says f16 gets f16."""
    path = tmp_path / "wide.gguf"
    synthetic.write(path, synthetic.Geometry(1, 64, 64, 2, 2, 512), "Q8_0")
    assert make_spec(path).kv_type == "q8_0"
    assert make_spec(path, kv_type="f16").kv_type == "f16"
    assert make_spec(path, residency="resident").kv_type == "f16"
    narrow = tmp_path / "narrow.gguf"
    synthetic.write(narrow, synthetic.Geometry(1, 64, 64, 4, 4, 512), "Q8_0")
    assert make_spec(narrow).kv_type == "f16"  # heads of 16 values are no whole blocks of q8_0


def test_what_is_written_is_what_holds(make_spec: MakeSpec, tiny_gguf: Path) -> None:
    """Each setting of the file arrives in the spec."""
    spec = make_spec(
        tiny_gguf,
        residency="resident",
        context=1024,
        slots=3,
        batch=64,
        kv_type="q8_0",
        threads=2,
        **{"sampling.temperature": 0, "sampling.seed": 7},
    )
    assert spec.is_resident
    assert (spec.context_tokens, spec.slots, spec.batch_rows) == (1024, 3, 64)
    assert (spec.kv_type, spec.threads) == ("q8_0", 2)
    assert spec.sampling == Sampling(temperature=0, seed=7)


def test_a_pass_has_a_row_for_every_slot(make_spec: MakeSpec, tiny_gguf: Path) -> None:
    """More slots than `batch` would leave some without a row: a mistake, with its numbers."""
    with pytest.raises(ConfigError) as refusal:
        make_spec(tiny_gguf, slots=64, batch=32)
    assert refusal.value.message == (
        "models.tiny.batch is 32 tokens; with 64 slots, a step decodes up to 64"
    )
    assert make_spec(tiny_gguf, slots=64, batch=64).batch_rows == 64


LADDER_TOML = """\
version = 1
[models.wide]
path = "{good}"
context = [512, 2000]
slots = [1, 3]
[roles]
code = ["wide"]
general = ["wide"]
"""


def test_a_range_is_a_ladder_of_specs(tmp_path: Path, tiny_gguf: Path) -> None:
    """The widest first; then fewer slots, then shorter contexts, each half of the one before."""
    file = tmp_path / "models.toml"
    file.write_text(LADDER_TOML.format(good=tiny_gguf))
    ladder = catalogue(load(find_config(file))).ladders["wide"]
    rungs = [(spec.context_tokens, spec.slots) for spec in ladder]
    assert rungs == [(2000, 3), (2000, 1), (1000, 1), (512, 1)]
    assert [spec.is_narrowed for spec in ladder] == [False, True, True, True]
    sizes = [spec.footprint.total_bytes for spec in ladder]
    assert sizes == sorted(sizes, reverse=True)


def test_a_model_runs_with_the_widest_spec_that_fits(tmp_path: Path, tiny_gguf: Path) -> None:
    """What never fits keeps its narrowest, whose need is the least there is to say."""
    file = tmp_path / "models.toml"
    file.write_text(LADDER_TOML.format(good=tiny_gguf))
    found = catalogue(load(find_config(file)))
    ladder = found.ladders["wide"]
    assert found.specs["wide"] is ladder[0]
    for spec in ladder:
        roomy = found.allotted(plan(spec.charged_bytes, found.wishes))
        assert roomy.specs["wide"] is spec
    tight = found.allotted(plan(ladder[-1].charged_bytes - 1, found.wishes))
    assert tight.specs["wide"] is ladder[-1]


@pytest.mark.parametrize(
    ("settings", "logit_rows"),
    [
        ({}, 16),
        ({"residency": "resident"}, 1),
        ({"residency": "resident", "drafts": "prompt-lookup"}, 16),
        ({"drafts": "off"}, 1),
    ],
)
def test_mapped_models_draft(
    make_spec: MakeSpec, tiny_gguf: Path, settings: dict[str, str], logit_rows: int
) -> None:
    """Their passes cost the same with a few rows more; of the others only those that are told to.
    The logits of those rows are charged.
    """
    spec = make_spec(tiny_gguf, slots=2, **settings)
    assert spec.logit_rows == logit_rows
    assert spec.footprint.output_bytes == 4 * 2 * logit_rows * spec.facts.vocab_size


def test_a_model_that_cannot_go_back_does_not_draft(make_spec: MakeSpec, tmp_path: Path) -> None:
    """With a sliding window it does not by default, and is refused where it is told to."""
    path = tmp_path / "window.gguf"
    synthetic.write(path, synthetic.Geometry(6, 64, 128, 2, 1, 4096, sliding_window=64), "Q8_0")
    assert make_spec(path).logit_rows == 1
    with pytest.raises(ConfigError) as caught:
        make_spec(path, drafts="prompt-lookup")
    assert caught.value.message == (
        "models.tiny.drafts is 'prompt-lookup'; the model has a sliding window and cannot take "
        "back drafts that were wrong"
    )
    assert caught.value.hint == "leave drafts out"


def test_the_weights_of_a_mapped_model_are_not_charged(
    make_spec: MakeSpec, tiny_gguf: Path
) -> None:
    """They lie in the page cache; a resident model's are its own."""
    mapped = make_spec(tiny_gguf, drafts="off").footprint
    resident = make_spec(tiny_gguf, residency="resident").footprint
    assert resident.total_bytes == mapped.total_bytes + mapped.mapped_bytes
    assert (mapped.weights_bytes, resident.mapped_bytes) == (0, 0)
    assert resident.weights_bytes == mapped.mapped_bytes > 0
    assert mapped.total_bytes > WORKER_BYTES


def test_identity_changes_with_whatever_changes_answers(
    make_spec: MakeSpec, tiny_gguf: Path
) -> None:
    """File, KV type, context and residency are in it; names, slots and threads are not."""
    spec = make_spec(tiny_gguf)
    others = [
        replace(spec, facts=replace(spec.facts, fingerprint="0" * 32)),
        replace(spec, kv_type="q8_0"),
        replace(spec, context_tokens=512),
        replace(spec, is_resident=True),
    ]
    assert len({each.identity for each in (spec, *others)}) == 5
    same = replace(spec, name="other", slots=4, threads=8, sampling=Sampling(temperature=0))
    assert same.identity == spec.identity


def test_the_chat_format_is_the_files(make_spec: MakeSpec, tiny_gguf: Path) -> None:
    """Template and control tokens come from the header; a model without a template has none."""
    spec = make_spec(tiny_gguf)
    assert spec.chat is not None
    assert spec.chat.template == spec.facts.chat_template
    assert spec.chat.control_tokens == spec.facts.control_tokens
    mute = replace(spec, facts=replace(spec.facts, chat_template=None))
    assert mute.chat is None


def test_texts_that_a_file_does_not_have_are_empty(make_spec: MakeSpec, tiny_gguf: Path) -> None:
    """A template may name the begin and the end of text of a model that has neither."""
    spec = make_spec(tiny_gguf)
    bare = replace(spec, facts=replace(spec.facts, bos_text=None, eos_text=None))
    assert bare.chat is not None
    assert (bare.chat.begin_text, bare.chat.end_text) == ("", "")


def test_an_unusable_model_stays_with_its_reason(tmp_path: Path, tiny_gguf: Path) -> None:
    """Missing, broken or asked for too much: the others work, and the catalogue says why not."""
    file = tmp_path / "models.toml"
    file.write_text(MODELS_TOML.format(good=tiny_gguf))
    (tmp_path / "broken.gguf").write_bytes(b"no model")
    models = catalogue(load(find_config(file)))
    assert list(models.specs) == ["good"]
    assert {name: type(error) for name, error in models.unusable.items()} == {
        "gone": BadModelFile,
        "broken": BadModelFile,
        "greedy": ConfigError,
    }
    assert models.roles == {"code": ("gone", "good"), "general": ("good",)}
    assert models.reasons["good"] is None
    assert models.reasons["greedy"] == (
        "models.greedy.context is 1,000,000 tokens; the model was trained with 4,096"
    )
    assert str(tmp_path / "gone.gguf") in (models.reasons["gone"] or "")


def test_the_starter_model_is_usable(make_spec: MakeSpec, starter_gguf: Path) -> None:
    """A real model's header fills a spec: it can chat, and its context is bounded by default."""
    spec = make_spec(starter_gguf)
    assert spec.chat is not None
    assert spec.facts.context_length == 8192
    assert spec.context_tokens == DEFAULT_CONTEXT_TOKENS


@pytest.mark.parametrize("kind", ["mmproj", "adapter"])
def test_a_file_that_is_no_language_model_is_refused(
    kind: str, tmp_path: Path, make_spec: MakeSpec
) -> None:
    """A projector or an adapter is named for what it is."""
    path = tmp_path / "part.gguf"
    path.write_bytes(_gguf_of_kind(kind))
    with pytest.raises(BadModelFile) as refusal:
        make_spec(path)
    assert refusal.value.message == f"{path}: is a {kind}: it cannot answer prompts"
    assert refusal.value.hint == "name the GGUF file of the language model itself"


def _gguf_of_kind(kind: str) -> bytes:
    """Return a GGUF file without tensors that says what it is."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    entries = {"general.architecture": "llama", "general.type": kind}
    body = b"".join(
        text(key) + (8).to_bytes(4, "little") + text(value) for key, value in entries.items()
    )
    counts = (0).to_bytes(8, "little") + len(entries).to_bytes(8, "little")
    return b"GGUF" + (3).to_bytes(4, "little") + counts + body
