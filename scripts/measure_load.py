"""Load a checkpoint in a fresh process and print time and peak memory beside the bytes of its weights (Linux).

    python scripts/measure_load.py BASE [--adapter FOLDER] [--codi FILE] [--dtype bfloat16]

`peak` is all resident memory (VmHWM), pages of the mapped checkpoint files included; `anonymous` leaves those out,
because the kernel can drop them at any time (RssAnon, sampled). Both above what the libraries take: the demo model is
loaded and dropped first, because part of them is imported by the first load.
"""

import argparse
import gc
import json
import sys
import threading
import time

from memory import reset_peak, status

from mechpatch.models import load_model


class Sampler(threading.Thread):
    """Keeps the largest RssAnon seen, every millisecond until `stop`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.001):
            self.largest = max(self.largest, status("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--adapter")
    parser.add_argument("--codi")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    load_model("demo", device="cpu")
    gc.collect()
    before = {"VmHWM": reset_peak(), "RssAnon": status("RssAnon")}
    sampler = Sampler()
    sampler.start()
    started = time.monotonic()
    model = load_model(args.base, args.adapter, args.codi, dtype=args.dtype, device="cpu")
    seconds = time.monotonic() - started
    sampler.stop.set()
    sampler.join()
    shared = {value.untyped_storage().data_ptr(): value for value in model.hooked.parameters()}
    if model.head is not None:
        shared |= {value.data_ptr(): value for value in model.head.parameters()}
    weights = sum(value.numel() * value.element_size() for value in shared.values())
    found = {
        "seconds": round(seconds, 1),
        "weights": weights,
        "peak": status("VmHWM") - before["VmHWM"],
        "anonymous": sampler.largest - before["RssAnon"],
    }
    found |= {f"{name}_ratio": round(found[name] / weights, 3) for name in ("peak", "anonymous")}
    found |= {"left_out": model.about.get("left_out", {})}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
