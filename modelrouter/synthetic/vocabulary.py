"""A small real vocabulary: byte-level BPE, so that any UTF-8 text becomes tokens and back again.

It is the tokenizer's side of a synthetic model; it knows nothing of weights or files.
"""

import re
from functools import cache
from itertools import pairwise

NORMAL, CONTROL, UNUSED = 1, 3, 5  # llama.cpp's token types

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
CONTROL_TOKENS = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{TURN_START}' + message.role + '\\n' + message.content + '{TURN_END}\\n' }}}}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{TURN_START}assistant\\n' }}}}{{% endif %}}"
)
"""ChatML, as Qwen speaks it. Newlines stand inside expressions, where no trimming reaches them."""

# Its words, split where GPT-2 splits and each with its leading space, become one token each.
_SAMPLE = """\
Hello! You can read a file in Python? Yes, open it with the name of that file.
What is the best way? The answer will be on your list, and then for each line of it do what I say.
This is how we have done it when there was not one but all of them, or if they are from an old user.
An assistant may want to ask for more, because their words can not be as they should. It's I'm
import os
def read(self, path: str) -> int:
    for i in range(len(lines)):
        if lines[i] == "": return None
        else: print(f"{i}", x + 1, y - 2)
    while True:
        self.value = [0]
return value
class Error(Exception):
    pass
function const let var => { } ; // # !=
"""
_SPLIT = re.compile(r"'\w+| ?\w+| ?[^\s\w]+|\s+(?!\S)|\s")


@cache
def byte_letters() -> tuple[str, ...]:
    """Return the printable letter that stands for each of the 256 bytes.

    GPT-2's rule: printable Latin-1 stands for itself, the others for the letters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(spare)) for byte in range(256))


@cache
def merges() -> tuple[tuple[str, str], ...]:
    """Return the pairs that BPE joins, the earliest first; each word of the sample becomes one."""
    ranks: dict[tuple[str, str], int] = {}
    for word in _SPLIT.findall(_SAMPLE):
        symbols = [byte_letters()[byte] for byte in word.encode()]
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            pair = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            ranks.setdefault(pair, len(ranks))
            at = pairs.index(pair)
            symbols[at : at + 2] = ["".join(pair)]
    return tuple(ranks)


@cache
def _small_vocabulary() -> tuple[str, ...]:
    joined = (left + right for left, right in merges())
    # llama.cpp aborts on a text that is there twice, and two pairs may join to the same word.
    return tuple(dict.fromkeys((*byte_letters(), *joined, *CONTROL_TOKENS)))


SMALL_VOCABULARY_SIZE = len(_small_vocabulary())


def tokens(vocab_size: int) -> list[tuple[str, int]]:
    """Return `vocab_size` tokens, each a text and its type; unused ones fill up the small ones."""
    small = [(text, CONTROL if text in CONTROL_TOKENS else NORMAL) for text in _small_vocabulary()]
    unused = ((f"[unused {number}]", UNUSED) for number in range(vocab_size - len(small)))
    return [*small, *unused]


def token_id(text: str) -> int:
    """Return the id of a token of the small vocabulary."""
    return _small_vocabulary().index(text)
