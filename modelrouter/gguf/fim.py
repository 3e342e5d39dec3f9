"""Fill-in-the-middle families: how each spells the markers of a prompt with a hole, and orders it.

It knows texts of tokens, no prompt and no file. The layouts are those of the models' own papers and
cards. `fim_format.py` tells which family a file is of.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Order: TypeAlias = Literal["prefix-first", "suffix-first", "suffix-inside"]
"""Where the parts stand. `prefix-first`: PREFIX p SUFFIX s MIDDLE, what most were trained on.
`suffix-first`: SUFFIX s PREFIX p MIDDLE. `suffix-inside`: PREFIX SUFFIX s MIDDLE p. In the last two
a typed character leaves all that stands before it as it was, the suffix too.
"""

WORD_BEGIN = "\u2581"
"""How a SentencePiece vocabulary writes the blank before a word; CodeLlama's markers begin with it.
"""


@dataclass(frozen=True, slots=True)
class Family:
    """How one family of models is shown a hole. A marker that it does not have is "".

    `file` stands before each other file's name, `repository` before the project's. `file_line` is
    the same as plain text inside the prefix, for a family without such a token. `ends` are tokens,
    and `stops` texts, with which an answer is over. `is_spaced`: prompts written as text have a
    blank after PREFIX and one before the other markers. `named` must be in the model's name: for
    markers that models have in their vocabulary without having been trained on them.
    """

    name: str
    prefix: str
    suffix: str
    middle: str = ""
    order: Order = "prefix-first"
    repository: str = ""
    file: str = ""
    file_line: str = ""
    ends: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    is_spaced: bool = False
    named: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The markers that every prompt of this family has."""
        return tuple(part for part in (self.prefix, self.suffix, self.middle) if part)

    @property
    def markers(self) -> tuple[str, ...]:
        """All markers that the family has."""
        return (*self.parts, *(part for part in (self.repository, self.file) if part))


_CODELLAMA = Family("codellama", "<PRE>", "<SUF>", "<MID>", ends=("<EOT>",), is_spaced=True)
_STARCODER = Family(
    "starcoder",
    "<fim_prefix>",
    "<fim_suffix>",
    "<fim_middle>",
    repository="<reponame>",
    file="<filename>",
    ends=("<|endoftext|>", "<fim_pad>"),
)

FAMILIES: tuple[Family, ...] = (
    Family(
        "qwen2.5-coder",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        repository="<|repo_name|>",
        file="<|file_sep|>",
        ends=("<|endoftext|>", "<|fim_pad|>", "<|im_end|>", "<|cursor|>"),
    ),
    Family(
        "codegemma",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        file="<|file_separator|>",
        ends=("<eos>", "<end_of_turn>"),
    ),
    Family(
        "granite-4",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        ends=("<|end_of_text|>", "<|fim_pad|>"),
    ),
    Family(
        "starcoder2",
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        repository="<repo_name>",
        file="<file_sep>",
        ends=("<|endoftext|>", "<fim_pad>"),
    ),
    _STARCODER,
    Family(
        "granite-code",
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        ends=("<|endoftext|>", "<fim_pad>"),
    ),
    Family("santacoder", "<fim-prefix>", "<fim-suffix>", "<fim-middle>", ends=("<|endoftext|>",)),
    Family(
        "deepseek-coder",
        "<\uff5cfim\u2581begin\uff5c>",
        "<\uff5cfim\u2581hole\uff5c>",
        "<\uff5cfim\u2581end\uff5c>",
        ends=("<\uff5cend\u2581of\u2581sentence\uff5c>", "<|EOT|>"),
    ),
    _CODELLAMA,
    Family(
        "glm",
        "<|code_prefix|>",
        "<|code_suffix|>",
        "<|code_middle|>",
        ends=("<|user|>", "<|endoftext|>"),
    ),
    Family(
        "seed-coder",
        "<[fim-prefix]>",
        "<[fim-suffix]>",
        "<[fim-middle]>",
        order="suffix-first",
        ends=("<[end\u2581of\u2581sentence]>",),
    ),
    Family("falcon", "<|prefix|>", "<|suffix|>", "<|middle|>", ends=("<|endoftext|>",)),
    Family(
        "codestral",
        "[PREFIX]",
        "[SUFFIX]",
        order="suffix-first",
        file_line="+++++ ",
        ends=("</s>",),
        stops=("\n+++++ ",),
        named="codestral",
    ),
)
"""In the order in which a vocabulary is compared with them: of several that fit, the first."""

VARIANTS: tuple[Family, ...] = tuple(
    replace(family, name=f"{family.name}-suffix-inside", order="suffix-inside")
    for family in (_CODELLAMA, _STARCODER)
)
"""Only models.toml names them. Both families were trained on either order; this one is a little
worse where the cursor stands inside a word, and spares the suffix.
"""

BY_NAME: Mapping[str, Family] = {family.name: family for family in (*FAMILIES, *VARIANTS)}


def spellings() -> Iterator[str]:
    """Yield every text of a token that some family knows, in both vocabularies' ways."""
    for family in FAMILIES:
        for text in (*family.markers, *family.ends):
            yield text
            yield WORD_BEGIN + text
