"""Faults are of files and processes."""

from unchecked import unchecked_shapes

__all__ = ["unchecked_shapes"]
