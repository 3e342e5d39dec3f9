"""What a GGUF header says of the tokenizer: special tokens, fill-in-the-middle, chat template.

It tokenizes nothing; llama.cpp does that. The rules are those of llama.cpp's `llama-vocab.cpp`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelrouter.gguf.fim import spellings
from modelrouter.gguf.metadata import Metadata
from modelrouter.gguf.reader import bad_file

NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # llama.cpp's token types
NO_TOKEN = 2**32 - 1  # how a 32-bit key says "none"
PREFIX = "tokenizer.ggml."

MODELS_ADDING_BOS = frozenset({"llama", "bert", "gemma4"})
PRES_ADDING_BOS = frozenset(
    {
        "chameleon",
        "falcon-h1",
        "falcon3",
        "gemma4",
        "jina-v5-nano",
        "lfm2",
        "llama-bpe",
        "llama-v3",
        "llama3",
        "midm-2.0",
        "pixtral",
        "tekken",
    }
)
"""Tokenizers to which llama.cpp 0.3.36 adds BOS where the file has no `add_bos_token`: by model,
and for byte-pair ones (model gpt2) by pre-tokenizer."""


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Ids of the tokens that mark the parts of a fill-in-the-middle prompt, None where unknown."""

    pre: int | None = None
    suf: int | None = None
    mid: int | None = None
    pad: int | None = None
    rep: int | None = None
    sep: int | None = None


FIM_KEYS: Mapping[str, tuple[str, ...]] = {
    "pre": ("prefix_token_id", "fim_pre_token_id"),
    "suf": ("suffix_token_id", "fim_suf_token_id"),
    "mid": ("middle_token_id", "fim_mid_token_id"),
    "pad": ("fim_pad_token_id",),
    "rep": ("fim_rep_token_id",),
    "sep": ("fim_sep_token_id",),
}
"""Keys of `tokenizer.ggml.`; where a file has both spellings llama.cpp takes the older one."""

