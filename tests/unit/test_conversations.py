"""Who answered a conversation so far is remembered, without its words."""

from modelrouter.conversations import Conversations
from modelrouter.types import Message

QUESTION = Message("user", "how do I poach an egg")
MORE = Message("user", "and how long?")


def test_the_model_that_answered_is_known_in_the_next_turn() -> None:
    """Clients send the whole conversation again, with the answer in it."""
    conversations = Conversations()
    conversations.note([QUESTION], "Simmer it.", "llama")
    answer = Message("assistant", "Simmer it.")
    assert conversations.answered_by([QUESTION, answer, MORE]) == "llama"


def test_trimmed_answers_and_new_instructions_are_the_same_conversation() -> None:
    """Clients trim blanks, and programs write the time of day into the system's turn."""
    conversations = Conversations()
    conversations.note([Message("system", "It is 9:00."), QUESTION], " Simmer it.\n", "llama")
    now = [Message("system", "It is 9:01."), QUESTION, Message("assistant", "Simmer it."), MORE]
    assert conversations.answered_by(now) == "llama"


def test_other_words_are_another_conversation() -> None:
    """A new one, one with another answer, and one whose turns have other speakers."""
    conversations = Conversations()
    conversations.note([QUESTION], "Simmer it.", "llama")
    assert conversations.answered_by([QUESTION]) is None
    assert conversations.answered_by([QUESTION, Message("assistant", "Fry it."), MORE]) is None
    assert conversations.answered_by([MORE, Message("assistant", "Simmer it."), MORE]) is None


def test_the_longest_untouched_is_forgotten() -> None:
    """Memory is bounded: the oldest of three goes where two may stay."""
    conversations = Conversations(most=2)
    for word in ("a", "b", "c"):
        conversations.note([Message("user", word)], "yes", f"model-{word}")
    answer = Message("assistant", "yes")
    found = [conversations.answered_by([Message("user", w), answer, MORE]) for w in "abc"]
    assert found == [None, "model-b", "model-c"]
