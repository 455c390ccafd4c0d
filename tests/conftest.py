"""What all tests share."""

from __future__ import annotations

import kroton


def pytest_report_header() -> str:
    """Say which kroton is tested: an installed wheel, or a source tree."""
    return f"kroton: {kroton.__version__} from {kroton.__file__}"
