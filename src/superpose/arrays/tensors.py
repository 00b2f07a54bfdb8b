"""What other libraries call arrays, as NumPy's: tensors of any type and layout, masked arrays, sparse matrices."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.labels import as_frame, is_frame
from superpose.files import DataError, argument

# Types of torch that NumPy lacks; float32 holds every value of them.
WIDENED = (
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)


def to_numpy(value: Any, name: str = "an array") -> Any:
    """Return what is an array elsewhere as NumPy's, in a type that NumPy has; anything else unchanged.

    A dense tensor on the CPU shares its memory. Sparse layouts become dense, quantised numbers what they stand for,
    bfloat16 and 8-bit floats (torch's, or those of ml_dtypes that JAX and TensorFlow use) float32.

    Parameters
    ----------
    value : object
        A tensor of torch, a sparse array of SciPy, a table of pandas, what has `__array__` or `__dlpack__`, or a list
        of such.
    name : str
        What messages call it.

    Raises
    ------
    DataError
        If it holds no numbers (a meta or nested tensor, types of fewer than 8 bits), or some of them are masked.

    Examples
    --------
    >>> import torch
    >>> from superpose.arrays.tensors import to_numpy
    >>> to_numpy(torch.tensor([[0.0, 1.5]]).to_sparse().bfloat16())
    array([[0. , 1.5]], dtype=float32)
    """
    if isinstance(value, np.ndarray):
        return _plain(value, name)
    if isinstance(value, list | tuple) and any(_foreign(part) for part in value):
        return [to_numpy(part, name) for part in value]
    torch, sparse = sys.modules.get("torch"), sys.modules.get("scipy.sparse")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_torch(value, name)
    if sparse is not None and sparse.issparse(value):
        return value.toarray()
    value = as_frame(value)
    if is_frame(value):
        return _of_pandas(value)
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    return value


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return anything array-like as an array in a type of NumPy's own.

    Raises
    ------
    DataError
        As `to_numpy`, or if it is not rectangular.

    Examples
    --------
    >>> from superpose.arrays.tensors import as_array
    >>> as_array([[1, 2], [3, 4]], "x").shape
    (2, 2)
    """
    try:
        return _plain(np.asarray(to_numpy(value, name)), name)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # what __array__ of another library raises has no end
        cause = " ".join(str(error).split())[:200]
        raise DataError(f"{name} is not a rectangular array of numbers ({cause}).") from None


def as_labels(values: Any, name: str) -> NDArray[Any]:
    """Return labels as an array, as `as_array` does; NaN in a list of text stays NaN, of which NumPy makes text.

    Examples
    --------
    >>> from superpose.arrays.tensors import as_labels
    >>> as_labels(["cat", float("nan")], "labels").tolist()
    ['cat', nan]
    """
    array = as_array(values, name)
    return np.array(values, dtype=object) if isinstance(values, list | tuple) and array.dtype.kind in "US" else array


def _foreign(part: Any) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(part, np.ma.MaskedArray | list | tuple) or (torch is not None and isinstance(part, torch.Tensor))


def _plain(array: Any, name: str) -> Any:
    """Return an array without its mask, if that hides nothing, and in a type of NumPy's own."""
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array):
            count = np.ma.count_masked(array)
            raise DataError(f"{name} has {count} masked value(s); remove those samples, or impute them.")
        array = array.data
    if array.dtype.kind == "V" and array.dtype.fields is None and array.dtype.type is not np.void:
        return array.astype(np.float32)
    return array


def _of_pandas(table: Any) -> Any:
    """Return a table's numbers; of columns that may miss values, such as Float64, NumPy would make objects."""
    from pandas.api.types import is_complex_dtype, is_extension_array_dtype, is_numeric_dtype

    kinds = list(table.dtypes)
    real = all(is_numeric_dtype(kind) and not is_complex_dtype(kind) for kind in kinds)
    if real and any(map(is_extension_array_dtype, kinds)):
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    return table


def _of_torch(tensor: Any, name: str) -> Any:
    import torch

    what = f"{name} is a {type(tensor).__name__} of {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.is_meta or torch.nn.parameter.is_lazy(tensor):
        raise DataError(f"{what} without values (on the meta device, or lazy); load them first.")
    if tensor.is_nested:
        raise DataError(f"{what}, nested: its rows may differ in length; expected one length. Pad or cut them.")
    if isinstance(tensor, torch.masked.MaskedTensor):
        mask = tensor.get_mask()
        return to_numpy(np.ma.masked_array(to_numpy(tensor.get_data(), name), ~to_numpy(mask, name)), name)
    try:
        with torch.no_grad():
            return _dense(tensor.detach()).cpu().numpy()
    except Exception:
        raise DataError(f"{what}, which NumPy cannot hold; convert it to float32 with what made it.") from None


def _dense(tensor: Any) -> Any:
    """Return the numbers of a tensor, strided, in a type that NumPy has."""
    import torch

    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.dtype in [getattr(torch, kind, None) for kind in WIDENED]:
        tensor = tensor.float()
    elif tensor.dtype == torch.complex32:
        # NumPy has no such numbers either; whoever needs real ones then says so of complex64.
        tensor = tensor.to(torch.complex64)
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.resolve_conj().resolve_neg()


def checked_device(device: str) -> str:
    """Return the name of a device that tensors can be made on and read from, or raise a DataError.

    Examples
    --------
    >>> from superpose.arrays.tensors import checked_device
    >>> checked_device("cpu")
    'cpu'
    """
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).strip().split("\n")[0][:100].rstrip(".")
        raise DataError(f"{argument('device')} is {device!r}, which is not here ({reason}); use 'cpu'.") from None
    return device
