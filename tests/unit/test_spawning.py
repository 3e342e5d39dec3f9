"""What the first message says of a model: who gives way, and what may be in memory."""

from modelrouter.engine.spawning import BACKGROUND, load_message
from modelrouter.engine.weights import spans
from modelrouter.registry import ModelSpec


def test_who_gives_way(tiny_spec: ModelSpec, long_spec: ModelSpec) -> None:
    """A mapped model does, a resident one does not; whoever starts it may say otherwise."""
    assert load_message(tiny_spec).niceness == "normal"
    assert load_message(long_spec).niceness == BACKGROUND
    assert load_message(long_spec, "normal").niceness == "normal"


def test_where_the_weights_are(tiny_spec: ModelSpec, long_spec: ModelSpec) -> None:
    """A mapped model's are told, with the window that is read ahead; a resident one's are not."""
    assert load_message(tiny_spec).weights == ()
    assert load_message(tiny_spec).window_bytes == 0
    assert load_message(long_spec).weights == spans(long_spec.facts)
    assert load_message(long_spec).window_bytes == long_spec.window_bytes > 0
