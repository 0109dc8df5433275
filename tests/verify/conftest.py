"""Laws are about numbers, each of which takes many whole runs."""

from unchecked import unchecked_shapes

__all__ = ["unchecked_shapes"]
