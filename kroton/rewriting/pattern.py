"""The language of rules: mathematics on pattern variables.

    from kroton.rewriting.pattern import C, exp, log, log1p, sigmoid, softplus, x, y

    stabilize.rule(log(1 + x), log1p(x))
    stabilize.rule(log(sigmoid(x)), -softplus(-x))
    canonicalize.rule(x * C("c") * C("d"), x * (C("c") * C("d")))

* `x`, `y`, ... stand for any Variable; one that comes twice must be the same Variable. `x.float`,
  `x.real`, `x.complex`, `x.discrete` restrict the dtype (on any of its places).
* A number stands for a constant all of whose elements equal it, in any shape and dtype;
  `C("c")` for any such constant, bound as `match.c`.
* `+`, `*` and the other commutative operations match in both orders. `nary(1 + x)` matches
  sums (or products) of any number of terms: one is 1, and `x` is the sum of the others.
  `nary(sin(x) * cos(x) * y)` matches products with these two factors, at any places; see `nary`.
* Every scalar operation is here under its name (`exp`, `switch`, `true_div`), and `of_type`
  makes terms of other Op types.
* On the right, terms are built as `kroton.tensor` does; the result is broadcast to the shape of
  what it replaces, and the rule does not fire where the dtypes would differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kroton import scalar
from kroton.tensor.elemwise import Elemwise

_KINDS = {"float": "f", "complex": "c", "real": "biuf", "continuous": "fc", "discrete": "biu",
          "integer": "iu", "bool": "b"}  # fmt: skip


class Term:
    """A part of a pattern. Python's operators on terms make terms."""

    def __add__(self, other: Any) -> Call:
        return add(self, other)

    def __radd__(self, other: Any) -> Call:
        return add(other, self)

    def __sub__(self, other: Any) -> Call:
        return sub(self, other)

    def __rsub__(self, other: Any) -> Call:
        return sub(other, self)

    def __mul__(self, other: Any) -> Call:
        return mul(self, other)

    def __rmul__(self, other: Any) -> Call:
        return mul(other, self)

    def __truediv__(self, other: Any) -> Call:
        return true_div(self, other)

    def __rtruediv__(self, other: Any) -> Call:
        return true_div(other, self)

    def __floordiv__(self, other: Any) -> Call:
        return int_div(self, other)

    def __mod__(self, other: Any) -> Call:
        return mod(self, other)

    def __pow__(self, other: Any) -> Call:
        return pow(self, other)

    def __rpow__(self, other: Any) -> Call:
        return pow(other, self)

    def __neg__(self) -> Call:
        return neg(self)

    def __abs__(self) -> Call:
        return abs(self)

    def __lt__(self, other: Any) -> Call:
        return lt(self, other)

    def __le__(self, other: Any) -> Call:
        return le(self, other)

    def __gt__(self, other: Any) -> Call:
        return gt(self, other)

    def __ge__(self, other: Any) -> Call:
        return ge(self, other)

    def __and__(self, other: Any) -> Call:
        return and_(self, other)

    def __or__(self, other: Any) -> Call:
        return or_(self, other)

    def __invert__(self) -> Call:
        return invert(self)


@dataclass(frozen=True, eq=False, repr=False)
class Name(Term):
    """What a match binds, with the kinds of dtype it may have."""

    name: str
    kinds: str = ""
    """NumPy's letters; empty for all."""

    def __getattr__(self, kind: str) -> Any:
        if kind not in _KINDS:
            raise AttributeError(f"a pattern variable has no {kind!r}; it has {', '.join(_KINDS)}")
        return type(self)(self.name, _KINDS[kind])

    def __repr__(self) -> str:
        return self.name


class Free(Name):
    """A pattern variable: any Variable, the same one wherever its name comes."""


class C(Name):
    """A constant of which all elements are equal, bound under its name.

    On the right it is that value, without dimensions.
    """


@dataclass(frozen=True, eq=False, repr=False)
class F:
    """A field of an Op, bound under `name`: `sum_(x, axis=F("axis"))`."""

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Call(Term):
    """An operation on terms."""

    head: type | str
    """The name of a scalar operation, or an Op type."""
    args: tuple[Any, ...]
    fields: tuple[tuple[str, Any], ...] = ()
    """What the Op's fields must be: values, or `F` to bind them."""
    build: Callable[..., Any] | None = None
    """Builds it from Variables (and fields as keywords); None if it stands on the left only."""
    flat: bool = False
    """Whether nested applications of the head are one, of many arguments."""

    def __repr__(self) -> str:
        return written(self, 0)


@dataclass(frozen=True)
class Maker:
    """Makes terms of one kind of Op: `log(x)`, `sum_(x, axis=F("axis"))`."""

    head: type | str
    build: Callable[..., Any] | None = field(default=None, compare=False)

    def __call__(self, *args: Any, **fields: Any) -> Call:
        return Call(self.head, args, tuple(fields.items()), self.build)


def variables(names: str) -> tuple[Free, ...]:
    """Pattern variables of the given names, separated by spaces."""
    return tuple(Free(name) for name in names.split())


