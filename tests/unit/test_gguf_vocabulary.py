"""Special tokens and the tokenizer's habits are found where llama.cpp finds them."""

import struct
from pathlib import Path

import llama_cpp
import pytest
from gguf_bytes import (
    ARRAY,
    FLOAT32,
    I32,
    STRING,
    U32,
    key,
    llama_model,
    packed_file,
    packed_geometry,
    strings,
    text,
    vocabulary_file,
)

from modelrouter.gguf import FimTokens, read_facts
from modelrouter.gguf.vocabulary import END_TEXTS, FIM_TEXTS, PRES_ADDING_BOS
from modelrouter.synthetic import vocabulary


@pytest.mark.parametrize("spelling", range(8))
def test_fim_tokens_by_text(spelling: int, tmp_path: Path) -> None:
    """The families whose markers llama.cpp knows by their text have the same ids here."""
    texts = [known[min(spelling, len(known) - 1)] for known in FIM_TEXTS.values()]
    path = vocabulary_file(tmp_path / "fim.gguf", texts, {})
    assert read_facts(path).fim == llama_fim(path) == FimTokens(256, 257, 258, 259, 260, 261)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"fim_pre": 0, "fim_suf": 5}, FimTokens(pre=0, suf=5)),
        ({"prefix": 7, "suffix": 8, "middle": 9}, FimTokens(pre=7, suf=8, mid=9)),
        ({"fim_pre": 1, "prefix": 2, "fim_suf": 3, "fim_pad": 4}, FimTokens(pre=2, suf=3, pad=4)),
        ({"fim_pre": 1, "fim_suf": 2**32 - 1}, None),
        ({"fim_rep": 1, "fim_sep": 2, "fim_mid": 3}, None),
    ],
)
def test_fim_tokens_by_key(
    keys: dict[str, int], expected: FimTokens | None, tmp_path: Path
) -> None:
    """Keys name the tokens, the older spelling first, and a prefix without suffix is no FIM."""
    path = vocabulary_file(
        tmp_path / "fim.gguf", [], {f"tokenizer.ggml.{k}_token_id": v for k, v in keys.items()}
    )
    assert read_facts(path).fim == expected
    if expected:
        assert llama_fim(path) == expected


def test_fim_key_beats_text(tmp_path: Path) -> None:
    """Where a key and a token's text disagree, the key is believed; texts fill the gaps."""
    texts = ["<|fim_prefix|>", "<|fim_suffix|>", "<|file_sep|>"]
    keys = {"tokenizer.ggml.fim_pre_token_id": 3, "tokenizer.ggml.fim_suf_token_id": 2**32 - 1}
    path = vocabulary_file(tmp_path / "fim.gguf", texts, keys)
    assert read_facts(path).fim == llama_fim(path) == FimTokens(pre=3, suf=257, sep=258)


def llama_fim(path: Path) -> FimTokens:
    """Return the ids that llama.cpp finds."""
    with llama_model(path, vocab_only=True) as model:
        tokens = llama_cpp.llama_model_get_vocab(model)
        asked = (getattr(llama_cpp, f"llama_vocab_fim_{part}")(tokens) for part in FIM_TEXTS)
        return FimTokens(*(None if token == -1 else token for token in asked))


@pytest.mark.parametrize("pre", [*sorted(PRES_ADDING_BOS), "default", "gpt-2", "qwen2", "smollm"])
def test_adds_bos_by_default(pre: str, tmp_path: Path) -> None:
    """Where no key says so, BOS is added to exactly the tokenizers to which llama.cpp adds it."""
    path = vocabulary_file(tmp_path / "bos.gguf", [], {"tokenizer.ggml.pre": pre})
    assert read_facts(path).adds_bos == llama_adds_bos(path) == (pre in PRES_ADDING_BOS)


@pytest.mark.parametrize("said", [True, False])
def test_adds_bos_by_key(said: bool, tmp_path: Path) -> None:  # noqa: FBT001 - pytest gives it so
    """The file's own word on BOS beats what its tokenizer would do."""
    keys: dict[str, str | bool] = {
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.add_bos_token": said,
    }
    path = vocabulary_file(tmp_path / "bos.gguf", [], keys)
    assert read_facts(path).adds_bos == llama_adds_bos(path) == said


def llama_adds_bos(path: Path) -> bool:
    """Return whether llama.cpp would add BOS."""
    with llama_model(path, vocab_only=True) as model:
        return bool(llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(model)))


def test_no_tokenizer(tmp_path: Path) -> None:
    """A file without a tokenizer has no tokens and no guesses at them."""
    path = tmp_path / "bare.gguf"
    path.write_bytes(packed_file(packed_geometry()))
    facts = read_facts(path)
    assert (facts.vocab_size, facts.tokenizer_model, facts.chat_template) == (0, None, None)
    assert (facts.bos_id, facts.eos_id, facts.adds_bos) == (None, None, False)
    assert (facts.control_tokens, facts.fim) == ((), None)


def test_control_tokens_by_type(tmp_path: Path) -> None:
    """Tokens that user text must not reach are listed, and no others."""
    types = {"a": 1, "<ctl>": 3, "<own>": 4, "<gone>": 5, "<0x0A>": 6, "é>": 3}
    path = tmp_path / "types.gguf"
    packed = [
        key("tokenizer.ggml.tokens", ARRAY, strings(*types)),
        key("tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ6i", I32, 6, *types.values())),
        key("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", 1)),
    ]
    path.write_bytes(packed_file([*packed_geometry(), *packed]))
    facts = read_facts(path)
    assert facts.control_tokens == ("<ctl>", "é>")
    assert (facts.vocab_size, facts.eos_id, facts.eos_text) == (6, 1, "<ctl>")


@pytest.mark.parametrize("known", sorted(END_TEXTS.union(*FIM_TEXTS.values())))
def test_control_tokens_by_text(known: str, tmp_path: Path) -> None:
    """A token that llama.cpp takes for a control token against its type is listed as one."""
    path = tmp_path / "untyped.gguf"
    keys = [
        key("tokenizer.ggml.model", STRING, text("gpt2")),
        key("tokenizer.ggml.merges", ARRAY, strings("a b")),
        key("tokenizer.ggml.tokens", ARRAY, strings(*vocabulary.byte_letters(), known, "<other>")),
        key("llama.attention.head_count", U32, struct.pack("<I", 4)),
        key("llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)),
    ]
    path.write_bytes(packed_file([*packed_geometry(), *keys]))
    assert read_facts(path).control_tokens == (known,)
    with llama_model(path, vocab_only=True) as model:
        tokens = llama_cpp.llama_model_get_vocab(model)
        attributes = [llama_cpp.llama_vocab_get_attr(tokens, token) for token in (255, 256, 257)]
    control = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
    assert [attribute & control for attribute in attributes] == [0, control, 0]
