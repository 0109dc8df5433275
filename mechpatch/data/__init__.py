"""What is shipped: the demo model (base and CODI checkpoint apart, with its card) and the demo pairs."""

from pathlib import Path

DEMO = "demo"  # the name under which the command line takes both
DEMO_FOLDER = Path(__file__).parent / "demo"
DEMO_LORA_ALPHA, DEMO_LATENTS = 64.0, 5


def pair_path(name: str) -> Path:
    """The shipped pairs for "demo"; anything else is a file."""
    return DEMO_FOLDER / "pairs.json" if name == DEMO else Path(name)
