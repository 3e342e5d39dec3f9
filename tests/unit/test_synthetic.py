"""Synthetic models run in the real llama.cpp, and are exactly as large as planned."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from gguf_bytes import llama_model

from modelrouter.gguf import Tensor, read_facts
from modelrouter.synthetic import (
    GEOMETRIES,
    QUANTIZATIONS,
    SMALL,
    TINY,
    Geometry,
    planned_bytes,
    write,
    write_hollow,
)

MOE = Geometry(2, 256, 256, 4, 2, 512, expert_count=4, expert_used_count=2)
WINDOW = Geometry(2, 256, 512, 8, 2, 512, sliding_window=16)


def logits_after(path: Path, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Load the model with its tensors checked, decode the text, return the last row of logits."""
    with llama_model(path, check_tensors=True) as model:
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = 64
        parameters.n_threads = parameters.n_threads_batch = 1
        context = llama_cpp.llama_init_from_model(model, parameters)
        tokens = (llama_cpp.llama_token * 64)()
        raw = text.encode()
        n = llama_cpp.llama_tokenize(vocabulary, raw, len(raw), tokens, 64, True, True)
        assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, n)) == 0
        row = llama_cpp.llama_get_logits_ith(context, -1)
        logits = np.ctypeslib.as_array(row, (llama_cpp.llama_vocab_n_tokens(vocabulary),)).copy()
        llama_cpp.llama_free(context)
    return logits


@pytest.mark.parametrize("geometry", [SMALL, MOE, WINDOW], ids=["dense", "experts", "window"])
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_runs_in_llama_cpp(quantization: str, geometry: Geometry, tmp_path: Path) -> None:
    """Every quantization passes llama.cpp's check of all tensors and gives logits one can rank."""
    path = tmp_path / "model.gguf"
    write(path, geometry, quantization)
    assert read_facts(path).file_type.startswith(quantization)
    logits = logits_after(path, "def read(self):")
    assert np.isfinite(logits).all()
    assert 0.05 < logits.std() < 2
    assert len(np.unique(logits)) > len(logits) // 2


def test_prompts_matter(tmp_path: Path) -> None:
    """Another prompt before the same last word gives other logits: attention is alive."""
    path = tmp_path / "model.gguf"
    write(path, TINY, "F32")
    one, other = logits_after(path, "What is it"), logits_after(path, "Yes it")
    assert np.abs(one - other).max() > 0.01


def test_a_window_hides_what_is_before_it(tmp_path: Path) -> None:
    """Layers with a sliding window do not see a token further back; one that sees all does.

    llama.cpp has every sixth layer see all, and each layer with a window passes a window on.
    """
    sees_all = replace(WINDOW, layers=6)
    far_back = ["Hello" + " the" * 40, "What" + " the" * 40]
    for geometry, is_seen in ((WINDOW, False), (sees_all, True)):
        path = tmp_path / "model.gguf"
        write(path, geometry, "F32")
        one, other = (logits_after(path, text) for text in far_back)
        assert np.array_equal(one, other) != is_seen


def test_tied_embeddings_run(tmp_path: Path) -> None:
    """A model whose output layer is its embeddings loads and answers."""
    path = tmp_path / "model.gguf"
    write(path, Geometry(1, 64, 64, 2, 2, 64, tied_embeddings=True), "Q8_0")
    assert np.isfinite(logits_after(path, "Hello")).all()


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("geometry", [SMALL, MOE, WINDOW], ids=["dense", "experts", "window"])
def test_planned_bytes_is_exact(geometry: Geometry, quantization: str, tmp_path: Path) -> None:
    """The plan, the returned size, the file and its tensor table agree to the byte."""
    path = tmp_path / "model.gguf"
    planned = planned_bytes(geometry, quantization, name="a name")
    assert write(path, geometry, quantization, name="a name") == planned == path.stat().st_size
    facts = read_facts(path)
    last = facts.tensors[-1]
    assert planned - 32 < last.offset + last.n_bytes <= planned
    assert (facts.name, facts.parameters) == ("a name", geometry.parameters)


def test_a_hollow_file_says_the_same_of_itself(tmp_path: Path) -> None:
    """Its header is that of the whole file, its length too; of the disk it takes a header."""
    hollow, whole = tmp_path / "hollow.gguf", tmp_path / "whole.gguf"
    wide = replace(SMALL, feed_forward_length=2**16)
    assert write_hollow(hollow, wide, "Q4_K") == write(whole, wide, "Q4_K")
    assert hollow.stat().st_size == whole.stat().st_size
    assert hollow.stat().st_blocks * 512 < 2**18 < whole.stat().st_size
    assert read_facts(hollow).tensors == read_facts(whole).tensors


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("smollm2-135m", 134_515_008),
        ("qwen2.5-coder-1.5b", 1_543_714_304 - 28 * (1536 + 256 + 256)),  # without its biases
        ("llama-7b", 6_738_415_616),
        ("llama-13b", 13_015_864_320),
        ("llama-33b", 32_528_943_616),
        ("llama-65b", 65_285_660_672),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3-8b", 8_030_261_248),
        ("llama-3-70b", 70_553_706_496),
        ("llama-3.1-405b", 405_853_388_800),
        ("llama-3.2-1b", 1_235_814_400),
        ("mistral-7b", 7_241_732_096),
        ("mistral-small-24b", 23_572_403_200),
        ("mixtral-8x7b", 46_702_792_704),
        ("mixtral-8x22b", 140_620_634_112),
        ("gemma-2b", 2_506_172_416),
        ("gemma-7b", 8_537_680_896),
    ],
)
def test_named_geometries(name: str, parameters: int) -> None:
    """The named geometries have as many weights as the models' makers published."""
    assert GEOMETRIES[name].parameters == parameters


def test_65b_is_as_large_as_the_real_one() -> None:
    """A 65B in Q4_K fills 36.7 GB, which is what has to be streamed on a 24 GB box."""
    assert round(planned_bytes(GEOMETRIES["llama-65b"], "Q4_K") / 1e6) == 36_729


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """The seed decides every byte."""
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    write(one, TINY, "Q4_0", seed=1)
    write(same, TINY, "Q4_0", seed=1)
    write(other, TINY, "Q4_0", seed=2)
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()


def weights(path: Path, tensor: Tensor) -> bytes:
    """Return a tensor's bytes."""
    return path.read_bytes()[tensor.offset : tensor.offset + tensor.n_bytes]


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_no_weights_repeat(quantization: str, tmp_path: Path) -> None:
    """Weights are dealt from a pool, but never the same to two tensors, nor to two rows of one."""
    path = tmp_path / "model.gguf"
    write(path, SMALL, quantization)
    tensors = [tensor for tensor in read_facts(path).tensors if len(tensor.shape) > 1]
    beginnings = set()
    for tensor in tensors:
        content, n_rows = weights(path, tensor), tensor.shape[1]
        row_bytes = len(content) // n_rows
        assert len({content[row * row_bytes :][:row_bytes] for row in range(n_rows)}) == n_rows
        beginnings.add(content[:row_bytes])
    assert len(beginnings) == len(tensors)


def test_memory_stays_small(tmp_path: Path) -> None:
    """A file much larger than the pool is written in a few megabytes of memory."""
    program = """
import resource, sys
from pathlib import Path
from modelrouter.synthetic import Geometry, write
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n_bytes = write(Path(sys.argv[1]), Geometry(2, 4096, 4096, 32, 32, 64), "Q4_K")
print(n_bytes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "model.gguf")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    n_bytes, grown_bytes = map(int, done.stdout.split())
    assert n_bytes > 120_000_000
    assert grown_bytes < 32_000_000
