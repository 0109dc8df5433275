"""The memory that a run takes, and what is left of its bound for a chunk of patches.

All is counted from shapes and nothing is measured: equal bounds give equal chunks, and so equal bits. `spec.memory`
bounds the process (on a GPU, what is on it): libraries, weights, and then what a batch must have and one chunk, or what
the end takes: summary, figures and page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from mechpatch.errors import SpecError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.pinned import too_large
from mechpatch.experiments.running.activations import KEPT
from mechpatch.experiments.running.engines import ENGINES
from mechpatch.experiments.spec import Spec, recipient
from mechpatch.metrics import CHUNK
from mechpatch.models import ThoughtModel
from mechpatch.names import OPTIONS
from mechpatch.patching import Batch, collate, engine
from mechpatch.patching.attribution import bytes_of_gradients
from mechpatch.patching.memory import Memory, memory_bound
from mechpatch.patching.wide import PIECE
from mechpatch.points import POINTS, Sizes
from mechpatch.thoughts import Layout

MB = 2**20
LIBRARIES = 600_000_000  # resident once all is imported, measured on Linux
PER_TOKEN = 1000  # bytes of a tokenizer, for each of its tokens; measured
END, PER_RECORD = 140_000_000, 1_300  # bytes of summary, figures and page; measured on 50,000 and 200,000 records
WIDE = 8  # bytes of a float64
Layouts = Sequence[tuple[Layout, Layout]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes that a batch takes.

    Attributes:
        bound: bytes that all of it may take; as asked for, or the memory of the device.
        process: libraries and weights.
        batch: what is held as long as the batch is run: its unpatched runs and the vectors of donors.
        work: metrics of one patch, its check with plain hooks and by the referee, or the gradients of one pair where
            cells are screened, whichever takes most.
        rows, logits: bytes of one patch of the fast engine, see `engine.bytes_of_rows`; 0 with plain hooks.
        says: whether runs go on by themselves: logits are then made while all rows' keys and values are held.
        cap: bytes of a chunk of patches, whatever the bound: a larger one would not be faster.
        end: summary, figures and page of the whole run, when no batch is held any more.
    """

    bound: int
    process: int
    batch: int
    work: int
    rows: int
    logits: int
    cap: int
    end: int = 0
    says: bool = False

    @property
    def least(self) -> int:
        """The least bound with which this batch can be run, one patch at a time, and the run be ended."""
        return self.process + max(self.batch + self.work + self.rows + self.logits, self.end)

    @property
    def chunk(self) -> int:
        """Bytes for one chunk of patches."""
        return max(self.rows + self.logits, min(self.cap, self.bound - self.process - self.batch - self.work))

    def peak(self, patches: int) -> int:
        """The largest memory, when at most so many patches go into one chunk."""
        if not self.rows:
            return self.process + max(self.batch + self.work, self.end)
        fit, at_once = engine.chunking(self.chunk, self.rows, self.logits)
        rows, logits = min(fit, patches) * self.rows, min(at_once, fit, patches) * self.logits
        # When logits are made, only the last hidden states are kept of the rows.
        saying = rows + logits if self.says else 0
        return self.process + max(self.batch + max(rows, saying, rows // 8 + logits + self.work), self.end)


def footprint(
    model: ThoughtModel, spec: Spec, layouts: Layouts, pairs: int, records: int = 0, memory: Memory | None = None
) -> Footprint:
    """What the pairs with `layouts` take in one batch, in a run of so many pairs, which ends with so many records.

    Args:
        memory: what patches are cut into chunks by; None for what `spec` and this machine give.
    """
    memory = memory or Memory.of(model.device, spec.memory)
    cfg, element, sites = model.hooked.cfg, model.hooked.cfg.dtype.itemsize, len(layouts[0][0].sites)
    recorded = [shapes for pair in layouts for shapes in ENGINES[spec.engine].shapes(model.hooked, pair, spec.points)]
    vectors = sum(2 * sites * floats_of(model, hook) for hook in spec.points)  # of one pair; a batch holds three such
    batch = sum(prod(shape) for shapes in recorded for shape in shapes.values())
    # On a device questions are recorded together, in one base run.
    base_bytes = 0 if model.device.type == "cpu" else batch * element
    batch += (min(pairs, KEPT) + 3 * len(layouts)) * vectors
    if spec.expected or "swap" in spec.experiments:  # questions are recorded again, with expected answers
        batch *= 2
    screened = [hook for hook in spec.points if POINTS[hook].parts]
    rows = logits = work = 0
    say, varied = spec.say or 0, bool({"count", "early"} & {*spec.experiments})
    for direction in spec.directions:
        collated = collate([pair[recipient(direction)] for pair in layouts], model.device)
        read = 2 * collated.reads.shape[2] * len(layouts) * cfg.d_vocab_out * element
        metrics = min(8 * read, 4 * CHUNK) + 2 * read
        work = max(work, metrics)
        if spec.checks > 0 or spec.engine == "reference" or varied:
            work = max(work, bytes_of_a_plain_run(model, collated, say) + 4 * read)
        if spec.screen is not None:  # before anything is patched, pair by pair if need be
            work = max(work, bytes_of_gradients(model.hooked, collated, screened))
        if spec.checks > 0 and spec.engine == "fast":
            work = max(work, read + bytes_of_a_judgement(model, collated))
        if spec.engine == "fast":
            base = engine.empty_base(model.hooked, model.head, collated, spec.points)
            base_bytes = max(base_bytes, base.nbytes)
            rows = max(rows, *(engine.bytes_of_rows(base, hook, say) for hook in spec.points))
            if say and varied:  # what they say is read off base runs of their own, with a copy of keys and values
                work = max(work, 2 * base.nbytes)
            logits = max(logits, engine.bytes_of_logits(base))
    return Footprint(
        bound=memory.bound,
        process=bytes_of_the_process(model),
        batch=batch * element + base_bytes,
        work=work,
        rows=rows,
        logits=logits,
        cap=memory.chunk,
        says=say > 0 and spec.engine == "fast",
        end=0 if model.device.type == "cuda" or not records else END + PER_RECORD * records,
    )


def floats_of(model: ThoughtModel, hook: str) -> int:
    """Numbers that a hook point has at one site, over all its layers."""
    cfg, point = model.hooked.cfg, POINTS[hook]
    return point.n_layers(cfg.n_layers) * prod(point.shape(Sizes.of(cfg)))


def footprint_of_batch(experiment: Experiment, indices: Sequence[int], records: int = 0) -> Footprint:
    """The footprint of one batch of an experiment that ends with so many records."""
    layouts = [experiment.layouts[index] for index in indices]
    return footprint(experiment.model, experiment.spec, layouts, len(experiment.layouts), records, experiment.memory)


def require_memory(experiment: Experiment) -> None:
    """Every batch, and the end, fits into the bound that was asked for, or a `SpecError` says which would do."""
    if experiment.spec.memory is None:
        return
    records = sum(map(experiment.work, experiment.batches))
    for indices in experiment.batches:
        require_fit(footprint_of_batch(experiment, indices, records), experiment.spec, len(indices))


def fitted(experiment: Experiment, mixed: bool) -> Experiment:
    """`experiment` in the chunks that its run was begun with; where they do not fit here, in this machine's own.

    Args:
        mixed: whether the latter is allowed.

    Raises:
        SpecError: it is not, and is needed.
    """
    device = experiment.model.device
    if experiment.memory == Memory.of(device, experiment.spec.memory):
        return experiment
    needed = max(footprint_of_batch(experiment, batch).peak(experiment.work(batch)) for batch in experiment.batches)
    if needed <= (here := memory_bound(device)):
        return experiment
    if not mixed:
        raise too_large(needed, here)
    return replace(experiment, pinned=None)


def require_fit(found: Footprint, spec: Spec, pairs: int) -> Footprint:
    """`found`, or a `SpecError` if this batch of so many pairs does not fit into what was asked for."""
    if spec.memory is not None and found.least > spec.memory:
        ends = found.least == found.process + found.end
        what = "summary, figures and page" if ends else "a batch and one patch of it"
        smaller = f", or choose a {OPTIONS['batch_size']} smaller than {pairs}" if pairs > 1 and not ends else ""
        raise SpecError(
            f"{OPTIONS['memory']} is {spec.memory // MB}, and {-(-found.least // MB)} MB are the least that is needed: "
            f"{found.process // MB} MB for libraries and weights, the rest for {what}. Give that{smaller}"
        )
    return found


def bytes_of_weights(model: ThoughtModel) -> int:
    """Bytes of all parameters; shared ones count once."""
    tensors = {each.data_ptr(): each for each in model.hooked.parameters()}
    if model.head is not None:
        tensors |= {each.data_ptr(): each for each in model.head.parameters()}
    return sum(each.nbytes for each in tensors.values())


def bytes_of_the_process(model: ThoughtModel) -> int:
    """Libraries, tokenizer and weights; on a GPU the weights alone."""
    weights = bytes_of_weights(model)
    if model.device.type == "cuda":
        return weights
    return LIBRARIES + PER_TOKEN * len(model.tokenizer) + weights


def bytes_of_a_plain_run(model: ThoughtModel, batch: Batch, say: int = 0) -> int:
    """Bytes of one run with plain hooks, which says so many tokens: activations and attention scores of a block, keys
    and values of all blocks."""
    cfg, width, tail = model.hooked.cfg, batch.width + say, batch.tails.shape[2] + say
    queries = max(batch.prompt.shape[1], 2 * tail) if batch.n_latents else 2 * width
    keys = Sizes.of(cfg).kv_heads * cfg.d_head * 2 * cfg.n_layers
    floats = queries * (8 * cfg.d_model + 4 * (cfg.d_mlp or 0)) + 4 * queries * width * cfg.n_heads
    return batch.size * (floats + 3 * width * keys * (batch.n_latents > 0)) * cfg.dtype.itemsize


def bytes_of_a_judgement(model: ThoughtModel, batch: Batch) -> int:
    """Bytes of one question of `batch`: the runs that measure the noise floor, and the float64 run, block by block."""
    cfg, hooked = model.hooked.cfg, model.hooked
    logits = 2 * batch.reads.shape[2] * cfg.d_vocab_out
    block = max(sum(each.numel() for each in layer.parameters()) for layer in hooked.blocks)
    run = bytes_of_a_plain_run(model, batch) // (batch.size * cfg.dtype.itemsize)
    # Four runs are stacked, and their largest and smallest logits taken; engine, hooks and float64 are compared.
    return max(12 * logits * cfg.dtype.itemsize, WIDE * max(run + block, PIECE * cfg.d_model + 2 * logits, 5 * logits))
