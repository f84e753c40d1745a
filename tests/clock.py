"""A clock that only tests move."""


class Clock:
    """In place of the module `time`: goes on only while somebody sleeps, or at every look."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def replace_time(monkeypatch, *modules, tick=0.0):
    """Gives modules a clock in place of `time`, and returns it."""
    clock = Clock(tick)
    for module in modules:
        monkeypatch.setattr(module, "time", clock)
    return clock
