"""What is repeated is told once in a while, with how often."""

import logging

import pytest

from streams.log_limit import LogLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def noisy(clock: Clock) -> logging.Logger:
    logger = logging.Logger("noisy", logging.DEBUG)
    logger.addHandler(LogLimit(every_s=10, clock=clock))
    return logger


def test_repetition_is_held_back_and_counted(
    noisy: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def speak(number: int) -> None:
        noisy.error("broker %d is away", number)

    for number in range(5):
        speak(number)
    assert caplog.messages == ["broker 0 is away"]
    clock.now += 10
    speak(9)
    assert caplog.messages[1:] == ["broker 9 is away (and 4 times more)"]
    clock.now += 10
    speak(9)
    assert caplog.messages[2:] == ["broker 9 is away"]


def test_another_line_of_code_is_another_message(noisy: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    noisy.error("one")
    noisy.error("other")
    assert caplog.messages == ["one", "other"]


def test_chatter_is_not_passed(noisy: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    noisy.info("chatter")
    assert caplog.messages == []
