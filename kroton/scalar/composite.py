"""Composite: a straight-line program over scalar operations, itself a scalar operation.

It is what elementwise fusion makes. Registers 0 .. nin-1 are the inputs; instruction k writes
register nin + k.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kroton.scalar.op import ScalarOp
from kroton.scalar.promotion import Dtypes, InputType, no_loop, promote

SPELLED = 24
"""Programs of more instructions are not written out in their name."""


class Instruction(NamedTuple):
    """One step of a Composite: `register[k] = op(register[i] for i in inputs)`."""

    op: ScalarOp
    inputs: tuple[int, ...]
    """Registers that it reads."""
    in_dtypes: tuple[str, ...]
    """Their dtypes, which are those of one loop of `op`."""
    out_dtype: str
    """The dtype of the register that it writes."""


@dataclass(frozen=True, repr=False, init=False)
class Composite(ScalarOp):
    """`outputs` of a program of `instructions` on `nin` inputs.

    `impl` returns a tuple, one array for each output. Raises ValueError for a program that
    reads a register before it is written, or with a type that is not the register's.
    """

    name: str = field(init=False, compare=False)
    nin: int = field(init=False)
    instructions: tuple[Instruction, ...] = field(init=False)
    """In order of evaluation."""
    outputs: tuple[int, ...] = field(init=False)
    """The registers that are outputs."""
    in_dtypes: tuple[str | None, ...] = field(init=False, compare=False)
    """The dtype that the program takes for each input, None where no instruction reads it."""
    _hash: int = field(init=False, compare=False)

    def __init__(
        self,
        nin: int,
        instructions: tuple[Instruction, ...],
        outputs: tuple[int, ...],
    ) -> None:
        instructions = tuple(Instruction(*step) for step in instructions)
        outputs = tuple(outputs)
        in_dtypes = self._input_dtypes(nin, instructions, outputs)
        for name, value in (
            ("name", f"Composite{{{_spelled(nin, instructions, outputs)}}}"),
            ("nin", nin),
            ("nout", len(outputs)),
            ("reference", None),
            ("rule", _composite_rule),
            ("ufunc", None),
            ("commutative", False),
            ("associative", False),
            ("identity", None),
            ("instructions", instructions),
            ("outputs", outputs),
            ("_hash", hash((Composite, nin, instructions, outputs))),
            ("in_dtypes", in_dtypes),
        ):
            object.__setattr__(self, name, value)

    @staticmethod
    def _input_dtypes(
        nin: int, instructions: tuple[Instruction, ...], outputs: tuple[int, ...]
    ) -> tuple[str | None, ...]:
        """The dtype of each input (None for one that no instruction reads); checks the program."""
        dtypes: list[str | None] = [None] * nin
        for k, step in enumerate(instructions):
            if len(step.inputs) != step.op.nin or len(step.in_dtypes) != step.op.nin:
                raise ValueError(f"instruction {k}: {step.op.name} takes {step.op.nin} inputs")
            for register, dtype in zip(step.inputs, step.in_dtypes, strict=True):
                if not 0 <= register < len(dtypes):
                    raise ValueError(
                        f"instruction {k} ({step.op.name}) reads register {register}, "
                        f"but only {len(dtypes)} are written"
                    )
                if dtypes[register] is None:
                    dtypes[register] = dtype
                elif dtypes[register] != dtype:
                    raise ValueError(
                        f"instruction {k} ({step.op.name}) reads register {register} as {dtype}, "
                        f"but it holds {dtypes[register]}"
                    )
            dtypes.append(step.out_dtype)
        for register in outputs:
            if not 0 <= register < len(dtypes):
                raise ValueError(f"output register {register} is never written")
        return tuple(dtypes[:nin])

    def impl(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        registers = [np.asarray(array) for array in arrays]
        shape = np.broadcast_shapes(*{register.shape for register in registers})
        for step in self.instructions:
            registers.append(step.op.impl(*[registers[i] for i in step.inputs]))
        taken = {id(register) for register in registers[: self.nin]}
        results = []
        for k in self.outputs:
            value = registers[k]
            if value.shape != shape or not value.flags.owndata or id(value) in taken:
                value = np.array(np.broadcast_to(value, shape))
            taken.add(id(value))
            results.append(value)
        return tuple(results)

    def out_dtypes(self, *inputs: InputType) -> Dtypes:
        """The dtype of each output; TypeError for inputs that the program is not typed for."""
        for k, (given, expected) in enumerate(zip(inputs, self.in_dtypes, strict=True)):
            if expected is not None and promote(given) != expected:
                raise no_loop(self, inputs, f"input {k} is {expected}")
        return tuple(
            promote(inputs[register])
            if register < self.nin
            else np.dtype(self.instructions[register - self.nin].out_dtype)
            for register in self.outputs
        )

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        return (Composite, (self.nin, self.instructions, self.outputs))

    def __repr__(self) -> str:
        return self.name


def _spelled(nin: int, instructions: tuple[Instruction, ...], outputs: tuple[int, ...]) -> str:
    """The program as text: nested calls, with a name for what is used more than once."""
    if len(instructions) > SPELLED:
        return f"{len(instructions)} operations"
    uses = [0] * (nin + len(instructions))
    for register in (*(i for step in instructions for i in step.inputs), *outputs):
        uses[register] += 1
    texts = [f"i{k}" for k in range(nin)]
    named: list[str] = []
    for k, step in enumerate(instructions):
        text = f"{step.op.name}({', '.join(texts[i] for i in step.inputs)})"
        if uses[nin + k] > 1:
            named.append(f"t{len(named)} = {text}")
            text = f"t{len(named) - 1}"
        texts.append(text)
    result = ", ".join(texts[register] for register in outputs)
    return "; ".join([*named, result])


def _composite_rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
    """The inputs as they are and the dtype of the first output."""
    assert isinstance(op, Composite)
    return tuple(promote(given) for given in inputs), op.out_dtypes(*inputs)[0]
