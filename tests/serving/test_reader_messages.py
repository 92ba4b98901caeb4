"""What the server and a process that reads for it say to each other."""

from __future__ import annotations

import itertools
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfapp.serving.json_numbers import number_inputs
from tfapp.serving.reader_messages import (
    Frame,
    Frames,
    Kind,
    decode_question,
    encode_question,
    send_socket,
    take_socket,
)

_frames = st.builds(
    Frame, st.sampled_from(list(Kind)), st.integers(0, 2**32 - 1), st.binary(max_size=40)
)


@given(frames=st.lists(_frames, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_frames_come_whole_however_they_are_cut(frames, cuts):
    sent = b"".join(frame.encoded() for frame in frames)
    ends = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    reader, found = Frames(), []
    for start, end in itertools.pairwise(ends):
        found += reader.feed(sent[start:end])

    assert found == frames


def test_a_question_says_what_was_asked_and_when():
    inputs = number_inputs(b'{"signature_name":"s","instances":[[1,2.5],[-3,4e2]]}').packed()

    question = decode_question(encode_question("/v1/models/\xe4%20b:predict", 12.25, 77, inputs))

    assert (question.path, question.arrived) == ("/v1/models/\xe4%20b:predict", 12.25)
    assert (question.body_bytes, question.inputs.signature) == (77, "s")
    assert question.inputs.rows
    assert question.inputs.packed() == inputs


def test_sockets_come_in_their_order_and_are_not_inherited():
    mine, theirs = socket.socketpair()
    with mine, theirs:
        theirs.setblocking(False)
        ends = [socket.socketpair() for _ in range(3)]
        for given_away, _ in ends:
            with given_away:
                send_socket(mine, given_away.fileno())
        for number, (_, kept) in enumerate(ends):
            with take_socket(theirs) as taken, kept:
                kept.sendall(bytes([number]))
                assert taken.recv(1) == bytes([number])
                assert not os.get_inheritable(taken.fileno())
        with pytest.raises(BlockingIOError):
            take_socket(theirs)
