"""The batcher's rules one by one, on passes small enough to count by hand.

That they hold for any order of events is `properties/test_batcher.py`.
"""

from collections import Counter
from typing import Any

from modelrouter.engine.backend import EchoBackend, Sampler
from modelrouter.engine.batcher import SHARED_PREFILL_ROWS, Batcher, Event
from modelrouter.engine.drafts import LENGTHS
from modelrouter.engine.protocol import Failed, Finished, Generate, Text
from modelrouter.errors import EngineError, RequestError
from modelrouter.generation import Generation, Piece, Timings, Usage
from modelrouter.types import Sampling


class Desk:
    """A batcher over an EchoBackend, with a clock that is moved by hand."""

    def __init__(self, slots: int = 3, batch_rows: int = 200, logit_rows: int = 1) -> None:
        """Begin at 0 seconds."""
        self.seconds = 0.0
        self.backend = EchoBackend(
            slots=slots, context_tokens=256, batch_rows=batch_rows, logit_rows=logit_rows
        )
        self.batcher = Batcher(self.backend, clock=lambda: self.seconds)

    def submit(
        self, job_id: int, text: str, max_tokens: int | None = None, **wishes: Any
    ) -> list[Event]:
        """Hand a request over, a second after the one before."""
        self.seconds += 1
        piece = Piece(text, special=False)
        wanted = Generation((piece,), Sampling(), max_tokens, **wishes)
        return self.batcher.submit(Generate(job_id, wanted))

    def planned(self) -> dict[int, int]:
        """Plan a pass; return the number of rows for each sequence."""
        return dict(Counter(row.seq for row in self.batcher.plan()))

    def step(self) -> list[Event]:
        """Plan a pass and run it."""
        return self.batcher.commit(decoded=self.backend.decode(self.batcher.plan()))

    def timed_step(self, seconds: float, row_seconds: float = 0) -> None:
        """Plan a pass and run it; it takes so long, and longer for each row beyond the first."""
        rows = self.batcher.plan()
        self.seconds += seconds + row_seconds * (len(rows) - 1)
        self.batcher.commit(decoded=self.backend.decode(rows))

    def finish(self) -> list[Event]:
        """Run passes until nothing is left to do."""
        events: list[Event] = []
        while not self.batcher.is_idle:
            events += self.step()
        return events


def test_a_prompt_alone_takes_the_whole_pass() -> None:
    """Nobody waits for a next token, so nothing is gained by small chunks."""
    desk = Desk()
    desk.submit(0, "x" * 150)
    assert desk.planned() == {0: 151}


def test_a_prompt_beside_an_answer_comes_in_chunks() -> None:
    """The running answer has its row in every pass; the prompts share what is left of theirs."""
    desk = Desk()
    desk.submit(0, "abc")
    desk.step()
    desk.submit(1, "x" * 99)
    desk.submit(2, "y" * 99)
    assert desk.planned() == {0: 1, 1: SHARED_PREFILL_ROWS}
    desk.step()
    assert desk.planned() == {0: 1, 1: 100 - SHARED_PREFILL_ROWS, 2: 2 * SHARED_PREFILL_ROWS - 100}


def test_the_oldest_prompt_goes_first() -> None:
    """A newcomer in an earlier slot does not overtake a prompt that is half done."""
    desk = Desk(slots=2, batch_rows=10)
    desk.submit(0, "a")
    desk.submit(1, "x" * 50)
    desk.step()
    desk.batcher.cancel(0)
    desk.submit(2, "y" * 50)
    assert desk.planned() == {1: 10}


def test_of_equal_slots_the_one_left_longest_ago_is_taken() -> None:
    """What was said last is likeliest to be asked about again."""
    desk = Desk()
    for job_id, text in enumerate(["bb", "ccc", "a"]):
        desk.submit(job_id, text)
    desk.finish()
    desk.submit(3, "ddd")
    assert set(desk.planned()) == {2}
    desk.finish()
    desk.submit(4, "eee")
    assert set(desk.planned()) == {0}


def test_the_fuller_slot_is_taken() -> None:
    """A prompt goes where most of it lies already, however long ago that was."""
    desk = Desk()
    for job_id, text in enumerate(["ab", "abcd", "abc"]):
        desk.submit(job_id, text)
    desk.finish()
    desk.submit(3, "abcdx")
    assert desk.planned() == {1: 2}


