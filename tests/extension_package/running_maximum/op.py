"""What a running maximum is: types, values in NumPy, gradient, shape."""

from dataclasses import dataclass

import numpy as np

import kroton.tensor as T
from kroton import Apply, Op


@dataclass(frozen=True)
class RunningMaximum(Op):
    """`values[k] = max(x[0], ..., x[k])`, and the position of the first element that has it."""

    default_output = 0

    def make_node(self, x):
        x = T.as_tensor_variable(x)
        if x.type.ndim != 1 or x.type.dtype not in ("float32", "float64"):
            raise TypeError(f"running_maximum takes a vector of floats, got {x.type}")
        return Apply(self, [x], [x.type(), T.TensorType("int64", x.type.shape)()])

    def perform(self, node, inputs, output_storage):
        (x,) = inputs
        values = np.maximum.accumulate(x)
        rises = np.ones(x.shape, bool)
        rises[1:] = (values[1:] > values[:-1]) | (np.isnan(values[1:]) & ~np.isnan(values[:-1]))
        positions = np.maximum.accumulate(np.where(rises, np.arange(len(x)), 0))
        output_storage[0][0] = values
        output_storage[1][0] = positions.astype("int64")

    def L_op(self, inputs, outputs, output_gradients):
        (x,) = inputs
        _, positions = outputs
        return [T.inc_subtensor(T.zeros_like(x)[positions], output_gradients[0])]

    def connection_pattern(self, node):
        return [[True, False]]

    def infer_shape(self, node, input_shapes):
        return [input_shapes[0], input_shapes[0]]


running_maximum = RunningMaximum()