def of_type(op_type: type, build: Callable[..., Any] | None = None) -> Maker:
    """A maker of terms that match Applys of `op_type` (or a subclass).

    Parameters
    ----------
    op_type : type
        A subclass of Op. Keywords of the terms state its fields.
    build : callable, optional
        `build(*args, **fields)` makes it on the right of a rule.
    """
    return Maker(op_type, build)


def nary(term: Call) -> Call:
    """`term`, a sum or product, matched in sums or products of any number of terms.

    Each term of the pattern stands for another term of what it is matched with, in any order and
    however that is nested; sums within it that somebody else uses count as one term. A variable
    that comes once is what the others leave: a sum (or product) of many terms, or the neutral
    element 0 (or 1) if there is none. Without such a variable there are no other terms. Sums of
    more than 32 terms are not searched.

    Raises
    ------
    TypeError
        If the operation is not associative and commutative.
    """
    if not isinstance(term, Call):
        raise TypeError(f"nary is for sums and products, not for {term!r}")
    operation = scalar.ops.get(term.head) if isinstance(term.head, str) else None
    if operation is None or not (operation.associative and operation.commutative):
        raise TypeError(f"nary is for associative operations, not {written(term, 0)}")
    return Call(term.head, _terms(term), term.fields, term.build, flat=True)


def _terms(term: Call) -> tuple[Any, ...]:
    """The arguments of a sum (or product), and of the sums among them."""
    found: list[Any] = []
    for arg in term.args:
        found += _terms(arg) if isinstance(arg, Call) and arg.head == term.head else [arg]
    return tuple(found)


def _count(term: Any, name: str) -> int:
    """How many times a name comes in a term."""
    if isinstance(term, Call):
        return sum(_count(arg, name) for arg in term.args)
    return int(isinstance(term, Name) and term.name == name)


def left_over(term: Call) -> int | None:
    """Which argument of an `nary` term takes what the others leave; None if nothing may be left.

    Raises
    ------
    TypeError
        If there are two: which terms should be whose?
    """
    found = [
        k
        for k, arg in enumerate(term.args)
        if isinstance(arg, Free) and _count(term, arg.name) == 1
    ]
    if len(found) > 1:
        raise TypeError(f"nary({term}) can have one variable for what is left over, not more")
    return found[0] if found else None


_elemwise: dict[str, Elemwise] = {}


def elemwise_of(name: str) -> Elemwise:
    """The Elemwise of the scalar operation of that name."""
    op = _elemwise.get(name)
    if op is None:
        _elemwise[name] = op = Elemwise(scalar.ops[name])
    return op


def __getattr__(name: str) -> Maker:
    """The scalar operation of that name, as a maker of terms."""
    if name in scalar.ops:
        return Maker(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


add, sub, mul, neg = Maker("add"), Maker("sub"), Maker("mul"), Maker("neg")
true_div, int_div, mod, pow = Maker("true_div"), Maker("int_div"), Maker("mod"), Maker("pow")
abs = Maker("abs")
lt, le, gt, ge, eq, neq = (Maker(name) for name in ("lt", "le", "gt", "ge", "eq", "neq"))
and_, or_, invert = Maker("and_"), Maker("or_"), Maker("invert")
exp, expm1, log, log1p, sqrt, sqr = (
    Maker(name) for name in ("exp", "expm1", "log", "log1p", "sqrt", "sqr")
)
sigmoid, softplus, tanh, reciprocal = (
    Maker(name) for name in ("sigmoid", "softplus", "tanh", "reciprocal")
)
switch, second, identity, maximum, minimum = (
    Maker(name) for name in ("switch", "second", "identity", "maximum", "minimum")
)
x, y, z, w = variables("x y z w")


# ---- how a rule is written ---------------------------------------------------------------

_INFIX = {
    "add": ("+", 10), "sub": ("-", 10), "mul": ("*", 20), "true_div": ("/", 20),
    "int_div": ("//", 20), "mod": ("%", 20), "pow": ("**", 40), "lt": ("<", 5), "le": ("<=", 5),
    "gt": (">", 5), "ge": (">=", 5), "and_": ("&", 8), "or_": ("|", 7),
}  # fmt: skip


def written(term: Any, binding: int) -> str:
    """The term as Python source."""
    if not isinstance(term, Call):
        return repr(term)
    if isinstance(term.head, str) and term.head in _INFIX and (len(term.args) == 2 or term.flat):
        sign, strength = _INFIX[term.head]
        first, *others = term.args
        parts = [written(first, strength), *(written(arg, strength + 1) for arg in others)]
        text = f" {sign} ".join(parts)
        return f"({text})" if strength < binding else text
    if term.head == "neg":
        return f"-{written(term.args[0], 30)}"
    head = term.head if isinstance(term.head, str) else term.head.__name__
    parts = [written(arg, 0) for arg in term.args]
    parts += [f"{name}={value!r}" for name, value in term.fields]
    return f"{head}({', '.join(parts)})"
