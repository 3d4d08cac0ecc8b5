"""srlib.book.timing: fair turns, and operations counted by hand."""

import keras
import pytest

from srlib import models
from srlib.book import timing


class Clock:
    """Time passes only while a contender works."""

    def __init__(self, monkeypatch):
        self.now, self.calls = 0.0, []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def works(self, name: str, *seconds: float):
        """A contender that takes these times, the last one for ever."""
        left = list(seconds)

        def call():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_the_best_round_counts_and_the_first_call_does_not(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {"a": clock.works("a", 0.0, 5.0, 3.0, 4.0), "b": clock.works("b", 90.0, 1.0)}
    assert timing.fastest(calls, rounds=2, least=0.5, patience=99) == {"a": 3.0, "b": 1.0}


def test_contenders_take_turns(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {name: clock.works(name, 1.0) for name in "abc"}
    timing.fastest(calls, rounds=3, least=1.0, patience=99)
    assert "".join(clock.calls) == "aabbcc" + "abc" * 3


def test_short_contenders_are_repeated_and_long_ones_dropped(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {"short": clock.works("short", 0.25), "long": clock.works("long", 2.0)}
    seconds = timing.fastest(calls, rounds=4, least=1.0, patience=3.0)
    assert seconds == {"short": 0.25, "long": 2.0}  # of one call, not of a round
    # 0.25 s in the second call, then 1 s a round until 3 s are spent; 2 s, then 2 s.
    assert clock.calls.count("short") == 2 + 3 * 4
    assert clock.calls.count("long") == 2 + 1


def test_without_rounds_the_second_call_counts(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {"a": clock.works("a", 9.0, 2.0, 1.0)}
    assert timing.fastest(calls, rounds=0) == {"a": 2.0}
    assert clock.calls == ["a", "a"]


def test_tensors_are_waited_for():
    class Queued:
        waited = 0

        def numpy(self):
            Queued.waited += 1

    timing.fastest({"queued": Queued}, rounds=1, least=0.0)
    assert Queued.waited == 3


@pytest.mark.parametrize("training_too", [False, True])
def test_operations_of_bare_convolutions_by_hand(monkeypatch, training_too):
    seen = []

    def two_seconds(contenders, rounds):
        seen.extend(call().shape for call in contenders.values())
        return dict.fromkeys(contenders, 2.0)

    monkeypatch.setattr(timing, "fastest", two_seconds)
    speeds = timing.convolution_speed(8, ((1, 10), (3, 5)), training=training_too)
    # Nine weights for each pair of channels, a product and a sum each, at every pixel.
    one = 9 * 8 * 8 * 2
    times = 4 * 3 if training_too else 1  # four convolutions; their gradients cost twice as much
    assert speeds == {
        (1, 10): pytest.approx(one * times * 100 / 2 / 1e9),
        (3, 5): pytest.approx(one * times * 75 / 2 / 1e9),
    }
    # In training the call returns one number that every gradient is part of.
    assert seen == ([(), ()] if training_too else [(1, 10, 10, 8), (3, 5, 5, 8)])


def test_the_count_of_a_network_agrees_with_that_of_bare_convolutions():
    low = keras.Input((None, None, 8), name="low")
    x = low
    for _ in range(4):
        x = keras.layers.Conv2D(8, 3, padding="same")(x)
    assert models.flops(keras.Model(low, x), 10, 10) == 4 * 2 * 9 * 8 * 8 * 100
