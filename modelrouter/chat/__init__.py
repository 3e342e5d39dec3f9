"""Chats as a model family has them: how its tools are called, how its answers are read."""

from modelrouter.chat.families import family_of
from modelrouter.chat.preparing import Prepared, prepare
from modelrouter.chat.reader import AnswerReader, Part

__all__ = ["AnswerReader", "Part", "Prepared", "family_of", "prepare"]
