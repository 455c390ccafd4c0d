"""Variable, Constant and Apply: the nodes of an expression graph."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kroton.graph.trace import Trace, creation_trace
from kroton.graph.type import Type

if TYPE_CHECKING:
    from kroton.graph.op import Op


class Tag:
    """Free attributes on a Variable or an Apply (`tag.test_value`, `tag.trace`, ...).

    `trace` (of a Variable), `traces` (of a fused Apply: one for each operation in it) and
    compiled functions are not pickled.
    """

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("trace", "traces", "eval_cache")
        return {k: v for k, v in self.__dict__.items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __copy__(self) -> Tag:
        new = Tag()
        new.__dict__.update({k: v for k, v in self.__dict__.items() if k != "eval_cache"})
        return new


class Variable:
    """A value that is not known yet: an input, or output `index` of the Apply `owner`.

    Parameters
    ----------
    type : Type
        Which values it may take.
    owner : Apply or None
        The Apply that computes it; None for an input.
    index : int or None
        Its position among the outputs of `owner`.
    name : str or None
        For printing, and for keyword arguments of compiled functions.
    """

    __slots__ = ("__weakref__", "_tag", "index", "name", "owner", "type")

    def __init__(
        self, type: Type, owner: Apply | None = None, index: int | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        self.type: Any = type
        self.owner = owner
        self.index = index
        if name is not None and not isinstance(name, str):
            raise TypeError(f"a Variable's name must be a string, got {name!r}")
        self.name = name
        self._tag: Tag | None = None
        if owner is None and not isinstance(self, Constant):
            trace = creation_trace(of_input=True)
            if trace:
                self.tag.trace = trace

    @property
    def tag(self) -> Any:
        """Free attributes."""
        if self._tag is None:
            self._tag = Tag()
        return self._tag

    @tag.setter
    def tag(self, value: Tag) -> None:
        self._tag = value

    @property
    def trace(self) -> Trace:
        """The user's source lines that made this Variable, innermost first."""
        if self.owner is not None:
            return self.owner.trace
        return getattr(self._tag, "trace", None) or ()

    def clone(self, name: str | None = None) -> Any:
        """Return a Variable of the same type, name and tag, without an owner."""
        new = self.__class__(self.type, None, None, name if name is not None else self.name)
        if self._tag is not None:
            new._tag = copy.copy(self._tag)
        return new

    def get_parents(self) -> list[Apply]:
        """Return `[owner]`, or `[]` for an input."""
        return [] if self.owner is None else [self.owner]

    def eval(self, inputs_to_values: dict[Variable, Any] | None = None) -> Any:
        """Compile this Variable as a function of the given inputs and call it.

        Parameters
        ----------
        inputs_to_values : dict from Variable (or name) to value, optional

        Returns
        -------
        numpy.ndarray
            The value. Compiled functions are cached on the Variable, one for each set of inputs.
        """
        from kroton.graph.evaluation import evaluate

        return evaluate(self, {} if inputs_to_values is None else inputs_to_values)

    def dprint(self, **options: Any) -> Any:
        """Print the graph as a tree; options are those of `kroton.printing.debugprint`."""
        from kroton.printing import debugprint

        return debugprint(self, **options)

    def __str__(self) -> str:
        if self.name is not None:
            return self.name
        if self.owner is not None:
            if len(self.owner.outputs) == 1:
                return f"{self.owner.op}.out"
            return f"{self.owner.op}.{self.index}"
        return f"<{self.type}>"

    def __repr__(self) -> str:
        return str(self)

    def __copy__(self) -> Any:
        return self.clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        from kroton.graph.pickling import reduce_variable

        return reduce_variable(self)


class Constant(Variable):
    """A Variable whose value is known: `data`, which nobody may change."""

    __slots__ = ("_signature", "data")

    def __init__(self, type: Type, data: Any, name: str | None = None) -> None:
        super().__init__(type, None, None, name)
        self.data = type.filter(data)
        self._signature: Any = None

    def signature(self) -> Any:
        """A hashable that is equal for constants of equal type and value."""
        if self._signature is None:
            self._signature = self._make_signature()
        return self._signature

    def _make_signature(self) -> Any:
        try:
            hash(self.data)
        except TypeError:
            return (self.type, id(self.data))
        return (self.type, type(self.data), self.data)

    @property
    def value(self) -> Any:
        """The value (the lineage's other name for `data`)."""
        return self.data

    def clone(self, name: str | None = None) -> Any:
        new = self.__class__(self.type, self.data, name if name is not None else self.name)
        if self._tag is not None:
            new._tag = copy.copy(self._tag)
        return new

    def __str__(self) -> str:
        if self.name is not None:
            return self.name
        text = str(self.data).replace("\n", "")
        if len(text) > 20:
            text = text[:10] + "..." + text[-10:]
        return f"{type(self).__name__}{{{text}}}"


