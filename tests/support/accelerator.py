"""A pretended accelerator: tensors that say they are elsewhere, hold values on the CPU, and tell what CUDA would do.

    with accelerator() as seen:
        model = load_model("demo", device="lazy")  # from here on as on CUDA, with real values
        ...
    seen.events  # every wait and every copy, where it was and in which phase
    seen.kernels  # launches by phase

What CUDA refuses is refused: operands on two devices (but for a CPU scalar without dimensions in an elementwise
operation), a CPU tensor that is indexed by the device's. What it allows at the price of a wait is recorded:

    wait    `item`, `bool`, `nonzero`, `unique`, a mask as an index, and whatever else has a size that values decide
    up      a copy from the host, from memory that can be paged: the host waits for it
    pinned  a copy from the host that nobody waits for: from pinned memory, and non-blocking
    down    a copy to the host
    hidden  a copy from the host that the code does not show: a CPU tensor as an index of the device's

`lazy` it is because only it, `cpu` and `meta` have a device guard in a torch that was built without CUDA, and indexing
in Python asks for one. What cannot be told: the numbers of CUDA's own kernels, streams, memory.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE, CPU = torch.device("lazy:0"), torch.device("cpu")
WAIT, UP, PINNED, DOWN, HIDDEN = "wait", "up", "pinned", "down", "hidden"
BLOCKING = (WAIT, UP, DOWN, HIDDEN)
# No kernel: metadata alone, or memory of the caching allocator.
VIEWS = frozenset(
    "view _unsafe_view expand slice select transpose t unsqueeze squeeze permute detach alias as_strided split "  # noqa: SIM905
    "split_with_sizes unbind lift_fresh empty empty_like new_empty empty_strided new_empty_strided diagonal "
    "_reshape_alias".split()
)
WAITING = frozenset("_local_scalar_dense nonzero _unique2 masked_select equal is_nonzero bincount".split())  # noqa: SIM905
# These take no CPU scalar beside tensors of the device.
STRICT = frozenset("mm bmm addmm baddbmm cat stack gather scatter index_select".split())  # noqa: SIM905
INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})


class DeviceError(RuntimeError):
    """What CUDA refuses, or what the test at hand does."""


class OnDevice(Tensor):
    """A tensor of the device; `values` lie on the CPU."""

    values: Any
    __torch_function__: Any = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> "OnDevice":
        place: dict[str, Any] = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(cls, values.size(), dtype=values.dtype, device=DEVICE, **place)
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(Seen(), func, args, kwargs or {})  # outside of any `with`, or in another thread

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.values!r})"


class Event(NamedTuple):
    """A wait or a copy: what it is, of how many bytes, at which line of the package, in which phase."""

    kind: str
    operation: str
    size: int
    place: str
    phase: str


@dataclass(eq=False)
class Seen:
    """What was seen so far.

    Attributes:
        kernels: launches by phase; an empty result needs none, and `F.rms_norm` one.
        no_float64: whether the device is one without it, as MPS is.
    """

    events: list[Event] = field(default_factory=list)
    kernels: Counter[str] = field(default_factory=Counter)
    no_float64: bool = False
    _phase: str = ""
    _refused: frozenset[str] = frozenset()
    _fused: int = 0

    def count(self, *kinds: str, at: str = "", phase: str = "") -> int:
        """Events of these kinds, at a line or in a phase that has this in its name."""
        return sum(each.kind in kinds and at in each.place and phase in each.phase for each in self.events)

    @contextmanager
    def during(self, phase: str, *refused: str) -> Iterator[None]:
        """Name a phase, in which some kinds of events raise a `DeviceError`."""
        before = self._phase, self._refused
        self._phase, self._refused = phase, self._refused | {*refused}
        try:
            yield
        finally:
            self._phase, self._refused = before

    @contextmanager
    def fused(self) -> Iterator[None]:
        """One kernel, whatever the CPU makes of it."""
        self.launch()
        self._fused += 1
        try:
            yield
        finally:
            self._fused -= 1

    def launch(self) -> None:
        """A kernel is launched."""
        self.kernels[self._phase] += not self._fused

    def event(self, kind: str, operation: str, size: int) -> None:
        """Something is waited for or copied."""
        event = Event(kind, operation, size, _where(), self._phase)
        if kind in self._refused:
            raise DeviceError(f"{kind}: {operation}, {size} bytes, at {event.place}")
        self.events.append(event)


def _where() -> str:
    """The innermost line of the package under test; of whatever calls torch, if there is none."""
    frame, outer = sys._getframe(1), ""
    while frame is not None:
        name = frame.f_code.co_filename
        if "/mechpatch/" in name:
            return f"{name.rpartition('/mechpatch/')[2]}:{frame.f_lineno}"
        if not outer and "/torch/" not in name and name != __file__ and "contextlib" not in name:
            outer = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return outer


def _values(value: Any) -> Any:
    if isinstance(value, torch.device):
        return CPU if value.type == DEVICE.type else value
    return value.values if isinstance(value, OnDevice) else value


def _compute(seen: Seen, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Do what is asked on the CPU, if CUDA would, and tell what that costs there."""
    name, asked = func.overloadpacket.__name__, kwargs.get("device")
    asked = None if asked is None else torch.device(asked).type
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = [each for each in tensors if isinstance(each, OnDevice)]
    known = {id(each.values): each for each in there}  # what is changed in place stays itself

    def found() -> Any:
        return func(*tree_map(_values, args), **tree_map(_values, kwargs))

    def wrapped(out: Any) -> Any:
        if not isinstance(out, Tensor):
            return out
        if seen.no_float64 and out.dtype == torch.float64:
            raise DeviceError(f"{name} at {_where()}: this device has no float64")
        return known.get(id(out)) if id(out) in known else OnDevice(out)

    if kwargs.get("pin_memory") and asked != DEVICE.type:
        kwargs = {each: value for each, value in kwargs.items() if each != "pin_memory"}
        made = found()
        made.is_pinned_here = True
        return made
    if name == "_to_copy" and (there or asked == DEVICE.type):
        return _copied(seen, args[0], asked, kwargs, found, wrapped)
    if name == "copy_" and len(tensors) == 2 and len(there) == 1:
        kind = _upward(args[1], bool(args[2:] and args[2])) if isinstance(args[0], OnDevice) else DOWN
        seen.event(kind, name, args[1].nbytes)
        found()
        return args[0]
    if not there and asked != DEVICE.type:
        return func(*args, **kwargs)
    _judge(seen, name, args, tensors, there)
    if name in WAITING or (name == "repeat_interleave" and kwargs.get("output_size") is None):
        seen.event(WAIT, name, 0)
    result = found()
    if asked == CPU.type:
        return result
    if name not in VIEWS and not _nothing(name, args, result):
        seen.launch()
    return tree_map(wrapped, result)


