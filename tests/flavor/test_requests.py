"""Reading calls: every dress a row may come in, and what is refused before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Sampling
from edgechat.errors import RequestError
from edgechat.flavor.requests import read_calls

CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    "data",
    [
        {"prompt": ["one", "two"]},
        [{"prompt": "one"}, {"prompt": "two"}],
        ["one", "two"],
        {"prompt": np.array(["one", "two"], dtype=object)},
        pd.DataFrame({"prompt": ["one", "two"]}),
        pd.DataFrame({"prompt": [["one"], np.array(["two"], dtype=object)]}),
        pd.DataFrame({"prompt": ["one", "two"], "messages": [None, float("nan")]}),
        pd.Series(["one", "two"]),
    ],
)
def test_prompts(data: Any) -> None:
    calls = read_calls(data)
    assert [call.request.messages for call in calls] == [(Message("user", "one"),), (Message("user", "two"),)]
    assert not any(call.chat for call in calls)


@pytest.mark.parametrize("data", [{"prompt": "one"}, "one", {"prompt": ["one"]}, [{"prompt": ["one"]}]])
def test_one_prompt(data: Any) -> None:
    (call,) = read_calls(data)
    assert call.request.messages == (Message("user", "one"),)


@pytest.mark.parametrize(
    "data",
    [
        {"messages": CHAT},
        {"messages": [CHAT]},
        [{"messages": CHAT}],
        pd.DataFrame({"messages": [CHAT]}),
        pd.DataFrame({"messages": [np.array(CHAT, dtype=object)], "prompt": [None]}),
    ],
)
def test_messages(data: Any) -> None:
    (call,) = read_calls(data)
    assert call.chat
    assert call.request.messages == (Message("system", "Be kind."), Message("user", "Hi"))


def test_parameters_of_the_row_win() -> None:
    # pandas turns the whole number beside a missing one into a fraction.
    rows = pd.DataFrame({"prompt": ["a", "b"], "max_tokens": [5, float("nan")]})
    first, second = read_calls(rows, {"max_tokens": 3, "top_p": 0.5}, {"temperature": 0.0, "max_tokens": 9})
    assert (first.request.max_tokens, second.request.max_tokens) == (5, 9)
    assert first.request.sampling == Sampling(temperature=0.0, top_p=0.5)


def test_a_dictionary_of_columns() -> None:
    calls = read_calls({"prompt": np.array(["a", "b"]), "max_tokens": np.array([3, 4]), "temperature": 0.0})
    assert [(call.request.messages[0].content, call.request.max_tokens) for call in calls] == [("a", 3), ("b", 4)]
    calls = read_calls({"prompt": ["a", "b"], "temperature": [0, 0], "stop": ["x", "y"]})
    assert [call.request.stop for call in calls] == [("x", "y"), ("x", "y")]
    (call,) = read_calls({"messages": [CHAT], "max_tokens": [5]})
    assert (call.chat, call.request.max_tokens) == (True, 5)


@pytest.mark.parametrize("stop", ["END", ["END"], ("END",), np.array(["END"], dtype=object)])
def test_a_stop_may_be_one_string_or_several(stop: Any) -> None:
    assert read_calls({"prompt": "a", "stop": stop})[0].request.stop == ("END",)
    assert read_calls("a", {"stop": stop})[0].request.stop == ("END",)


def test_replies_with_a_seed_differ_and_can_be_had_again() -> None:
    (call,) = read_calls({"messages": CHAT, "n": 3, "seed": 7})
    assert [request.sampling.seed for request in call.requests()] == [7, 8, 9]
    (call,) = read_calls({"messages": CHAT, "n": 2})
    assert [request.sampling.seed for request in call.requests()] == [None, None]


USER = {"role": "user", "content": "Hi"}
PART = {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "no prompt"),
        ([], "no row"),
        (5, "int"),
        ({"prompt": None}, "no prompt"),
        ({"prompt": []}, "not text"),
        ({"prompt": ""}, "empty"),
        ({"prompt": 5}, "not text"),
        ({"prompt": "\ud800"}, "not text"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "not text"),
        ([{"text": "x"}], "no prompt"),
        ({"prompt": "a", "messages": [USER]}, "both"),
        ({"messages": []}, "No messages"),
        ({"messages": "Hi"}, "No messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool"),
        ({"messages": [{"role": "user", "content": [PART]}]}, "content"),
        ({"messages": [{"role": "user", "content": None}]}, "content"),
        ({"messages": [{**USER, "name": "Ann"}]}, "name"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty"),
        ({"messages": [USER, {"role": "assistant", "content": "x"}]}, "last message"),
        ({"messages": [{"role": "system", "content": "x"}]}, "last message"),
        ({"messages": [USER], "logprobs": True}, "logprobs"),
        ({"messages": [USER], "max_tokens": -1}, "max_tokens"),
        ({"messages": [USER], "max_tokens": 0}, "max_tokens"),
        ({"messages": [USER], "max_tokens": 1.5}, "max_tokens"),
        ({"messages": [USER], "temperature": 2.1}, "temperature"),
        ({"messages": [USER], "temperature": "warm"}, "temperature"),
        ({"messages": [USER], "top_p": 0}, "top_p"),
        ({"messages": [USER], "seed": -1}, "seed"),
        ({"messages": [USER], "n": 0}, "`n|\\.n"),
        ({"messages": [USER], "stop": [""]}, "stop"),
        ({"messages": [USER], "stream": "yes"}, "stream"),
        ({"prompt": "a", "n": 2}, "n is for messages"),
        ([{"prompt": "a"}, {"prompt": "b", "max_tokens": -1}], "Row 2"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(data: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        read_calls(data)
    assert caught.value.hint


def test_ten_thousand_prompts_are_read() -> None:
    assert len(read_calls({"prompt": [f"Question {number}" for number in range(10_000)]})) == 10_000
