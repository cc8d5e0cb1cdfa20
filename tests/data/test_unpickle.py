"""Pickles: those of Python 2 are read, those that would run something are refused."""

from __future__ import annotations

import pickle
import subprocess

import numpy as np
import pytest

from batchot.data import DataError
from batchot.data.sets.cifar10 import unpickle_arrays
from data.published_formats import cifar_batch, python2_pickle


def test_what_python_2_wrote() -> None:
    content = cifar_batch(4, start=7)
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content  # the name in the published files
    batch = unpickle_arrays(content, "batch")
    assert batch["labels"] == [7, 8, 9, 0]
    assert batch["data"].dtype == np.uint8
    assert batch["data"][:, 3071].tolist() == [7, 8, 9, 10]
    assert batch["filenames"][1] == b"image_8.png"


@pytest.mark.parametrize("protocol", range(5))
def test_what_python_3_writes(protocol: int) -> None:
    value = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2]}
    read = unpickle_arrays(pickle.dumps(value, protocol), "batch")
    assert read["labels"] == [1, 2]
    np.testing.assert_array_equal(read["data"], value["data"])


class Malicious:
    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(subprocess.getoutput, ("touch {}",)), (eval, ("open('{}', 'w')",)), (open, ("{}", "w"))],
    ids=["command", "eval", "open"],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_malicious_pickle_is_refused_and_not_run(tmp_path, function, arguments, protocol: int) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps(
        {"data": Malicious(function, *(argument.format(victim) for argument in arguments))}, protocol
    )
    with pytest.raises(
        DataError, match=rf"data_batch_1: refused to load .*\.{function.__name__}.*could run a program"
    ):
        unpickle_arrays(content, "data_batch_1")
    assert not victim.exists()
    pickle.loads(content)  # to know that the file was dangerous
    assert victim.exists()


def test_attribute_of_an_admitted_name_is_refused() -> None:
    content = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    with pytest.raises(DataError, match=r"refused to load numpy\.ndarray\.tofile"):
        unpickle_arrays(content, "batch")


def test_codec_that_is_none_of_pickles() -> None:
    content = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(DataError, match=r"refused to encode with 'rot13'"):
        unpickle_arrays(content, "batch")


def test_forged_dtype_is_refused() -> None:
    content = pickle.dumps({"data": np.arange(8, dtype=np.uint8)}, protocol=2)
    forged = content.replace(b"X\x02\x00\x00\x00u1", b"X\x02\x00\x00\x00O8")
    assert forged != content
    with pytest.raises(DataError, match=r"expected an array of bytes \(u1\), got one of 'O8'"):
        unpickle_arrays(forged, "batch")


@pytest.mark.parametrize("order", ["C", "F"])
def test_order_of_an_array(order) -> None:
    array = np.asarray(np.arange(6, dtype=np.uint8).reshape(2, 3), order=order)
    np.testing.assert_array_equal(
        unpickle_arrays(pickle.dumps({"a": array}, protocol=2), "batch")["a"], array
    )


def test_truncated_anywhere() -> None:
    content = python2_pickle({"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 300]})
    for kept in range(len(content)):
        with pytest.raises(DataError, match=r"batch is damaged or half downloaded"):
            unpickle_arrays(content[:kept], "batch")


def test_random_damage_is_refused_or_harmless() -> None:
    content = python2_pickle({"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 300]})
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(600):
        damaged = bytearray(content)
        damaged[generator.integers(len(content))] = generator.integers(256)
        try:
            unpickle_arrays(bytes(damaged), "batch")
        except DataError:
            refused += 1
    assert refused > 60
