"""llama.cpp by itself in a process of its own: a plain mmap, read at the load, nothing pinned.

The Load comes on standard input; context and threads are ours, so that only the memory's
management differs.
"""

import os
import sys
import time

import llama_cpp.llama_cpp as lib

from modelrouter.engine import llama
from modelrouter.engine.protocol import Load, messages
from modelrouter.memory.process import read_bytes


def read() -> int:
    """Return what this process has had read from the disk."""
    return read_bytes(os.getpid()) or 0


def main() -> None:
    """Load, decode one token after another, print what a pass took and read."""
    (load,) = messages(sys.stdin.buffer.read())
    assert isinstance(load, Load)
    lib.llama_log_set(llama.log_warnings, None)
    lib.llama_backend_init()
    before, started = read(), time.perf_counter()
    model = llama.open_model(load)
    context = llama.make_context(model, load)
    seconds = time.perf_counter() - started
    print(f"plain: loaded in {seconds:.1f} s, {(read() - before) / 1e9:.2f} GB read")
    tokens = int(sys.argv[1])
    passes = []
    before = read()
    cpu = time.process_time()
    for _ in range(tokens):
        started = time.perf_counter()
        batch = lib.llama_batch_get_one((lib.llama_token * 1)(65), 1)
        assert lib.llama_decode(context, batch) == 0
        passes.append(time.perf_counter() - started)
    gigabytes = (read() - before) / tokens / 1e9
    print(
        f"plain: {sum(passes) / tokens:.2f} s a pass ({', '.join(f'{s:.1f}' for s in passes)}), "
        f"{gigabytes:.2f} GB read a pass; CPU {(time.process_time() - cpu) / tokens:.1f} s a pass",
        flush=True,
    )


if __name__ == "__main__":
    main()
