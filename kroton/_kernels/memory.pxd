# Where arrays come from. Ships in the wheel.
cimport numpy as cnp
from cpython.object cimport PyObject


cdef cnp.ndarray empty(int typenum, int nd, cnp.npy_intp *dims)
cdef cnp.ndarray output(PyObject **cells, Py_ssize_t cell, int typenum, int nd, cnp.npy_intp *dims)
cdef int put(PyObject **cells, Py_ssize_t cell, object value) except -1
