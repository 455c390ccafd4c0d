"""`kroton.tensor`: symbolic tensors, imported as `T`.

NumPy's functions under the lineage's names, on Variables.
"""

# ruff: noqa: F401, F403, I001 - the order is that of dependence, each module lists its public names
import typing
from importlib import import_module as _import_module

from kroton import printing as _printing
from kroton.tensor.type import (
    TensorType,
    complex_dtypes,
    continuous_dtypes,
    discrete_dtypes,
    float_dtypes,
    integer_dtypes,
)
from kroton.tensor.var import TensorConstant, TensorVariable
from kroton.tensor.constant import (
    NotScalarConstantError,
    as_tensor,
    as_tensor_variable,
    constant,
    get_scalar_constant_value,
)
from kroton.tensor.elemwise import Elemwise, cast
from kroton.tensor.constructors import *
from kroton.tensor.math import *
from kroton.tensor.dimshuffle import *
from kroton.tensor.shape import *
from kroton.tensor.reshape import *
from kroton.tensor.creation import *
from kroton.tensor.arange import *
from kroton.tensor.diagonal import *
from kroton.tensor.joining import *
from kroton.tensor.repetition import *
from kroton.tensor.subtensor import *
from kroton.tensor.advanced_subtensor import *
from kroton.tensor.reduction import *
from kroton.tensor.moments import *
from kroton.tensor.argmax import *
from kroton.tensor.cumulative import *
from kroton.tensor.products import *
from kroton.tensor import nnet

_printing.register_pp_table(lambda: _import_module("kroton.tensor.notation"))

if typing.TYPE_CHECKING:

    def __getattr__(name: str) -> typing.Any:
        """Many public functions are made from tables, which type checkers cannot see."""
