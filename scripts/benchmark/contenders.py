"""The other ways to run the same patches, each as its own documentation advises. All give the same logits.

A contender is made for a case and runs some of its patches; the result is compared with the engine's. Nothing of it is
timed but the runs themselves: the clean run's vectors are given to all of them, models and wrappers are made before.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch
from jaxtyping import Int
from make_checkpoint import byte_tokenizer
from torch import Tensor
from transformer_lens import HookedTransformer, patching
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights

from benchmark.cases import Case, Model
from mechpatch.axes import SiteVectors
from mechpatch.models.hooked import hooked_config
from mechpatch.patching import reference
from mechpatch.patching.patch import Patch

Run = Callable[[Sequence[Patch]], list[Tensor]]  # logits [2 position vocab] of each patch, at the answer positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to run patches.

    Attributes:
        about: how, in words; for the table.
        make: from a case and the donor's vectors; ImportError says that it cannot be had here.
        kinds: of thoughts that it can do.
        row: whether it runs all thoughts of one layer as one batch; one patch at a time otherwise.
        whole: whether every other patch and the unpatched runs cost it the same, so that the whole job is known too.
    """

    name: str
    about: str
    make: Callable[[Case, SiteVectors], Run]
    kinds: tuple[str, ...] = ("static", "latent")
    row: bool = False
    whole: bool = False


@cache
def copied_model(model: Model) -> HookedTransformer:
    """What `HookedTransformer.from_pretrained_no_processing` gives: weights copied into transformer-lens' own layout.

    These are its last steps: the same class, the same conversion, `load_and_process_state_dict` with every processing
    off. The steps before ask a hub and know hard-coded shapes only.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cfg = hooked_config(model.hf, model.hooked.cfg.n_ctx)
        copied = HookedTransformer(cfg, move_to_device=False)
    copied.load_and_process_state_dict(
        convert_llama_weights(model.hf, cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    torch.nn.Module.to(copied, model.hooked.W_E.device)
    for mine, ours in zip(copied.blocks, model.hooked.blocks, strict=True):  # its own tables differ in the fifth digit
        mine.attn.rotary_cos, mine.attn.rotary_sin = ours.attn.rotary_cos, ours.attn.rotary_sin
    return copied.eval().requires_grad_(False)


def hooks_on(get: Callable[[Model], HookedTransformer]) -> Callable[[Case, SiteVectors], Run]:
    """One run for each patch with transformer-lens' hooks: our reference, which unembeds the answer positions alone."""

    def make(case: Case, donor: SiteVectors) -> Run:
        model = get(case.model)

        def run(patches: Sequence[Patch]) -> list[Tensor]:
            swept = reference.sweep(model, case.model.head, case.batch, donor, patches)
            return [outcome.logits[0] for _, outcome in swept]

        return run

    return make


def generic_patching(case: Case, donor: SiteVectors) -> Run:
    """`transformer_lens.patching.generic_activation_patch` over the given (layer, position), both answers as rows."""
    tokens, reads = rows_of(case), case.batch.reads[0]
    columns = case.batch.columns[0, 0]
    clean = {
        f"blocks.{layer}.hook_resid_post": torch.zeros(
            2, tokens.shape[1], donor.shape[-1], dtype=donor.dtype, device=donor.device
        )
        for layer in range(case.model.depth)
    }
    for layer, stream in enumerate(clean.values()):
        stream[:, columns] = donor[0, :, layer]
    index = torch.arange(2)[:, None]

    def run(patches: Sequence[Patch]) -> list[Tensor]:
        found: list[Tensor] = []

        def metric(logits: Tensor) -> Tensor:
            found.append(logits[index, reads])
            return logits.new_zeros(())

        cells = [(patch.layer, int(columns[patch.sites[0]])) for patch in patches]
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            patching.generic_activation_patch(
                case.model.hooked,
                tokens,
                clean,  # pyright: ignore[reportArgumentType]  # read like an ActivationCache
                metric,
                patching.layer_pos_patch_setter,
                "resid_post",
                index_df=pd.DataFrame(cells, columns=["layer", "pos"]),
            )
        return found

    return run


