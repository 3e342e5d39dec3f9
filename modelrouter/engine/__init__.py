"""The engine: one worker process a model, that decodes all its sequences in one batch.

`process.py` is the parent's side, `worker.py` the child's; `protocol.py` is all they share.
"""