FIM_TEXTS: Mapping[str, tuple[str, ...]] = {
    "pre": (
        "<|fim_prefix|>",  # Qwen, CodeGemma, Granite 4
        "<fim-prefix>",  # SantaCoder
        "<fim_prefix>",  # StarCoder, Granite
        "<\uff5cfim\u2581begin\uff5c>",  # DeepSeek
        "<PRE>",
        "\u2581<PRE>",  # CodeLlama
        "<|code_prefix|>",  # GLM
        "<|prefix|>",  # Falcon
    ),
    "suf": (
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<\uff5cfim\u2581hole\uff5c>",
        "<SUF>",
        "\u2581<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ),
    "mid": (
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<\uff5cfim\u2581end\uff5c>",
        "<MID>",
        "\u2581<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ),
    "pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "sep": ("<|file_sep|>",),
}
"""Texts by which llama.cpp 0.3.36 knows these tokens where the file has no key for them."""

END_TEXTS = frozenset(
    {
        "</s>",
        "<EOT>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<eos>",
        "<turn|>",
        "<|call|>",
        "<|calls|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|end|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|flush|>",
        "<|im_end|>",
        "<|return|>",
        "<|tool_response>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
        "[EOS]",
        "[EOT]",
        "[e~[",
        "_<EOT>",
    }
)
"""Texts that end an answer, as llama.cpp 0.3.36 knows them. It takes them, and those above, for
control tokens where a file gives them another type, which many older files do."""

_MARKERS = frozenset(text.encode() for text in spellings())
_CONTROL_TEXTS = frozenset(text.encode() for text in END_TEXTS.union(*FIM_TEXTS.values()))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer's facts; the names are those of `GgufFacts`."""

    size: int
    tokenizer_model: str | None
    bos_id: int | None
    bos_text: str | None
    eos_id: int | None
    eos_text: str | None
    adds_bos: bool
    control_tokens: tuple[str, ...]
    longest_token_bytes: int
    special_ids: Mapping[str, int]
    fim: FimTokens | None
    chat_template: str | None


def read_vocabulary(metadata: Metadata) -> Vocabulary:
    """Read all that the keys of `tokenizer.ggml.` say. A file without a tokenizer has size 0."""
    texts = metadata.strings(PREFIX + "tokens")
    bos_id = _token_id(metadata, "bos_token_id", len(texts))
    eos_id = _token_id(metadata, "eos_token_id", len(texts))
    control_ids = _control_ids(metadata, texts)
    fim = _fim(metadata, texts)
    return Vocabulary(
        size=len(texts),
        tokenizer_model=metadata.text(PREFIX + "model"),
        bos_id=bos_id,
        bos_text=None if bos_id is None else _decoded(metadata, texts[bos_id], bos_id),
        eos_id=eos_id,
        eos_text=None if eos_id is None else _decoded(metadata, texts[eos_id], eos_id),
        adds_bos=_adds_bos(metadata),
        control_tokens=tuple(_decoded(metadata, texts[n], n) for n in control_ids),
        longest_token_bytes=max(map(len, texts), default=0),
        special_ids=_special_ids(metadata, texts, control_ids, fim),
        fim=fim,
        chat_template=metadata.text("tokenizer.chat_template"),
    )


def _token_id(metadata: Metadata, key: str, n_tokens: int) -> int | None:
    token_id = metadata.count(PREFIX + key)
    if token_id is None or token_id == NO_TOKEN or token_id < n_tokens:
        return None if token_id == NO_TOKEN else token_id
    raise bad_file(
        metadata.path, f"{PREFIX}{key} is {token_id:,}, but there are {n_tokens:,} tokens"
    )


def _decoded(metadata: Metadata, text: bytes, token_id: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise bad_file(
            metadata.path, f"the text of token {token_id:,} is not UTF-8: {text[:40]!r}"
        ) from error


def _adds_bos(metadata: Metadata) -> bool:
    said = metadata.flag(PREFIX + "add_bos_token")
    if said is not None:
        return said
    model, pre = metadata.text(PREFIX + "model"), metadata.text(PREFIX + "pre")
    return model in MODELS_ADDING_BOS or (model == "gpt2" and pre in PRES_ADDING_BOS)


def _control_ids(metadata: Metadata, texts: Sequence[bytes]) -> list[int]:
    types = metadata.numbers(PREFIX + "token_type") or (NORMAL,) * len(texts)
    if len(types) < len(texts):
        raise bad_file(metadata.path, f"{len(texts):,} tokens have only {len(types):,} token types")
    return [
        token_id
        for token_id, (text, token_type) in enumerate(zip(texts, types, strict=False))
        if text and (token_type in {UNKNOWN, CONTROL} or text in _CONTROL_TEXTS)
    ]


def _special_ids(
    metadata: Metadata, texts: Sequence[bytes], control_ids: Sequence[int], fim: FimTokens | None
) -> Mapping[str, int]:
    """Return the ids of control tokens, of markers of any type, and of those that keys name."""
    named = () if fim is None else (fim.pre, fim.suf, fim.mid, fim.pad, fim.rep, fim.sep)
    ids = [token_id for token_id, text in enumerate(texts) if text in _MARKERS]
    ids += [*control_ids, *(token_id for token_id in named if token_id is not None)]
    return {_decoded(metadata, texts[token_id], token_id): token_id for token_id in ids}


def _fim(metadata: Metadata, texts: Sequence[bytes]) -> FimTokens | None:
    ids_by_text = {text: token_id for token_id, text in enumerate(texts)}
    found: dict[str, int | None] = {}
    for part in FIM_KEYS:
        by_key = [_token_id(metadata, key, len(texts)) for key in FIM_KEYS[part]]
        by_text = [ids_by_text.get(text.encode()) for text in FIM_TEXTS[part]]
        found[part] = next((known for known in (*by_key, *by_text) if known is not None), None)
    # A lone [PAD] or <reponame> is in vocabularies that were never trained to fill in.
    return FimTokens(**found) if found["pre"] is not None and found["suf"] is not None else None