def test_what_lies_beyond_the_prompt_is_no_merit() -> None:
    """Of two slots that hold the whole prompt the one left longest ago is taken, short or long."""
    desk = Desk()
    desk.submit(0, "abc")
    desk.submit(1, "abc")
    desk.step()
    desk.batcher.cancel(0)
    desk.finish()
    desk.submit(2, "abc")
    assert desk.planned() == {0: 1}


def test_a_failed_pass_ends_only_those_who_rode_it() -> None:
    """A prompt for which the pass had no room goes on as if nothing had been."""
    desk = Desk(slots=2, batch_rows=10)
    desk.submit(0, "x" * 9)
    desk.submit(1, "y" * 9)
    assert desk.planned() == {0: 10}
    error = EngineError("the pass failed", hint="mend it")
    assert desk.batcher.fail(error) == [Failed(0, "engine_failed", "the pass failed", "mend it")]
    assert desk.planned() == {1: 10}


def test_a_follow_up_prefills_only_what_is_new() -> None:
    """A prompt that begins like one before finds those tokens in the slot, its own end aside."""
    desk = Desk()
    desk.submit(0, "long beginning, ")
    desk.finish()
    desk.submit(1, "long beginning, new end")
    assert sum(desk.planned().values()) == len("new end") + 1
    assert isinstance(end := desk.finish()[-1], Finished)
    assert end.usage == Usage(prompt_tokens=24, completion_tokens=23, cached_tokens=16)


def test_the_same_prompt_again_is_one_row() -> None:
    """Its last token is decoded anew: the answer is drawn from that token's logits."""
    desk = Desk()
    desk.submit(0, "again")
    desk.finish()
    desk.submit(1, "again")
    assert desk.planned() == {0: 1}
    texts = [event.text for event in desk.finish() if isinstance(event, Text)]
    assert "".join(texts) == "again"


def test_times_are_counted_from_the_request() -> None:
    """Prefill lasts until the first token, waiting included; decode from there to the end."""
    desk = Desk()
    desk.submit(0, "ab")
    desk.seconds += 5
    desk.step()
    desk.seconds += 2
    assert isinstance(end := desk.finish()[-1], Finished)
    assert end.timings == Timings(prefill_seconds=5, decode_seconds=2)


def test_a_prompt_cancelled_in_the_queue_has_only_waited() -> None:
    """It never decoded, and all its time was before the first token."""
    desk = Desk()
    desk.submit(0, "ab")
    desk.seconds += 5
    assert desk.batcher.cancel(0) == [Finished(0, "cancelled", Usage(3, 0, 0), Timings(5, 0))]


def test_a_prompt_that_is_too_long_is_told_the_numbers() -> None:
    """It is refused when it comes, with what would help."""
    assert Desk().submit(0, "x" * 1999) == [
        Failed(
            0,
            "prompt_too_long",
            "the prompt has 2,000 tokens; the model's context holds 256, and the answer needs at "
            "least one of them",
            "shorten the prompt, raise `context` in models.toml, or name a model with a larger "
            "context",
        )
    ]


def test_a_prompt_that_leaves_room_for_one_token_is_answered() -> None:
    """The limit is where the message says it is; the last token drawn needs no room."""
    desk = Desk()
    assert desk.submit(0, "x" * 255)[0].id == 0
    assert desk.submit(1, "x" * 254) == []
    assert isinstance(end := desk.finish()[-1], Finished)
    assert (end.usage.completion_tokens, end.finish) == (2, "length")


def test_an_empty_prompt_is_refused() -> None:
    """There is nothing that logits could be asked of."""
    assert Desk().submit(0, "") == [Failed(0, "bad_request", "the prompt has no tokens", None)]


def test_logprobs_come_with_the_text_that_is_shown() -> None:
    """The chances of a token go out with its text, and a stop string's tokens tell none."""
    desk = Desk()
    desk.submit(0, "abéxyz", stop=("xy",), logprobs=1)
    told = [event for event in desk.finish() if isinstance(event, Text)]
    assert "".join(event.text for event in told) == "abé"
    chances = [each.drawn for event in told for each in event.logprobs]
    assert b"".join(bytes(chance.bytes) for chance in chances) == "abé".encode()
    assert all(len(each.top) == 1 for event in told for each in event.logprobs)


