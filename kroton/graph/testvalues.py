"""Test values: an expression's value is computed while it is built, so that mistakes show there.

    with kroton.config.change_flags(compute_test_value="raise"):
        x = T.dmatrix("x")
        x.tag.test_value = np.ones((3, 4))
        T.dot(x, x)     # raises here, not when the function is called

`config.compute_test_value` is `off`, `ignore` (compute what can be computed), `warn` or `raise`
(where an input has no test value) or `pdb` (start the debugger there). Constants and shared
variables have values of their own.
"""

from __future__ import annotations

import warnings
from typing import Any

from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.trace import format_trace


def get_test_value(v: Any) -> Any:
    """The test value of a Variable; what is no Variable is its own.

    Raises
    ------
    AttributeError
        If it has none.
    TypeError
        If `v.tag.test_value` is no value of `v`'s type.
    """
    if not isinstance(v, Variable):
        return v
    if isinstance(v, Constant):
        return v.data
    container = getattr(v, "container", None)
    if container is not None:
        return container.value
    tag = v.tag.__dict__
    if "test_value" not in tag:
        where = format_trace(v.trace)
        made = f"; it was made here:\n{where}" if where else ""
        raise AttributeError(f"{v} of {v.type} has no test value{made}")
    value = tag["test_value"]
    if v.type.is_valid_value(value):
        return value
    try:
        return v.type.filter(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the test value of {v} does not fit {v.type}: {error}") from error


def compute_test_values(node: Apply) -> None:
    """Run `perform` on the inputs' test values; set those of the outputs.

    Raises
    ------
    AttributeError
        Under `raise`, if an input has none.
    Exception
        What `perform` raises, with the source lines that made the Apply.
    """
    action = config.compute_test_value
    values = []
    for k, v in enumerate(node.inputs):
        try:
            values.append(get_test_value(v))
        except AttributeError as error:
            if action == "ignore":
                return
            message = f"cannot compute a test value of {node.op}: input {k}: {error}"
            if action == "warn":
                warnings.warn(message, stacklevel=3)
                return
            if action == "pdb":
                _debug(error)
            raise AttributeError(message) from error
    destroyed = {i for positions in node.op.destroy_map.values() for i in positions}
    for i in destroyed:
        values[i] = values[i].copy() if hasattr(values[i], "copy") else values[i]
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    try:
        node.op.perform(node, values, storage)
        for out, cell in zip(node.outputs, storage):
            out.tag.test_value = out.type.filter(cell[0])
    except Exception as error:
        if action == "pdb":
            _debug(error)
        where = format_trace(node.trace)
        text = f"while the test value of {node} was computed"
        error.add_note(text + (f"; it was made here:\n{where}" if where else ""))
        raise


def _debug(error: BaseException) -> None:
    import pdb

    pdb.post_mortem(error.__traceback__)
