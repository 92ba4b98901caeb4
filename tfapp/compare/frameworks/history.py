"""Frameworks of the notes' years that are not measured: those that ended, and two that did not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """A framework that is developed no more.

    Attributes:
        name: Its name.
        year: Of the fact.
        fact: What happened.
        source: Where it is written.
    """

    name: str
    year: int
    fact: str
    source: str


@dataclass(frozen=True)
class Unmeasured:
    """A framework that goes on, and is not measured here.

    Attributes:
        name: Its name.
        reason: Why it is not.
        source: Where the reason is written.
    """

    name: str
    reason: str
    source: str


ENDED: tuple[Ended, ...] = (
    Ended(
        "Lasagne",
        2015,
        "its only release, 0.1; it needs Theano",
        # Source: no other version was ever published.
        source="https://github.com/Lasagne/Lasagne/blob/master/CHANGES.rst",
    ),
    Ended(
        "Caffe",
        2017,
        "its last release, 1.0",
        # Source: the list of releases of the same repository says that none followed.
        source="https://github.com/BVLC/caffe/pull/5539",
    ),
    Ended(
        "Theano",
        2017,
        "its makers announced the end of its development after 1.0",
        source="https://groups.google.com/forum/#!topic/theano-users/7Poq8BZutbY",
    ),
    Ended(
        "Torch (Lua)",
        2017,
        "its site tells of maintenance mode; development moved to PyTorch",
        # Source: quoted there in December 2017; https://github.com/torch/torch7 says so undated.
        source="https://github.com/torch/distro/issues/246",
    ),
    Ended(
        "Caffe2",
        2018,
        "merged into PyTorch",
        source="https://caffe2.ai/blog/2018/05/02/Caffe2_PyTorch_1_0.html",
    ),
    Ended(
        "CNTK",
        2019,
        "its last main release, 2.7, announced as such",
        # Source: the year by https://github.com/microsoft/CNTK/issues/3563, where it is awaited.
        source="https://github.com/microsoft/CNTK",
    ),
    Ended(
        "Chainer",
        2019,
        "its makers moved to PyTorch and only maintain it",
        source="https://beam2d.net/blog/2019/12/10/chainer-look-back-en",
    ),
    Ended(
        "MXNet",
        2023,
        "retired by the Apache Software Foundation",
        # Source: the year by https://github.com/apache/mxnet, archived on 17 November 2023.
        source="https://attic.apache.org/projects/mxnet.html",
    ),
)

UNMEASURED: tuple[Unmeasured, ...] = (
    Unmeasured(
        "DL4J",
        "it runs on the Java virtual machine",
        source="https://deeplearning4j.konduit.ai",
    ),
    Unmeasured(
        "PaddlePaddle",
        "no extra of tfapp installs it",
        source="https://github.com/PaddlePaddle/Paddle",
    ),
)
