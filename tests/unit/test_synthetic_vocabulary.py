"""The small vocabulary is a real one: llama.cpp turns any text into its tokens and back again."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest
from gguf_bytes import llama_model
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelrouter.gguf import FimTokens, read_facts
from modelrouter.synthetic import Geometry, write
from modelrouter.synthetic.vocabulary import (
    CHAT_TEMPLATE,
    CONTROL_TOKENS,
    SMALL_VOCABULARY_SIZE,
    merges,
    token_id,
)

PADDED_SIZE = SMALL_VOCABULARY_SIZE + 100


class Tokenizer:
    """llama.cpp's tokenizer of a loaded model."""

    def __init__(self, model: llama_cpp.llama_model_p) -> None:
        """Take the vocabulary of a model that outlives this."""
        self.vocabulary = llama_cpp.llama_model_get_vocab(model)

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """Return the text's tokens; control tokens are recognised where `special` is true."""
        raw = text.encode()
        found = (llama_cpp.llama_token * (len(raw) + 1))()
        count = llama_cpp.llama_tokenize(
            self.vocabulary, raw, len(raw), found, len(found), True, special
        )
        return list(found[:count])

    def text(self, tokens: list[int]) -> str:
        """Return the text that the tokens stand for."""
        whole, buffer = b"", ctypes.create_string_buffer(64)
        for token in tokens:
            length = llama_cpp.llama_token_to_piece(self.vocabulary, token, buffer, 64, 0, True)
            whole += buffer.raw[:length]
        return whole.decode()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose vocabulary is padded to more than the small one."""
    path = tmp_path_factory.mktemp("vocabulary") / "model.gguf"
    write(path, Geometry(1, 32, 32, 1, 1, 64, vocab_size=PADDED_SIZE), "Q4_0")
    return path


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Iterator[Tokenizer]:
    """The model's tokenizer."""
    with llama_model(path, vocab_only=True) as model:
        yield Tokenizer(model)


@settings(max_examples=200)
@given(text=st.text(max_size=60))
@example(text="  indented\n\ttabs\r\n\n\n  and   runs of spaces   ")
@example(text="日本語 naïve café 👩‍👩‍👧 \u202e \ufeff \x00 \x7f")
@example(text="".join(CONTROL_TOKENS))
def test_any_text_survives(text: str, tokenizer: Tokenizer) -> None:
    """Any text is its own tokens' text, and none of them is a control token."""
    tokens = tokenizer.tokens(text)
    assert tokenizer.text(tokens) == text
    assert not {token_id(control) for control in CONTROL_TOKENS} & set(tokens)


@pytest.mark.parametrize("word", [" the", "Hello", " what", "def", " return", "import", " !="])
def test_common_words_are_one_token(word: str, tokenizer: Tokenizer) -> None:
    """The merges join common words of English and of code."""
    assert len(tokenizer.tokens(word)) == 1


def test_merges_are_fewer_tokens(tokenizer: Tokenizer) -> None:
    """A sentence of known words takes about a token a word, one of unknown words more."""
    assert len(tokenizer.tokens("What is the best way to read a file?")) <= 10
    assert len(tokenizer.tokens("Zyxwvut qponmlk")) > 10
    assert len(merges()) > 200


@pytest.mark.parametrize("control", CONTROL_TOKENS)
def test_control_tokens(control: str, tokenizer: Tokenizer, path: Path) -> None:
    """Each control token is one token where control tokens are recognised, and listed as one."""
    assert tokenizer.tokens(control, special=True) == [token_id(control)]
    assert control in read_facts(path).control_tokens


def test_special_token_ids(path: Path) -> None:
    """Turns end with the end-of-turn token, nothing is put before a prompt, all FIM parts exist."""
    facts = read_facts(path)
    assert (facts.eos_text, facts.bos_text, facts.adds_bos) == (
        "<|im_end|>",
        "<|endoftext|>",
        False,
    )
    assert facts.control_tokens == CONTROL_TOKENS
    assert facts.fim == FimTokens(
        pre=token_id("<|fim_prefix|>"),
        suf=token_id("<|fim_suffix|>"),
        mid=token_id("<|fim_middle|>"),
        pad=token_id("<|fim_pad|>"),
        rep=token_id("<|repo_name|>"),
        sep=token_id("<|file_sep|>"),
    )


def test_padding_tokens_are_unused(tokenizer: Tokenizer) -> None:
    """A larger vocabulary is filled up with tokens that no text reaches."""
    assert llama_cpp.llama_vocab_n_tokens(tokenizer.vocabulary) == PADDED_SIZE
    attribute = llama_cpp.llama_vocab_get_attr(tokenizer.vocabulary, PADDED_SIZE - 1)
    assert attribute == llama_cpp.LLAMA_TOKEN_ATTR_UNUSED
    assert max(tokenizer.tokens("[unused 99]", special=True)) < SMALL_VOCABULARY_SIZE


@pytest.mark.parametrize("trim", [True, False])
def test_chat_template(trim: bool, tokenizer: Tokenizer) -> None:  # noqa: FBT001 - pytest's way
    """The template writes ChatML, however the renderer treats newlines after blocks."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=trim, lstrip_blocks=trim)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    rendered = environment.from_string(CHAT_TEMPLATE).render(
        messages=messages, add_generation_prompt=True
    )
    assert rendered == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHello<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    tokens = tokenizer.tokens(rendered, special=True)
    assert tokens.count(token_id("<|im_start|>")) == 3
    assert tokens.count(token_id("<|im_end|>")) == 2
