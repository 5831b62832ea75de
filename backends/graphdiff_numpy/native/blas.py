"""The products of matrices of the BLAS that NumPy has loaded."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np

__all__ = ["Blas", "find_blas"]

NAMES = (
    ("scipy_cblas_{}gemm64_", "long long"),
    ("cblas_{}gemm64_", "long long"),
    ("cblas_{}gemm$NEWLAPACK$ILP64", "long long"),
    ("scipy_cblas_{}gemm", "int"),
    ("cblas_{}gemm", "int"),
)
"""What builds of BLAS call it, and the type of sizes."""


@dataclass(frozen=True)
class Blas:
    """Addresses of the products of float32 and float64, and the C type of sizes."""

    single: int
    double: int
    integer: str


@cache
def find_blas() -> Blas | None:
    """Return the products, found through the module of NumPy that is linked to them; None if it has none."""
    try:
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return None
    for name, integer in NAMES:
        try:
            functions = [getattr(library, name.format(letter)) for letter in "sd"]
        except AttributeError:
            continue
        single, double = (ctypes.cast(function, ctypes.c_void_p).value for function in functions)
        assert single is not None
        assert double is not None
        return Blas(single, double, integer)
    return None
