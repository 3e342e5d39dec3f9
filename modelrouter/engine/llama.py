"""The one door to llama.cpp: a Backend over llama-cpp-python's low-level API.

It knows tokens and tensors, never a request. The high-level `Llama` class is not used: it runs one
sequence at a time, and its FIM suffix and draft models are broken in 0.3.36.

Every input that would end the process inside llama.cpp is refused before it gets there: too many
rows, a foreign sequence or position, logits of too many (`check_rows`), a quantized V cache without
flash attention.
"""

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as lib
import numpy as np

from modelrouter.engine.backend import (
    Row,
    Sampler,
    check_biases,
    check_rows,
    check_seq,
    check_token,
)
from modelrouter.engine.mapping import Mapped, unread
from modelrouter.engine.protocol import Load
from modelrouter.engine.sampling import ChainSampler, logits_of
from modelrouter.errors import EngineError, LoadFailed
from modelrouter.generation import Piece
from modelrouter.memory.kv import StoredType
from modelrouter.tokens import Chance, TokenLogprobs
from modelrouter.types import Sampling

if TYPE_CHECKING:
    from modelrouter.engine.constraint import Constraint, Vocabulary

GGML_TYPES: dict[StoredType, int] = {
    "f16": lib.GGML_TYPE_F16,
    "bf16": 30,  # ggml.h; the bindings lack its name
    "q8_0": lib.GGML_TYPE_Q8_0,
    "q4_0": lib.GGML_TYPE_Q4_0,
}
LOG_LEVEL_WARN = 3
ABORTED = 2
PIECE_BYTES = 64


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def log_warnings(level: int, text: bytes, _data: object) -> None:
    """Let llama.cpp's warnings and errors through to stderr; the parent keeps the last."""
    if level >= LOG_LEVEL_WARN:
        sys.stderr.write(text.decode(errors="replace"))