def test_logprobs_are_only_told_where_asked_for() -> None:
    """Without the wish no event carries any."""
    desk = Desk()
    desk.submit(0, "ab")
    assert all(not event.logprobs for event in desk.finish() if isinstance(event, Text))


# ---- drafts -------------------------------------------------------------------------------------


def timed(row_seconds: float, logit_rows: int, text: str = "abcdefgh" * 8) -> tuple[float, int]:
    """Echo a text where each row beyond the first costs so much of a pass; return the seconds of
    all passes and their number.
    """
    desk = Desk(logit_rows=logit_rows)
    desk.submit(0, text)
    passes, began = 0, desk.seconds
    while not desk.batcher.is_idle:
        desk.timed_step(1, row_seconds)
        passes += 1
    return desk.seconds - began, passes


def test_drafts_ride_where_rows_are_free() -> None:
    """A copied text takes far fewer passes, and so much less time."""
    plain_seconds, plain_passes = timed(0, logit_rows=1)
    seconds, passes = timed(0, logit_rows=16)
    assert plain_seconds == plain_passes == 65
    assert seconds == passes
    assert plain_passes >= 4 * passes


def test_drafts_stay_away_where_rows_cost_as_much_as_passes() -> None:
    """Each length is tried once, which tells."""
    plain_seconds, _ = timed(2, logit_rows=1)
    seconds, _ = timed(2, logit_rows=16)
    assert plain_seconds <= seconds <= plain_seconds + sum(2 * length for length in LENGTHS)


def test_drafts_pay_for_their_rows() -> None:
    """Where a row costs a third of a pass, a copied text still comes sooner with drafts."""
    assert timed(1 / 3, logit_rows=16)[0] < 0.8 * timed(1 / 3, logit_rows=1)[0]


def test_nothing_is_drafted_beside_a_prompt() -> None:
    """Such a pass takes long enough as it is."""
    desk = Desk(logit_rows=16)
    desk.submit(0, "ab" * 20)
    for _ in range(5):
        desk.timed_step(1)
    assert desk.planned()[0] > 1
    desk.submit(1, "x" * 99)
    assert desk.planned() == {0: 1, 1: SHARED_PREFILL_ROWS}


def test_answers_in_company_have_equally_many_rows() -> None:
    """llama.cpp runs unequal ones in turns: one without a guess has as many as the others."""
    desk = Desk(logit_rows=16)
    desk.submit(0, "ab" * 20)
    desk.submit(1, "qwertzuiopasdfghjklyxcvbnm")
    for _ in range(4):
        desk.timed_step(1)
    rows = desk.batcher.plan()
    counts = Counter(row.seq for row in rows)
    assert counts[0] == counts[1] > 1
    assert [row.seq for row in rows] == sorted(row.seq for row in rows)


def test_a_warm_up_reads_the_prompt_and_answers_nothing() -> None:
    """What it read is there for the prompt that begins with it."""
    desk = Desk()
    desk.submit(0, "abcd", max_tokens=0)
    assert desk.finish() == [Finished(0, "length", Usage(5, 0, 0), Timings(0.0, 0.0))]
    desk.submit(1, "abcd")
    assert desk.finish()[-1].usage.cached_tokens == 4  # type: ignore[union-attr]


def test_a_warm_up_rides_where_nobody_else_does() -> None:
    """Whoever waits for an answer has the pass to himself, also a newcomer in prefill."""
    desk = Desk()
    desk.submit(0, "w" * 150, max_tokens=0)
    assert desk.planned() == {0: SHARED_PREFILL_ROWS}
    desk.submit(1, "abc")
    assert desk.planned() == {1: 4}
    desk.step()
    assert desk.planned() == {1: 1}
    desk.batcher.cancel(1)
    assert desk.planned() == {0: SHARED_PREFILL_ROWS}


def test_a_warm_up_that_waits_makes_no_pass_small() -> None:
    """Whoever is asked something is read as fast as if it were alone."""
    desk = Desk()
    desk.submit(0, "w" * 150, max_tokens=0)
    desk.step()
    desk.submit(1, "x" * 150)
    assert desk.planned() == {1: 151}


