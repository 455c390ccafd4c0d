"""What is stabilized is accurate where what was written gives NaN, inf or no digits.

The rows are those of the table in the manual. When they change, read the new table and approve it:

    KROTON_APPROVE=1 pytest tests/rewriting/test_accuracy.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from accuracy_rows import ROWS, Outcome, Row, outcome_of, stabilizing_rules, table

TABLE = Path(__file__).resolve().parents[2] / "docs" / "accuracy_table.inc"
BOUND = 1e-15
"""The largest relative error in the table."""


@pytest.fixture(scope="module")
def outcomes() -> list[tuple[Row, Outcome]]:
    return [(row, outcome_of(row)) for row in ROWS]


def test_every_value_and_gradient_has_all_digits(outcomes: list[tuple[Row, Outcome]]) -> None:
    for row, outcome in outcomes:
        assert outcome.value.error < BOUND, row.text
        if outcome.gradient is not None:
            assert outcome.gradient.error < BOUND, row.text


def test_what_is_written_goes_wrong_in_each_row(outcomes: list[tuple[Row, Outcome]]) -> None:
    for row, outcome in outcomes:
        answers = [a for a in (outcome.value, outcome.gradient) if a is not None]
        assert any(answer.plain_is_wrong for answer in answers), row.text


def test_every_stabilizing_rule_has_a_row_in_which_it_fires(
    outcomes: list[tuple[Row, Outcome]],
) -> None:
    fired = {name for _, outcome in outcomes for name in outcome.fired}
    missing = [name for name in stabilizing_rules() if name not in fired]
    assert not missing, f"add rows to tests/accuracy_rows.py for {missing}"


def test_the_table_in_the_manual_is_up_to_date(outcomes: list[tuple[Row, Outcome]]) -> None:
    found = table(outcomes)
    if os.environ.get("KROTON_APPROVE"):
        TABLE.write_text(found, encoding="utf-8")
    error = re.compile(r"- \d+e[+-]\d+$", re.MULTILINE)  # the last bit is the machine's own
    approved = TABLE.read_text(encoding="utf-8")
    assert error.sub("", found) == error.sub("", approved), (
        "read the new table, and run KROTON_APPROVE=1 pytest tests/rewriting/test_accuracy.py"
    )