def nnsight_trace(case: Case, donor: SiteVectors) -> Run:
    """One trace with an invoke for each patch: nnsight makes one batch of them."""
    from nnsight.modeling.transformers import TransformersModel  # pyright: ignore[reportMissingImports]  # optional

    wrapped = TransformersModel(case.model.hf, tokenizer=byte_tokenizer(case.model.hf.config.vocab_size))
    tokens, columns = rows_of(case), case.batch.columns[0, 0].tolist()
    kept, reads = kept_logits(case)

    def run(patches: Sequence[Patch]) -> list[Tensor]:
        found = []
        with torch.no_grad(), wrapped.trace(logits_to_keep=kept) as tracer:
            for patch in patches:
                with tracer.invoke(tokens):
                    site = patch.sites[0]
                    wrapped.model.layers[patch.layer].output[:, columns[site]] = donor[0, :, patch.layer, site]
                    found.append(wrapped.lm_head.output.save())
        return [logits[torch.arange(2)[:, None], reads] for logits in found]

    return run


def pyvene_batch(case: Case, donor: SiteVectors) -> Run:
    """An `IntervenableModel` for each layer, all thoughts of it as one batch, with the vectors given."""
    with contextlib.redirect_stdout(io.StringIO()):
        import pyvene  # pyright: ignore[reportMissingImports]  # optional

    tokens, columns = rows_of(case), case.batch.columns[0, 0].tolist()
    kept, reads = kept_logits(case)

    def run(patches: Sequence[Patch]) -> list[Tensor]:
        (layer,) = {patch.layer for patch in patches}
        sites = [patch.sites[0] for patch in patches]
        about = {"layer": layer, "component": "block_output", "unit": "pos", "max_number_of_units": 1}
        config = pyvene.IntervenableConfig([about], intervention_types=pyvene.VanillaIntervention)
        model = pyvene.IntervenableModel(config, model=case.model.hf)
        places = [[columns[site]] for site in sites for _ in range(2)]
        source = donor[0, :, layer, sites].transpose(0, 1).flatten(0, 1)[:, None]  # [(patch 2) 1 d_model]
        with torch.no_grad():
            _, outputs = model(
                {"input_ids": tokens.repeat(len(sites), 1), "logits_to_keep": kept},
                unit_locations={"sources->base": (None, [places])},
                source_representations=source,
            )
        logits = outputs.logits.unflatten(0, (-1, 2))
        return [each[torch.arange(2)[:, None], reads] for each in logits]

    return run


def rows_of(case: Case) -> Int[Tensor, "2 position"]:
    """The corrupted question with both continuations, as token ids."""
    batch = case.batch
    return torch.cat([batch.prompt.repeat(2, 1), batch.tails[0]], dim=1)


def kept_logits(case: Case) -> tuple[int, Tensor]:
    """How many last positions have to be unembedded, and where the answer positions are among them."""
    length = case.batch.tail_start + case.batch.tails.shape[2]
    kept = length - int(case.batch.reads.min())
    return kept, case.batch.reads[0] - (length - kept)


CONTENDERS = (
    Contender(
        name="copied",
        about="plain hooks, from_pretrained_no_processing",
        make=hooks_on(copied_model),
        whole=True,
    ),
    Contender(
        name="shared", about="plain hooks, zero-copy load", make=hooks_on(lambda model: model.hooked), whole=True
    ),
    Contender(
        name="generic",
        about="transformer_lens.patching, zero-copy load",
        make=generic_patching,
        kinds=("static",),
    ),
    Contender(
        name="nnsight", about="nnsight, several invokes in one trace", make=nnsight_trace, kinds=("static",), row=True
    ),
    Contender(name="pyvene", about="pyvene, one batch a layer", make=pyvene_batch, kinds=("static",), row=True),
)
