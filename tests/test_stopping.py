"""Tests of mtml_tf.training.stopping; whole runs that are stopped are in test_run.py."""

import signal
import threading

import pytest

from mtml_tf.training.stopping import Signals, Stopping


@pytest.fixture
def signals():
    with Signals().heeded() as signals:
        yield signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_there_is_something_to_save_the_run_ends_at_once(signals, number):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_is_ended_and_saved(signals, number):
    saved = []
    stopping = Stopping(signals, 0, save=lambda _: saved.append("step"))
    stopping.params = {"steps": 9}
    stopping.on_train_batch_end(0, {})
    signal.raise_signal(number)
    assert not saved
    with pytest.raises(KeyboardInterrupt):
        stopping.on_train_batch_end(1, {})
    assert saved


def test_ctrl_c_once_more_ends_at_once(signals):
    signals.wait = True
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # told twice, as by a shell and by Slurm
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("when", ["before", "within"])
def test_what_is_done_again_is_left_at_once(signals, when):
    signals.wait, done = True, []
    with pytest.raises(KeyboardInterrupt):
        if when == "before":
            signal.raise_signal(signal.SIGTERM)
        with signals.at_once():
            done.append("validation begun")
            signal.raise_signal(signal.SIGTERM)
    assert bool(done) == (when == "within")
    assert signals.wait


def test_signals_are_given_back_and_an_ignored_one_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        term = signal.getsignal(signal.SIGTERM)
        with Signals().heeded():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != term
        assert signal.getsignal(signal.SIGTERM) == term
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_trains_without_signals():
    failed = []

    def heed():
        try:
            with Signals().heeded():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=heed)
    thread.start()
    thread.join()
    assert not failed
