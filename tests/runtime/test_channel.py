"""The bounded queue: order, bounds, and a close that wakes everyone."""

import threading
import time

import pytest

from expedition.runtime.channel import BoundedQueue, QueueClosed


def in_thread(function):
    """Runs the function in a thread; returns the thread and the list its outcome goes to."""
    outcome = []

    def target():
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, outcome


def test_items_come_out_in_order():
    queue = BoundedQueue(3)
    for item in range(3):
        queue.put(item)
    assert len(queue) == 3
    assert [queue.get() for _ in range(3)] == [0, 1, 2]


def test_a_full_queue_blocks_until_there_is_room():
    queue = BoundedQueue(1)
    queue.put("first")
    with pytest.raises(TimeoutError):
        queue.put("second", timeout=0.05)
    thread, _ = in_thread(lambda: queue.put("second"))
    assert queue.get() == "first"
    thread.join(5)
    assert queue.get(timeout=5) == "second"


def test_an_empty_queue_times_out():
    with pytest.raises(TimeoutError):
        BoundedQueue(1).get(timeout=0.05)


def test_close_wakes_every_waiting_producer_with_an_error():
    queue = BoundedQueue(1)
    queue.put(0)
    waiting = [in_thread(lambda: queue.put(1)) for _ in range(4)]
    time.sleep(0.05)
    queue.close()
    for thread, outcome in waiting:
        thread.join(5)
        assert isinstance(outcome[0], QueueClosed)
    assert list(queue) == [0]  # none of their items got in


def test_close_wakes_every_waiting_consumer():
    queue = BoundedQueue(1)
    waiting = [in_thread(lambda: list(queue)) for _ in range(4)]
    time.sleep(0.05)
    queue.close()
    for thread, outcome in waiting:
        thread.join(5)
        assert outcome == [[]]


def test_what_is_left_comes_out_after_close_and_then_the_end():
    queue = BoundedQueue(2)
    queue.put(1)
    queue.put(2)
    queue.close()
    queue.close()
    assert list(queue) == [1, 2]
    with pytest.raises(QueueClosed):
        queue.get()
    with pytest.raises(QueueClosed):
        queue.put(3)


def test_it_is_never_over_its_capacity_under_many_threads():
    queue, deepest, total = BoundedQueue(3), [], []

    def produce():
        for item in range(200):
            queue.put(item)
            deepest.append(len(queue))

    producers = [in_thread(produce)[0] for _ in range(4)]
    consumers = [in_thread(lambda: total.append(sum(queue)))[0] for _ in range(3)]
    for thread in producers:
        thread.join(20)
    queue.close()
    for thread in consumers:
        thread.join(20)
    assert sum(total) == 4 * sum(range(200))
    assert max(deepest) <= 3


def test_a_capacity_below_one_is_refused():
    with pytest.raises(ValueError, match=r"0 was given; expected at least 1"):
        BoundedQueue(0)
