"""The printed summary: its wording, its order, its fractions."""

from __future__ import annotations

import io
import re
from pathlib import Path

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


def test_as_many_rows_are_printed_as_asked_for_and_the_rest_counted(mode):
    n = len(mode.stats.functions[0].applys)
    text = summary(mode, -1, -1)
    assert text == summary(mode, 0, 0)
    assert f"(remaining {n} Apply instances account for 1.00 of the runtime)" in text


def test_the_lineages_names_print_the_same(mode):
    file = io.StringIO()
    mode.summary(file, 1, 2)
    assert file.getvalue() == summary(mode, 2, 1)
    mode.stats.summary(file, n_ops_to_print=1, n_apply_to_print=2)
    assert file.getvalue() == 2 * summary(mode, 2, 1)


def test_failed_calls_are_told_of(mode):
    assert "failed" not in summary(mode)
    x = T.dvector("x")
    f = kroton.function([x], x + np.ones(3), mode=mode, name="adds")
    for _ in range(2):
        with pytest.raises(ValueError, match="shape"):
            f(np.ones(2))
    assert "(2 calls have failed; their time is counted)" in summary(mode)
    assert re.search(r"^ +0 +2 .*  adds$", summary(mode), re.M)


def test_functions_of_one_name_are_told_apart(mode):
    x = T.dvector("x")
    for k in range(2):
        kroton.function([x], x + k, mode=mode, name="same")([0.0])
    assert mode.stats.labels() == ["function 0", "same (1)", "same (2)"]
    text = summary(mode)
    assert "  in same (1)\n" in text
    assert "  same (2)\n" in text


def difference(first, second, *args):
    file = io.StringIO()
    first.print_diff_summary(second, *args, file=file)
    return file.getvalue()


def test_two_profiles_can_be_compared(mode):
    other = kroton.ProfileMode()
    x = T.dvector("x")
    kroton.function([x], T.exp(x), mode=other)([1.0])
    text = difference(mode, other)
    assert text.startswith("ProfileMode.print_diff_summary()\n")
    assert "of 3 and 1 calls" in text
    assert "Elemwise{exp}" in text


def test_a_profile_is_compared_with_a_profile_only(mode):
    with pytest.raises(TypeError, match="a ProfileMode or a ProfileStats, not with None"):
        mode.print_diff_summary(None)


def test_what_other_functions_of_a_profile_do_makes_no_difference():
    x = T.dvector("x")
    modes = [kroton.ProfileMode(), kroton.ProfileMode(linker="py")]
    for mode in modes:
        kroton.function([x], T.exp(x), mode=mode, name="train")([1.0])
    score = kroton.function([x], T.exp(x), mode=modes[1], name="score")
    for _ in range(100):
        score([1.0])
    train = [mode.stats.functions[0] for mode in modes]
    # As if both had been timed alike.
    modes[1].stats.functions[0].timings = train[0].timings
    for title in ("Apply-wise", "Op-wise"):
        text = difference(*modes).partition(title)[2].partition("\n\n")[0]
        (row,) = [line.split() for line in text.splitlines() if line.endswith("in train")]
        assert row[6] == "1.00", row
        assert row[7:10] == ["c", "->", "py"]


def test_the_summary_that_the_manual_shows_has_the_tables_that_are_printed(mode):
    shown = (Path(__file__).parents[3] / "docs" / "profile_of_a_step.txt").read_text()
    heads = re.compile(r"^ +(?:share|calls|peak|output) .*$|^\S[^0-9(]*", re.M)

    def structure(text):
        return [" ".join(head.split()) for head in heads.findall(text)]

    assert structure(shown) == structure(summary(mode))
    assert max(map(len, shown.splitlines()[5:])) <= 100


def test_names_are_cut_so_that_lines_have_a_hundred_characters(mode):
    x = T.dvectors(12)
    f = kroton.function(x, T.exp(sum(v * k for k, v in enumerate(x))), mode=mode, name="n" * 200)
    f(*[np.ones(2)] * 12)
    tables = summary(mode).partition("Class-wise")[2]
    assert max(map(len, tables.splitlines())) <= 100
