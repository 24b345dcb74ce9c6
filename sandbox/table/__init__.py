"""The closed table of operations: what each accepts, and what it results in.

For each overload the table holds its arguments' kinds, the dtypes and shapes that it takes, and the
type of its result. Whatever is not in it is refused when a graph is read, before any tensor exists.
Operations that draw random numbers, read uninitialised memory, write in place, or have sizes that
depend on values are absent on purpose.
"""

from sandbox.table import folding, making, moving, places, pointwise, products
from sandbox.table.registry import OPS, OpSpec
from sandbox.table.tensors import TensorType

__all__ = ["OPS", "OpSpec", "TensorType", "folding", "making", "moving", "places", "pointwise",
           "products"]  # fmt: skip
