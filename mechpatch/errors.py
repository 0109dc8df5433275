"""Every error that mechpatch raises on purpose: one base class, one subclass for each thing that can be wrong.

A message names the file or item, what was found, what was expected and what to do.
"""


class MechpatchError(Exception):
    """Base of all; the command line prints its text and exits with `exit_code`."""

    exit_code = 1


class PairError(MechpatchError):
    """A pair file or a pair cannot be used."""


class CheckpointError(MechpatchError):
    """A model, adapter or CODI checkpoint cannot be loaded whole, or is no longer what was loaded."""


class ThoughtError(MechpatchError):
    """A question cannot be laid out as asked: no such site, unequal steps, an answer that is not found."""


class SpecError(MechpatchError):
    """An experiment was asked for that cannot be run, or that differs from the one in the directory."""


class StorageError(MechpatchError):
    """A file of a run or of the cache cannot be written or is damaged."""


class NumericsError(MechpatchError):
    """A forward pass gave NaN or infinity, or two computations that must agree do not."""


class WorkerError(MechpatchError):
    """Workers of a cluster cannot be had, or go down again and again."""
