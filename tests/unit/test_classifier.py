"""The shipped classifier, asked as people ask: fields, scores, reasons."""

import subprocess
import sys

import pytest

from modelrouter.classifier import Classifier
from modelrouter.types import Message, Request

CODE_PROMPTS = [
    "Write a Python function that merges two sorted lists.",
    "how do I undo a git push",
    "SELECT name FROM pets WHERE age >",
    "TypeError: 'int' object is not iterable",
    "awk '{print $3}' access.log | sort | uniq -c",
    "regex that matches an IPv4 address",
    "def fizzbuzz(n):\n    for i in range(1, n + 1):\n",
    "fn main() {\n    let args: Vec<String> = std::env::args().collect();\n",
    "#include <vector>\n\nint main() {\n",
    "Dockerfile for a Rust binary, as small as it gets",
    "Fix this:\n```js\nlet a = [1,2,3]\na.foreach(x => console.log(x))\n```",
    "My React component renders twice, why?",
    "docker compose says port is already allocated",
    "Schreibe eine Funktion in Java, die eine Zeichenkette umdreht.",
    "écris une fonction python qui calcule la moyenne d'une liste",
    "用 Java 写一个二分查找",
    "wirte a pyhton scirpt that renames fiels",
    "Explain what this does: x = [i for i in range(10) if i % 2]",
    "How do I parse JSON in C++?",
    "css grid with three columns that collapse on phones",
]

GENERAL_PROMPTS = [
    "What is the capital of Mongolia?",
    "Are ball pythons good pets for a family?",
    "Write a poem about the first snow.",
    "What should I cook with leftover rice?",
    "good afternoon, nice to meet you",
    "Who won the football world cup in 1998?",
    "Suggest three birthday presents for a ten year old.",
    "Translate 'good morning, how did you sleep' into Italian.",
    "Anna has 14 pears and gives away 5. How many are left?",
    "How long should I boil an egg?",
    "Write a cover letter for a position as a nurse.",
    "Wie lange hält sich gekochter Reis im Kühlschrank?",
    "Raconte-moi une histoire pour endormir ma fille.",
    "给我讲一个关于月亮的故事",
    "Which wine goes with grilled salmon?",
    "My knee hurts after running, what could it be?",
    "Summarise the plot of Hamlet in four sentences.",
    "Is Java worth a trip in the rainy season?",
    "wich is teh bigest ocaen in teh wrold",
    "Tell me about the life of Marie Curie.",
]


def ask(text: str) -> Request:
    """Return a chat of one message."""
    return Request((Message("user", text),))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Return the shipped classifier."""
    return Classifier.load()


@pytest.mark.parametrize("text", CODE_PROMPTS)
def test_a_prompt_about_code_is_code(classifier: Classifier, text: str) -> None:
    """A plain programming question goes to the code field."""
    assert classifier.predict(ask(text)).field == "code"


@pytest.mark.parametrize("text", GENERAL_PROMPTS)
def test_an_everyday_prompt_is_general(classifier: Classifier, text: str) -> None:
    """An everyday question goes to the general field, even where a code word stands in it."""
    assert classifier.predict(ask(text)).field == "general"


def test_scores_name_every_field_and_the_confidence(classifier: Classifier) -> None:
    """Scores cover the fields and sum to 1; the highest is the field and its confidence."""
    prediction = classifier.predict(ask("reverse a string in Go"))
    assert tuple(prediction.scores) == classifier.fields == ("code", "general")
    assert sum(prediction.scores.values()) == pytest.approx(1)
    assert prediction.confidence == max(prediction.scores.values())
    assert prediction.scores[prediction.field] == prediction.confidence


def test_features_are_the_prompts_own_words(classifier: Classifier) -> None:
    """Reasons are words of the prompt or named structure, eight at most, strongest first."""
    features = classifier.predict(ask("Reverse a linked list in Python")).features
    weights = [abs(feature.weight) for feature in features]
    assert len(features) == 8
    assert weights == sorted(weights, reverse=True)
    assert any(f.text == "in python" and f.weight > 0 for f in features) or any(
        f.text == "python" and f.weight > 0 for f in features
    )


def test_a_fence_is_named_in_readable_words(classifier: Classifier) -> None:
    """Structure appears under a name that people read."""
    features = classifier.predict(ask("what is wrong?\n```\nx = (1, 2\n```")).features
    assert {"fenced code", "brackets"} & {feature.text for feature in features}


def test_a_repeated_word_is_named_once(classifier: Classifier) -> None:
    """A word that comes a hundred times is one reason, not eight."""
    texts = [f.text for f in classifier.predict(ask("sushi " * 100)).features]
    assert len(texts) == len(set(texts))


def test_the_last_user_message_decides(classifier: Classifier) -> None:
    """What a system text or an earlier turn says does not sway the prediction."""
    question = Message("user", "How long should I boil an egg?")
    alone = classifier.predict(Request((question,)))
    within = Request(
        (
            Message("system", "You are an expert Python programmer. Answer in code."),
            Message("user", "write a bash loop"),
            Message("assistant", "for f in *; do echo $f; done"),
            question,
        )
    )
    assert classifier.predict(within) == alone


def test_a_chat_without_a_user_is_judged_by_its_last_message(classifier: Classifier) -> None:
    """Where no user spoke, the last message is what there is to judge."""
    request = Request((Message("system", "fix this python function: def f(x) return x"),))
    assert classifier.predict(request).field == "code"


def test_a_completion_is_code_by_its_kind(classifier: Classifier) -> None:
    """What an editor sends to be completed is code for certain, whatever it says."""
    text = (Message("user", "Once upon a time"),)
    prediction = classifier.predict(Request(text, task="completion"))
    assert (prediction.field, prediction.confidence) == ("code", 1.0)
    assert prediction.scores == {"code": 1.0, "general": 0.0}
    assert [feature.text for feature in prediction.features] == ["completion request"]


def test_the_middle_of_a_long_prompt_is_not_read(classifier: Classifier) -> None:
    """Only head and tail of a long prompt count, so that cost has a bound."""
    head, tail = "Please tell me a story. " * 150, "And they lived happily. " * 60
    plain = classifier.predict(ask(head + "The sea was calm. " * 500 + tail))
    coded = classifier.predict(ask(head + "int main() { return 0; } " * 500 + tail))
    assert plain == coded


def test_predicting_imports_no_sklearn() -> None:
    """Loading and predicting need numpy alone: no scikit-learn, no scipy, no pickle of a model."""
    script = (
        "import sys\n"
        "from modelrouter.classifier import Classifier\n"
        "from modelrouter.types import Message, Request\n"
        "Classifier.load().predict(Request((Message('user', 'sort a list'),)))\n"
        "print(sorted({'sklearn', 'scipy', 'joblib'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