def test_a_prompt_out_of_time_is_an_empty_answer() -> None:
    """It ends after the pass in which its time was up; what was read stays for the next."""
    desk = Desk()
    desk.submit(0, "x" * 150, prompt_seconds=1.0)
    assert desk.planned() == {0: SHARED_PREFILL_ROWS}
    assert desk.step() == []
    desk.seconds += 1
    usage = Usage(151, 0, 0)
    assert desk.step() == [Finished(0, "length", usage, Timings(1.0, 0.0))]
    desk.submit(1, "x" * 150)
    assert desk.planned() == {0: 151 - 2 * SHARED_PREFILL_ROWS}


def test_an_answer_out_of_time_is_what_there_is_of_it() -> None:
    """Its clock begins when the prompt is read; the token of the last pass counts."""
    desk = Desk()
    desk.submit(0, "abc", prompt_seconds=0.5, answer_seconds=2.0)
    assert desk.step() == [Text(0, "a")]
    desk.seconds += 1
    assert desk.step() == [Text(0, "b")]
    desk.seconds += 1
    text, end = desk.step()
    assert text == Text(0, "c")
    assert end == Finished(0, "length", Usage(4, 3, 0), Timings(0.0, 2.0))


def test_a_request_may_have_ends_of_its_own() -> None:
    """A token among them ends the answer as the model's own end does, and is not shown."""
    desk = Desk()
    desk.submit(0, "ab;cd", end_ids=(ord(";"),))
    *texts, end = desk.finish()
    assert "".join(event.text for event in texts if isinstance(event, Text)) == "ab"
    assert isinstance(end, Finished)
    assert (end.finish, end.usage.completion_tokens) == ("stop", 2)


def test_a_line_indented_less_ends_the_answer() -> None:
    """The rest of the answer is neither drawn nor shown."""
    desk = Desk()
    desk.submit(0, "  a\n  b\nc\n  d", indent=2)
    *texts, end = desk.finish()
    assert "".join(event.text for event in texts if isinstance(event, Text)) == "  a\n  b"
    assert isinstance(end, Finished)
    assert (end.finish, end.usage.completion_tokens) == ("stop", 9)


class HalfDumb(EchoBackend):
    """Its token b is a control token, and its token x can be drawn by no grammar."""

    def bytes_of(self, token: int) -> bytes:
        """Return b"" for the control token."""
        return b"" if token == ord("b") else super().bytes_of(token)

    def sampler(self, sampling: Sampling, grammar: str | None = None) -> Sampler:
        """Return a sampler that breaks off at an x."""
        return BreaksOff(super().sampler(sampling, grammar))


class BreaksOff:
    """Draws as another sampler does, but no x."""

    def __init__(self, sampler: Sampler) -> None:
        """Draw as `sampler` does."""
        self._sampler = sampler
        self.close = sampler.close

    def sample(self, row: int) -> int:
        """Return a token that is no x."""
        token = self._sampler.sample(row)
        if token == ord("x"):
            raise RequestError("no x")
        return token


def half_dumb(*texts: str, spelled: tuple[str, ...] = ()) -> list[Event]:
    """Return what comes of these prompts on a `HalfDumb` backend."""
    desk = Desk()
    desk.backend = HalfDumb(slots=3, context_tokens=256, batch_rows=200)
    desk.batcher = Batcher(desk.backend, clock=lambda: desk.seconds)
    for number, text in enumerate(texts):
        wanted = Generation((Piece(text, special=False),), Sampling(), spelled=spelled)
        desk.batcher.submit(Generate(number, wanted))
    return desk.finish()


def test_a_control_token_is_spelled_where_the_request_wants_it() -> None:
    """It has no bytes; one that an answer is read by stands in the text all the same."""

    def text(events: list[Event]) -> str:
        return "".join(event.text for event in events if isinstance(event, Text))

    assert text(half_dumb("abc")) == "ac"
    assert text(half_dumb("abc", spelled=("b", "no token"))) == "abc"


def test_an_answer_that_cannot_go_on_ends_alone() -> None:
    """A sampler that finds no token fails its own request; the others of the pass go on."""
    events = half_dumb("ax", "ab")
    assert Failed(0, "bad_request", "no x", None) in events
    assert [event.id for event in events if isinstance(event, Finished)] == [1]
    assert [event.text for event in events if isinstance(event, Text) and event.id == 0] == ["a"]
