"""Which family a file is of: told by its keys, by its vocabulary's texts, or by models.toml.

The files have a vocabulary and no weights.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from gguf_bytes import vocabulary_file

from modelrouter.errors import ConfigError
from modelrouter.gguf import read_facts
from modelrouter.gguf.fim import BY_NAME, FAMILIES, WORD_BEGIN, Family
from modelrouter.gguf.fim_format import UNNAMED, FimFormat, detected
from modelrouter.registry import ModelSpec

FIRST_ID = 256  # the vocabulary's byte tokens come first


def found_in(path: Path, name: str = "") -> FimFormat | None:
    """Return the format that the file's facts speak for."""
    facts = read_facts(path)
    return detected(facts.fim, facts.special_ids, facts.name or name)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_is_known_by_its_vocabulary(family: Family, tmp_path: Path) -> None:
    """Its markers and its ends, all of them, end an answer; nothing else does."""
    texts = list(dict.fromkeys((*family.markers, *family.ends)))
    path = vocabulary_file(tmp_path / "a.gguf", ["<other>", *texts], {})
    ends = tuple(range(FIRST_ID + 1, FIRST_ID + 1 + len(texts)))
    assert found_in(path, name="Codestral 22B") == FimFormat(family, ends)


def test_a_marker_of_files_tells_families_apart(tmp_path: Path) -> None:
    """Where it is missing, the family that has none is the nearest; a part more is no harm."""
    parts = list(BY_NAME["granite-4"].parts)
    for texts, name in (
        (parts, "granite-4"),
        ([*parts, "<|file_sep|>", "<|repo_name|>"], "qwen2.5-coder"),
        ([*parts, "<|file_separator|>"], "codegemma"),
    ):
        found = found_in(vocabulary_file(tmp_path / "a.gguf", texts, {}))
        assert found is not None
        assert found.family.name == name


def test_a_sentencepiece_vocabulary_spells_the_blank(tmp_path: Path) -> None:
    """CodeLlama's markers are words of their own there, and are written so in the prompt."""
    texts = [WORD_BEGIN + text for text in ("<PRE>", "<MID>", "<SUF>", "<EOT>")]
    found = found_in(vocabulary_file(tmp_path / "a.gguf", texts, {}))
    assert found is not None
    assert found.family.parts == ("▁<PRE>", "▁<SUF>", "▁<MID>")
    assert found.end_ids == (256, 257, 258, 259)


def test_markers_alone_do_not_make_a_codestral(tmp_path: Path) -> None:
    """Its siblings have the same tokens in their vocabulary and were not trained on them."""
    path = vocabulary_file(tmp_path / "a.gguf", ["[PREFIX]", "[SUFFIX]"], {})
    assert found_in(path, name="Mistral 7B") is None
    assert found_in(path, name="Codestral-22B-v0.1") is not None
    keys = {"tokenizer.ggml.prefix_token_id": 256, "tokenizer.ggml.suffix_token_id": 257}
    by_key = found_in(vocabulary_file(tmp_path / "b.gguf", ["[PREFIX]", "[SUFFIX]"], keys))
    assert by_key is not None
    assert by_key.family.name == "codestral"


def test_keys_name_markers_of_no_known_family(tmp_path: Path) -> None:
    """They are believed; the order is the usual one."""
    keys = {f"tokenizer.ggml.fim_{part}_token_id": 256 + n for n, part in enumerate(PARTS)}
    path = vocabulary_file(tmp_path / "a.gguf", ["<a>", "<b>", "<c>", "<d>", "<e>"], keys)
    family = Family(UNNAMED, "<a>", "<b>", "<c>", repository="<d>", file="<e>")
    assert found_in(path) == FimFormat(family, (256, 257, 258, 259, 260))


PARTS = ("pre", "suf", "mid", "rep", "sep")


def test_a_vocabulary_without_markers(tmp_path: Path) -> None:
    """A lone one is none."""
    assert found_in(vocabulary_file(tmp_path / "a.gguf", ["<|fim_prefix|>"], {})) is None
    assert found_in(vocabulary_file(tmp_path / "b.gguf", [], {}), name="codestral") is None


def test_models_toml_beats_the_file(make_spec: Callable[..., ModelSpec], tiny_gguf: Path) -> None:
    """A family by name, "none", or markers of one's own; what the vocabulary lacks is refused."""
    assert make_spec(tiny_gguf).fim.family == BY_NAME["qwen2.5-coder"]
    assert make_spec(tiny_gguf, fim="none").fim is None
    assert make_spec(tiny_gguf, fim="granite-4").fim.family == BY_NAME["granite-4"]
    markers = {
        "fim_markers.prefix": "<|im_start|>",
        "fim_markers.suffix": "<|im_end|>",
        "fim_markers.order": "suffix-first",
    }
    own = make_spec(tiny_gguf, **markers).fim.family
    assert (own.name, own.parts) == ("models.toml", ("<|im_start|>", "<|im_end|>"))
    assert own.order == "suffix-first"
    with pytest.raises(ConfigError, match=r"has not all of the tokens <fim_prefix>, <fim_suffix>"):
        make_spec(tiny_gguf, fim="starcoder2")
    with pytest.raises(ConfigError, match=r'fim: no such family \(did you mean "codegemma"\?\)'):
        make_spec(tiny_gguf, fim="codegema")
    with pytest.raises(ConfigError, match="give one of them"):
        make_spec(tiny_gguf, fim="none", **markers)
