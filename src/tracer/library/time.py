# `time` stands still here: no clock decides what a network is.
from _import import missing

__getattr__ = missing("time")


def time():
    return 0.0


perf_counter = monotonic = process_time = thread_time = time


def time_ns():
    return 0


perf_counter_ns = time_ns


def sleep(seconds):
    return None
