"""What of a conversation is classified: a person's words, the last first, and no program's."""

import pytest

from modelrouter.classifier import Classifier
from modelrouter.classifier.conversation import (
    HARNESS_TAGS,
    Said,
    is_side_job,
    said_in,
    without_harness,
)
from modelrouter.types import Message, Request, Speaker

CODE_START = "Write a Python script that renames all photos in a folder by their date."
GENERAL_START = "Write a speech of two minutes for my sister's wedding in June."

FOLLOW_UPS = [
    "now make it faster",
    "yes, do it",
    "shorter please",
    "why?",
    "ok, and now without the second part",
    "can you explain the first line",
    "try again",
    "thanks! one more version",
    "und jetzt noch kürzer",
    "可以再短一点吗",
]

SIDE_JOB = (
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n"
    '### Output:\nJSON format: { "title": "your concise title here" }\n'
    "### Chat History:\n<chat_history>\nUSER: how do I poach an egg\n</chat_history>"
)


def turns(*contents: str) -> tuple[Message, ...]:
    """Return a chat in which the user speaks first, and every second turn is the assistant's."""
    speakers: tuple[Speaker, Speaker] = ("user", "assistant")
    return tuple(Message(speakers[at % 2], content) for at, content in enumerate(contents))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Return the shipped classifier."""
    return Classifier.load()


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (turns("a"), Said("a")),
        (turns("a", "b", "c"), Said("c", ("a",))),
        (turns("a", "b", "c", "d", "e", "f", "g"), Said("g", ("e", "c"))),
        ((Message("system", "s"), *turns("a", "b", "c")), Said("c", ("a",))),
        (turns("a", "b"), Said("a")),
        (turns("a", "b", "<tools>[]</tools>"), Said("a")),
        (turns("<tools>[]</tools>"), Said("<tools>[]</tools>")),
        ((Message("system", "s"), Message("assistant", "b")), Said("b")),
    ],
    ids=[
        "one turn",
        "a turn and one before it",
        "two turns before it at most",
        "a system text is no turn",
        "an assistant had the last word",
        "a turn of a program's words alone is passed over",
        "nothing but a program's words",
        "no user spoke",
    ],
)
def test_the_persons_turns_are_found(messages: tuple[Message, ...], said: Said) -> None:
    """The last turn of the user, and up to two before it, newest first."""
    assert said_in(messages) == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("poach an egg", "poach an egg"),
        ("<task>\npoach an egg\n</task>", "poach an egg"),
        (
            "egg\n<environment_details>\n# Open Tabs\nmain.py\n</environment_details>",
            "egg",
        ),
        (
            "<system-reminder>a</system-reminder>one <system-reminder>b</system-reminder>two",
            "one two",
        ),
        ("<tools>[]", "<tools>[]"),
        ("</tools>egg<tools>", "</tools>egg<tools>"),
        (SIDE_JOB, "USER: how do I poach an egg"),
        ("### Task:\nRespond.\n<user_query>\negg\n</user_query>", "egg"),
        ("### Task:\nList five eggs.", "### Task:\nList five eggs."),
    ],
    ids=[
        "a person's words stay",
        "an agent's frame around the task goes",
        "the editor's state goes",
        "several blocks go",
        "a block that stays open stays",
        "tags the wrong way round stay",
        "a chat program's own job is about the chat",
        "or about the query",
        "or about all of it",
    ],
)
def test_what_a_program_wrote_is_left_out(text: str, words: str) -> None:
    """Blocks of agents and chat programs go; what a person wrote stays as it is."""
    assert without_harness(text) == words


@pytest.mark.parametrize("tag", HARNESS_TAGS)
def test_every_harness_block_is_left_out(classifier: Classifier, tag: str) -> None:
    """Code in such a block does not turn an everyday question into a programming one."""
    block = f"<{tag}>\ndef main():\n    import os; os.system('ls -la | grep x')\n</{tag}>"
    question = Message("user", "How long should I boil an egg?")
    framed = Message("user", f"{block}\n{question.content}\n{block}")
    assert classifier.predict(Request((framed,))) == classifier.predict(Request((question,)))


@pytest.mark.parametrize("tag", HARNESS_TAGS)
def test_many_open_tags_cost_no_more_than_their_length(tag: str) -> None:
    """Ten megabytes of tags, open, closed or mixed, are searched once and not for each tag."""
    opened, closed = f"<{tag}>" * 500_000, f"</{tag}>" * 500_000
    assert without_harness(opened) == opened
    assert without_harness(closed + opened) == closed + opened
    assert without_harness(opened + closed).startswith("</")


@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@pytest.mark.parametrize(("start", "field"), [(CODE_START, "code"), (GENERAL_START, "general")])
def test_a_follow_up_belongs_to_its_conversation(
    classifier: Classifier, start: str, field: str, follow_up: str
) -> None:
    """A short turn that says nothing of a field has the field of what it follows."""
    assert classifier.predict(Request(turns(start, "Here it is.", follow_up))).field == field


@pytest.mark.parametrize(
    ("start", "question", "field"),
    [
        (CODE_START, "What is the capital of Mongolia?", "general"),
        (CODE_START, "how long do I boil an egg", "general"),
        (GENERAL_START, "TypeError: 'int' object is not iterable", "code"),
        (GENERAL_START, "how do I undo a git push", "code"),
        (GENERAL_START, "Write a Python function that merges two sorted lists.", "code"),
    ],
)
def test_a_new_subject_is_seen(
    classifier: Classifier, start: str, question: str, field: str
) -> None:
    """A turn that says its field itself is not drowned by the turns before it."""
    assert classifier.predict(Request(turns(start, "Here it is.", question))).field == field


def test_a_long_turn_stands_for_itself(classifier: Classifier) -> None:
    """What is long enough to say its field is not judged by what came before."""
    question = "Please tell me how long I should boil an egg so that the yolk stays soft inside."
    within = classifier.predict(Request(turns(CODE_START, "Here it is.", question)))
    assert within == classifier.predict(Request(turns(question)))


def test_earlier_turns_are_named_as_a_reason(classifier: Classifier) -> None:
    """Where the turns before decided, the explanation says so."""
    features = classifier.predict(Request(turns(CODE_START, "Here it is.", "yes, do it"))).features
    assert any(f.text == "earlier turns" and f.weight > 0 for f in features)


@pytest.mark.parametrize(
    "messages",
    [
        turns(SIDE_JOB),
        turns("how do I poach an egg", "Simmer it.", "Write a title of 3 to 5 words for our chat."),
        turns("poach an egg", "Simmer it.", "Give this conversation a concise title."),
        (
            Message("system", "You name chats. Output only a title of the conversation."),
            Message("user", "how do I poach an egg"),
        ),
    ],
    ids=["an opening", "a number of words", "concise", "in the instructions"],
)
def test_a_programs_side_job_is_background(
    messages: tuple[Message, ...], classifier: Classifier
) -> None:
    """Titles and tags are asked for by programs; nobody waits for them."""
    assert is_side_job(messages)
    assert classifier.predict(Request(messages)).task == "background"


@pytest.mark.parametrize(
    "text",
    [
        "Suggest a title for my thesis on bees",
        "how do I end a session in tmux, only the command please",
        "what was the topic of the conversation we had about bread?",
        CODE_START,
    ],
)
def test_a_persons_ask_is_a_chat(text: str, classifier: Classifier) -> None:
    """A sign or two alone are what people say."""
    assert not is_side_job(turns(text))
    assert classifier.predict(Request(turns(text))).task == "chat"
