"""Which kernel serves a RunningMaximum."""

from kroton.gof import kernel_for
from running_maximum.kernel import RunningMaximumKernel
from running_maximum.op import RunningMaximum


@kernel_for(RunningMaximum)
def select(node):
    return RunningMaximumKernel(node.inputs[0].type.numpy_dtype.num)