class Apply:
    """The application of an Op to inputs, giving outputs.

    Parameters
    ----------
    op : Op
    inputs, outputs : sequences of Variable
        The outputs must have no owner yet; they get this Apply as theirs.
    """

    __slots__ = ("__weakref__", "_tag", "inputs", "op", "outputs", "trace")

    def __init__(self, op: Op, inputs: Iterable[Variable], outputs: Iterable[Variable]) -> None:
        self.op: Any = op
        self.inputs: list[Any] = list(inputs)
        self.outputs: list[Any] = list(outputs)
        self._tag: Tag | None = None
        self.trace: Trace = creation_trace()
        for k, var in enumerate(self.inputs):
            if not isinstance(var, Variable):
                raise TypeError(f"input {k} of {op} must be a Variable, got {var!r}")
        for k, var in enumerate(self.outputs):
            if not isinstance(var, Variable):
                raise TypeError(f"output {k} of {op} must be a Variable, got {var!r}")
            if var.owner is not None:
                raise ValueError(f"output {k} of {op} is already an output of {var.owner}")
            var.owner = self
            var.index = k

    @property
    def tag(self) -> Any:
        """Free attributes."""
        if self._tag is None:
            self._tag = Tag()
        return self._tag

    @property
    def out(self) -> Any:
        """The default output."""
        return self.default_output()

    @property
    def nin(self) -> int:
        """The number of inputs."""
        return len(self.inputs)

    @property
    def nout(self) -> int:
        """The number of outputs."""
        return len(self.outputs)

    def default_output(self) -> Any:
        """The only output, or the one that the Op's `default_output` names."""
        which = getattr(self.op, "default_output", None)
        if which is None:
            if len(self.outputs) == 1:
                return self.outputs[0]
            raise ValueError(f"{self.op} has {len(self.outputs)} outputs and no default_output")
        return self.outputs[which]

    def get_parents(self) -> list[Variable]:
        """Return the inputs."""
        return list(self.inputs)

    def clone(self) -> Apply:
        """Return the same application with new outputs."""
        return self.rebuilt(self.inputs)

    def rebuilt(self, inputs: Sequence[Variable]) -> Apply:
        """Return the same Op on `inputs`, with outputs of the same types, names and tags."""
        new = Apply.__new__(Apply)
        new.op = self.op
        new.inputs = list(inputs)
        new._tag = copy.copy(self._tag) if self._tag is not None else None
        new.trace = self.trace
        outputs = []
        for out in self.outputs:
            twin = out.__class__(out.type, new, out.index, out.name)
            if out._tag is not None:
                twin._tag = copy.copy(out._tag)
            outputs.append(twin)
        new.outputs = outputs
        return new

    def clone_with_new_inputs(self, inputs: Sequence[Variable], strict: bool = True) -> Apply:
        """Return the application of the same Op to other inputs.

        Parameters
        ----------
        inputs : sequence of Variable
        strict : bool
            Require the types that the present inputs have (converting where that is
            possible). Otherwise the Op makes a new node, whose outputs may differ in type.
        """
        inputs = list(inputs)
        same = True
        for k, (old, new) in enumerate(zip(self.inputs, inputs)):
            if new is old or new.type == old.type:
                continue
            if strict:
                inputs[k] = old.type.filter_variable(new)
            if inputs[k].type != old.type:
                same = False
        if same:
            return self.rebuilt(inputs)
        node = self.op.make_node(*inputs)
        for old, out in zip(self.outputs, node.outputs):
            out.name = old.name
        node.trace = self.trace
        return node  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(str(i) for i in self.inputs)})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        from kroton.graph.pickling import reduce_apply

        return reduce_apply(self)
