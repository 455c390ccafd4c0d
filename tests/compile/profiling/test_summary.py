"""The printed summary: its wording, its order, its fractions."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

import kroton
import kroton.tensor as T


@pytest.fixture
def mode():
    mode = kroton.ProfileMode(optimizer="fast_run", linker=kroton.gof.OpWiseCLinker())
    a, b = T.dmatrix("a"), T.dmatrix("b")
    out = T.exp(a @ b) @ T.tanh(b @ a)
    f = kroton.function([a, b], [out, out.sum()], mode=mode.excluding("fusion"))
    for _ in range(3):
        f(np.full((5, 5), 0.1), np.full((5, 5), 0.2))
    return mode


def summary(mode, *args):
    file = io.StringIO()
    mode.print_summary(*args, file=file)
    return file.getvalue()


def test_the_summary_begins_as_it_always_did(mode):
    lines = summary(mode, 2, 1).splitlines()
    n_applys = len(mode.stats.functions[0].applys)
    n_ops = len(mode.stats.by_op())
    expected = [
        r"ProfileMode\.print_summary\(\)",
        r"-{27}",
        r"",
        r"local_time \S+ \(Time spent running thunks\)",
        r"Apply-wise summary: <fraction of local_time spent at this position> "
        r"\(<Apply position>, <Apply Op name>\)",
        r" {8}\d\.\d{3}   \d+ +\S.*",
        r" {8}\d\.\d{3}   \d+ +\S.*",
        rf"   \.\.\. \(remaining {n_applys - 2} Apply instances account for \d\.\d\d of the "
        r"runtime\)",
        r"Op-wise summary: <fraction of local_time spent on this kind of Op> <Op name>",
        r" {8}\d\.\d{3}   \* \S.*",
        rf"   \.\.\. \(remaining {n_ops - 1} Ops account for \d\.\d\d of the runtime\)",
        r"\(\*\) Op is running a c implementation",
    ]
    for line, pattern in zip(lines, expected):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_fractions_fall_and_sum_to_one(mode):
    text = summary(mode, 100, 100)
    rows = re.findall(r"^ {8}(\d\.\d{3})   \d+ ", text, re.M)
    fractions = [float(row) for row in rows]
    assert fractions == sorted(fractions, reverse=True)
    assert sum(fractions) == pytest.approx(1, abs=0.001 * len(fractions))
    assert "(remaining 0 Apply instances account for 0.00 of the runtime)" in text


def test_an_op_without_a_kernel_has_no_star():
    mode = kroton.ProfileMode(linker="py")
    x = T.dvector("x")
    kroton.function([x], T.exp(x), mode=mode)([1.0])
    assert re.search(r"^ {8}1\.000     Elemwise\{exp\}", summary(mode), re.M)


def test_the_tables_beyond_follow_in_order(mode):
    text = summary(mode)
    titles = [
        "(*) Op is running", "Functions:", "Class-wise summary:", "Calls of each Op",
        "Compilation:", "Memory of one call:", "How far from the limit:",
    ]  # fmt: skip
    places = [text.index(title) for title in titles]
    assert places == sorted(places)


def test_a_profile_without_calls_can_be_printed():
    text = summary(kroton.ProfileMode())
    assert "local_time 0 " in text


def test_two_profiles_can_be_compared(mode):
    other = kroton.ProfileMode()
    x = T.dvector("x")
    kroton.function([x], T.exp(x), mode=other)([1.0])
    file = io.StringIO()
    mode.print_diff_summary(other, file=file)
    text = file.getvalue()
    assert text.startswith("ProfileMode.print_diff_summary()\n")
    assert "of 3 and 1 calls" in text
    assert "Elemwise{exp}" in text
