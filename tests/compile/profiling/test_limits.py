"""What the machine can do, as profiles take it."""

from __future__ import annotations

import pytest

from kroton.compile.profiling import limits


@pytest.fixture
def unmeasured(monkeypatch):
    monkeypatch.setattr(limits, "_measured", None)


@pytest.mark.usefixtures("unmeasured")
def test_limits_are_measured_once_in_a_process(monkeypatch):
    monkeypatch.setattr(limits, "_SECONDS", 0.0)
    first = limits.measured_limits()
    assert min(first.copy, first.gemm64, first.gemm32) > 0
    monkeypatch.setattr(limits, "_best", None)
    assert limits.measured_limits() is first


@pytest.mark.usefixtures("unmeasured")
def test_the_rate_of_products_is_that_of_the_size_that_suffers_least(monkeypatch):
    seconds = iter([1.0, 1.0, 0.1, 2.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(limits, "_best", lambda work: next(seconds))
    found = limits.measured_limits()
    assert found.gemm64 == 2 * 384**3 / 0.1
    assert found.gemm32 == 2 * 768**3 / 1.0
    assert (found.gemm("float32"), found.gemm("complex64")) == (found.gemm32, found.gemm32)
    assert found.gemm("float64") == found.gemm64


def test_the_best_of_many_runs_does_not_count_those_that_warm_up(monkeypatch):
    moments = iter([0.0, 0.0, 0.01, 0.01, 0.05, 0.3])
    monkeypatch.setattr(limits, "perf_counter", lambda: next(moments))
    runs = []
    assert limits._best(lambda: runs.append(1)) == pytest.approx(0.01)
    assert len(runs) == 3 + 2
