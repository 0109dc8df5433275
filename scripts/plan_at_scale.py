"""What a job takes at shapes that no test machine can hold: operations counted on headers, hours at stated rates.

    python scripts/plan_at_scale.py --pairs pairs.json --total 7473 --tflops 1b:30,8b:30 [--workers 1,8,64]

Counts the pairs of a file exactly as `mechpatch plan` does, with LLaMA-3's tokenizer, CODI's layout with six thoughts
and a model whose weights are headers alone, and scales their mean to `--total` pairs. Nothing is run or timed.
"""

import argparse
import logging
from pathlib import Path

import torch
from llama_tokenizer import llama3_tokenizer
from make_checkpoint import HEAD_DIM, SHAPES, llama3
from transformers import LlamaForCausalLM

from mechpatch.experiments.counted import count
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.pair_file import screened
from mechpatch.experiments.spec import Spec, parse_experiments
from mechpatch.experiments.spread import parse_workers, seconds_at, spread
from mechpatch.families import CODI
from mechpatch.formats import amount, duration
from mechpatch.models import ThoughtModel
from mechpatch.models.heads import LatentHead
from mechpatch.models.hooked import to_hooked
from mechpatch.pairs import load_pairs

log = logging.getLogger("plan_at_scale")
EIGHT = llama3(4096, layers=32, heads=32)
EIGHT.intermediate_size, EIGHT.tie_word_embeddings = 14336, False
ALL = {**SHAPES, "8b": EIGHT}


class OnPaper(ThoughtModel):
    """A model of headers, whose questions are laid out on the CPU."""

    @property
    def device(self) -> torch.device:
        """Where indices are."""
        return torch.device("cpu")


def on_paper(shape: str) -> OnPaper:
    """A model of a shape, without weights."""
    config = ALL[shape]
    tokenizer = llama3_tokenizer()
    config.vocab_size += 3
    tokenizer.add_tokens(["<pad>", "<bot>", "<eot>"], special_tokens=True)
    with torch.device("meta"):
        hf = LlamaForCausalLM(config).eval().requires_grad_(False)
        hooked = to_hooked(hf, 2048)
        sizes = {"1": (HEAD_DIM, config.hidden_size), "3": (config.hidden_size, HEAD_DIM)}
        state = {f"prj.{name}.weight": torch.empty(size) for name, size in sizes.items()}
        state |= {f"prj.{name}.bias": torch.empty(size[0]) for name, size in sizes.items()}
    pad, bot, eot = range(config.vocab_size - 3, config.vocab_size)
    return OnPaper(
        hooked=hooked, tokenizer=tokenizer, head=LatentHead(state), n_latents=6, pad=pad, bot=bot, eot=eot,
        fingerprint=shape, parity=0.0, family=CODI,
    )  # fmt: skip


def main() -> None:
    """Print a line for each shape and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--total", type=int, default=7473)
    parser.add_argument("--tflops", default="1b:30,8b:30")
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--nulls", default="other_pair")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    nulls = tuple(given.nulls.split(",")) if given.nulls else ()
    spec = Spec(experiments=parse_experiments(["all"]), nulls=nulls)
    for text in given.tflops.split(","):
        shape, _, rate = text.partition(":")
        model = on_paper(shape)
        found = screened(load_pairs(given.pairs), str(given.pairs), model, spec)
        experiment = Experiment.prepare(model, spec, found.kept)
        counts = count(experiment)
        each = counts.flops / len(found.kept)
        batches = -(-given.total // spec.batch_size)
        log.info(
            "%s: %d pairs counted, %sFLOP a pair, %.0f %% of it checks; %s pairs: %sFLOP in %d batches, at %s TFLOP/s",
            shape, len(found.kept), amount(each), 100 * counts.checks.flops / counts.flops, f"{given.total:,}",
            amount(each * given.total), batches, rate,
        )  # fmt: skip
        for row in spread(batches, seconds_at(each * given.total, float(rate)), parse_workers(given.workers)):
            log.info("  %4d workers  %s, busy %.0f %%", row.workers, duration(row.hours * 3600), 100 * row.busy)


if __name__ == "__main__":
    main()