def _copied(
    seen: Seen, source: Tensor, asked: str | None, kwargs: Any, found: Callable[[], Any], wrapped: Callable[[Any], Any]
) -> Any:
    """`.to(…)`, in all its forms."""
    if not isinstance(source, OnDevice):
        if source.device.type != "meta":
            seen.event(_upward(source, kwargs.get("non_blocking", False)), "_to_copy", source.nbytes)
        return wrapped(found())
    if asked in (None, DEVICE.type):
        seen.launch()
        return wrapped(found())
    copied = found()
    if copied.dtype != source.dtype:  # it is converted first
        wrapped(copied)
    seen.event(DOWN, "_to_copy", copied.nbytes)
    return copied


def _upward(source: Tensor, non_blocking: bool) -> str:
    return PINNED if non_blocking and getattr(source, "is_pinned_here", False) else UP


def _judge(seen: Seen, name: str, args: Sequence[Any], tensors: Sequence[Tensor], there: Sequence[Tensor]) -> None:
    """Refuse tensors on two devices, and tell what an index costs."""
    here = [each for each in tensors if not isinstance(each, OnDevice)]
    if name in INDEXING:
        indices = [each for each in args[1] if isinstance(each, Tensor)]
        if not isinstance(args[0], OnDevice):
            raise DeviceError(f"{name} at {_where()}: a CPU tensor is indexed with, or given, one of the device")
        for index in indices:
            if not isinstance(index, OnDevice):
                seen.event(HIDDEN, name, index.nbytes)
            if index.dtype == torch.bool:
                seen.event(WAIT, f"{name} with a mask", index.numel())
        here = [each for each in here if not any(each is index for index in indices)]
    if there and name != "lift_fresh" and any(each.ndim or name in STRICT for each in here):
        shapes = [(tuple(each.shape), str(each.device)) for each in tensors]
        raise DeviceError(f"{name} at {_where()}: tensors on two devices: {shapes}")


def _nothing(name: str, args: Sequence[Any], result: Any) -> bool:
    """Whether nothing is computed."""
    if name in INDEXING and name != "index":
        return any(isinstance(each, Tensor) and not each.numel() for each in args[1])
    results = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
    return bool(results) and not any(each.numel() for each in results)


class _Dispatch(TorchDispatchMode):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(self.seen, func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What CUDA has as one kernel and the CPU as several, and what torch does not have for subclasses."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        if func is torch.nn.functional.rms_norm:
            with self.seen.fused():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def accelerator() -> Iterator[Seen]:
    """Whatever asks for `DEVICE` gets tensors of the pretended device."""
    import transformer_lens.HookedTransformer  # noqa: F401

    lens: Any = sys.modules["transformer_lens.HookedTransformer"]
    lens.type = lambda value: Tensor if isinstance(value, OnDevice) else type(value)  # it asserts that a type is Tensor
    seen, lifted = Seen(), torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # without, `torch.tensor(…, device=…)` goes past every mode
    try:
        with torch.no_grad(), _Dispatch(seen), _Functions(seen):
            yield seen
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        del lens.type
