"""The parameter server: the newest versions."""

import threading

import pytest

from expedition.runtime import QueueClosed
from expedition.runtime.parameters import ParameterServer, Versioned


def test_a_version_is_waited_for():
    server, found = ParameterServer(Versioned(0, "zero")), []
    thread = threading.Thread(target=lambda: found.append(server.at(2)))
    thread.start()
    server.publish(1, "one")
    assert not found
    server.publish(2, "two")
    thread.join(timeout=10)
    assert found == [Versioned(2, "two")]
    assert server.at(1) == Versioned(1, "one")
    assert server.latest() == Versioned(2, "two")
    assert server.held() == [Versioned(1, "one"), Versioned(2, "two")]


def test_a_version_that_is_gone_is_an_error():
    server = ParameterServer(Versioned(0, None))
    for version in (1, 2):
        server.publish(version, None)
    with pytest.raises(ValueError, match=r"version 0 was asked for; there are \[1, 2\]"):
        server.at(0)
    with pytest.raises(ValueError, match="version 2 was published after 2"):
        server.publish(2, None)


def test_close_wakes_who_waits():
    server, ended = ParameterServer(Versioned(0, None)), []

    def wait():
        try:
            server.at(1)
        except QueueClosed:
            ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    server.close()
    thread.join(timeout=10)
    assert ended == [True]