class LlamaBackend:
    """A GGUF model in llama.cpp, on the CPU, with a KV stream of its own for every sequence.

    With one shared stream, or keys and values both of f16, company was measured to move logits by
    up to 0.6. With a stream each (`kv_unified=False`) and `stored_types` an answer is the same
    alone or in company, to the last bit for some weights and to a rounding error for others
    (ADR 13).
    """

    def __init__(self, load: Load, progress: Callable[[float], None]) -> None:
        """Load the model; `progress` hears fractions from 0 to 1. LoadFailed says why not."""
        self._context = self._model = None
        lib.llama_log_set(log_warnings, None)
        lib.llama_backend_init()
        self.refusals: tuple[str, ...] = ()
        self.mappings: tuple[Mapped, ...] = ()
        self._model = self._open(load, progress)
        try:
            self._context = make_context(self._model, load)
        except LoadFailed:
            self.close()
            raise
        self._memory = lib.llama_get_memory(self._context)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self._window = lib.llama_model_n_swa(self._model)
        self._bytes_of: dict[int, bytes] = {}
        self.slots = load.slots
        self.context_tokens = int(lib.llama_n_ctx_seq(self._context))
        self.batch_rows = load.batch_rows
        self.logit_rows = load.logit_rows if self._can_go_back() else 1
        self._batch = _Batch(load.batch_rows)
        self._interrupt_flag = ctypes.create_string_buffer(2)
        _watch_flag(self._context, self._interrupt_flag)

    def _open(self, load: Load, progress: Callable[[float], None]) -> Any:
        if load.whole:
            return open_model(load, progress)
        with unread([*{load.path, *(span.path for span in load.weights)}], library()) as outcome:
            model = open_model(load, progress)
        self.mappings = tuple(outcome.mappings)
        self.refusals = () if outcome.refusal is None else (outcome.refusal,)
        return model

    def tokenize(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the pieces' tokens; one beginning-of-text where the model wants it, never two."""
        tokens = [token for piece in pieces for token in self._tokenize(piece)]
        begin = lib.llama_vocab_bos(self._vocab)
        if lib.llama_vocab_get_add_bos(self._vocab) and tokens[:1] != [begin]:
            tokens.insert(0, begin)
        return tokens

    def _tokenize(self, piece: Piece) -> list[int]:
        text = piece.text.encode()
        room = len(text) + 16  # a token has at least a byte; some vocabularies add a space before
        tokens = (lib.llama_token * room)()
        count = lib.llama_tokenize(self._vocab, text, len(text), tokens, room, False, piece.special)
        if count < 0:
            raise EngineError(
                f"the tokenizer wants {-count} tokens for {len(text):,} bytes of text"
            )
        return list(tokens[:count])

    def bytes_of(self, token: int) -> bytes:
        """Return a token's bytes, b"" for a control token."""
        known = self._bytes_of.get(token)
        if known is None:
            known = self._bytes_of[token] = self._ask_bytes_of(token)
        return known

    def _ask_bytes_of(self, token: int) -> bytes:
        check_token(token, self._vocabulary)
        buffer = ctypes.create_string_buffer(PIECE_BYTES)
        size = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        if size < 0:  # it says how much room it wants
            buffer = ctypes.create_string_buffer(-size)
            size = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[:size]

    def token_of(self, spelling: str) -> int | None:
        """Return the one token, a control token too, that is spelled so; None where none is."""
        tokens = self._tokenize(Piece(spelling, special=True))
        return tokens[0] if len(tokens) == 1 else None

    def is_end(self, token: int) -> bool:
        """Tell whether the vocabulary marks this token as an end of generation."""
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    def sampler(self, sampling: Sampling, grammar: str | None = None) -> Sampler:
        """Return a chain in llama.cpp's order: bias, penalties, top-k, top-p, min-p, draw."""
        check_biases(sampling, self._vocabulary)
        constraint = None if grammar is None else self._constraint(grammar)
        return ChainSampler(self._context, self._vocabulary, sampling, constraint)

    def _constraint(self, grammar: str) -> "Constraint":
        # Imported here: 4 MiB that most workers never need.
        from modelrouter.engine.constraint import Constraint  # noqa: PLC0415

        return Constraint(self._words, grammar)

    @functools.cached_property
    def _words(self) -> "Vocabulary":
        from modelrouter.engine.constraint import Vocabulary  # noqa: PLC0415 - as above

        every = range(self._vocabulary)
        ends = [token for token in every if self.is_end(token)]

        def tokenize(text: str) -> list[int]:
            return self._tokenize(Piece(text, special=False))

        return Vocabulary(map(self._ask_bytes_of, every), ends, tokenize)

    def logprobs(self, row: int, token: int, most: int) -> TokenLogprobs:
        """Return the model's own chances of `token` and of the `most` likeliest, best first."""
        pointer = logits_of(self._context, row)
        logits = np.ctypeslib.as_array(pointer, (self._vocabulary,)).astype(np.float64)
        logits -= logits.max()
        logprobs = logits - np.log(np.exp(logits).sum())
        best = np.argpartition(-logprobs, most)[:most] if most else np.empty(0, np.intp)
        best = best[np.argsort(-logprobs[best], kind="stable")]

        def chance(each: int) -> Chance:
            return Chance(each, tuple(self.bytes_of(each)), float(logprobs[each]))

        return TokenLogprobs(chance(token), tuple(chance(int(each)) for each in best))

    def decode(self, rows: Sequence[Row]) -> bool:
        """Run one pass over the rows; False where `interrupt` stopped it."""
        check_rows(self, rows, [self._length(seq) for seq in range(self.slots)])
        result = lib.llama_decode(self._context, self._batch.filled(rows))
        self._interrupt_flag[0] = b"\0"
        if result not in {0, ABORTED}:
            raise EngineError(f"llama_decode answered {result} to a pass of {len(rows)} rows")
        return bool(result == 0)

    def keep(self, seq: int, length: int) -> int:
        """Forget the sequence from position `length` on; return how many of its tokens are left."""
        check_seq(self, seq)
        if length > 0 and lib.llama_memory_seq_rm(self._memory, seq, length, -1):
            first = lib.llama_memory_seq_pos_min(self._memory, seq)
            reach = max(0, length - self._window) if self._window else 0
            if 0 <= first <= reach:  # a sliding window has not dropped what the next token looks at
                return self._length(seq)
        lib.llama_memory_seq_rm(self._memory, seq, -1, -1)
        return 0

    def _can_go_back(self) -> bool:
        """Tell whether `keep` leaves all it is asked to: drafts that were wrong are taken back."""
        remembers = lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(
            self._model
        )
        return not self._window and not remembers

    def _length(self, seq: int) -> int:
        return int(lib.llama_memory_seq_pos_max(self._memory, seq)) + 1

    def interrupt(self) -> None:
        """Make the pass that runs now, or else the next one, end soon."""
        self._interrupt_flag[0] = b"\1"

    def close(self) -> None:
        """Free the context and the model."""
        if self._context is not None:
            lib.llama_free(self._context)
        if self._model is not None:
            lib.llama_model_free(self._model)
        self._context = self._model = None


def open_model(
    load: Load, progress: Callable[[float], None] = lambda _: None, *, is_plan: bool = False
) -> Any:
    """Load the model and return llama.cpp's handle of it; LoadFailed says why not.

    With `is_plan` no weight is read and no memory is taken for any: the model can be planned with.
    """

    @lib.llama_progress_callback  # type: ignore[untyped-decorator]
    def on_progress(fraction: float, _data: object) -> bool:
        progress(fraction)
        return True

    params = lib.llama_model_default_params()
    is_mapped = not load.whole and not is_plan
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP if is_mapped else lib.LLAMA_LOAD_MODE_NONE
    params.no_alloc = is_plan
    # Rearranged weights are a second, anonymous copy: right for a model that is to be quick and to
    # stay, ruinous for one that is mapped because it does not fit (35 GiB for a 65B at Q4_K).
    params.use_extra_bufts = load.whole
    params.progress_callback = on_progress
    model = lib.llama_model_load_from_file(load.path.encode(), params)
    if not model:
        raise LoadFailed(f"llama.cpp could not load {load.path}")
    trim_heap()
    if lib.llama_model_has_encoder(model) or not lib.llama_model_has_decoder(model):
        lib.llama_model_free(model)
        raise LoadFailed(f"{load.path} is not a model that continues text")
    return model


def library() -> ctypes.CDLL:
    """Return a handle of llama.cpp whose functions have the types that its user gives them."""
    return ctypes.CDLL(lib._lib._name)  # noqa: SLF001 - where the bindings found it


def trim_heap() -> None:
    """Give back what the load needed only for itself: 36 MiB where weights were rearranged."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # it is glibc's
        trim(0)


def make_context(model: Any, load: Load) -> Any:
    """Return llama.cpp's handle of a context for the load's slots; LoadFailed where none can be."""
    params = lib.llama_context_default_params()
    params.n_ctx = load.context_tokens * load.slots
    params.n_seq_max = load.slots
    params.kv_unified = False
    params.n_batch = params.n_ubatch = load.batch_rows
    # Else there is room for logits of every row: 297 MiB for a vocabulary of 152,000 and 512 rows.
    params.n_outputs_max = load.most_outputs
    params.n_threads = params.n_threads_batch = load.threads
    stored = load.stored
    params.type_k, params.type_v = GGML_TYPES[stored.keys], GGML_TYPES[stored.values]
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED  # a quantized V cache needs it
    params.swa_full = False
    params.no_perf = True
    context = lib.llama_init_from_model(model, params)
    if not context:
        raise LoadFailed(
            f"llama.cpp could not make room for {load.slots} x {load.context_tokens:,} tokens "
            f"of {stored.keys} keys and {stored.values} values"
        )
    return context


def _watch_flag(context: Any, flag: "ctypes.Array[ctypes.c_char]") -> None:
    """Have llama.cpp stop a pass once the flag's first byte is not zero.

    It asks `callback(data)` between the nodes of the graph, hundreds of times a pass. A Python
    callback would wait for the interpreter lock each time; libc's `strlen(flag)` is the same
    question asked in C: 0 for an empty string, 1 once the flag is up (ADR 10).
    """
    strlen = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
    lib.llama_set_abort_callback(context, strlen, ctypes.cast(flag, ctypes.c_void_p))


class _Batch:
    """A llama_batch whose arrays are numpy's, filled anew for every pass."""

    def __init__(self, capacity: int) -> None:
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._counts = np.ones(capacity, np.int32)
        self._seqs = np.zeros(capacity, np.int32)
        stride = self._seqs.itemsize
        self._seq_pointers = self._seqs.ctypes.data + stride * np.arange(capacity, dtype=np.uintp)
        self._wanted = np.zeros(capacity, np.int8)
        self._struct = lib.llama_batch(
            token=_pointer(self._tokens, lib.llama_token),
            pos=_pointer(self._positions, lib.llama_pos),
            n_seq_id=_pointer(self._counts, ctypes.c_int32),
            seq_id=_pointer(self._seq_pointers, ctypes.POINTER(lib.llama_seq_id)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def filled(self, rows: Sequence[Row]) -> Any:
        count = len(rows)
        (
            self._seqs[:count],
            self._positions[:count],
            self._tokens[:count],
            self._wanted[:count],
        ) = zip(*rows, strict=True)
        self._struct.n_tokens = count
        return self._struct


def _pointer(array: "np.ndarray[Any, Any]", kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
