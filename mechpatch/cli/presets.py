"""Settings of published procedures by one name: each takes the place of a default, and an option that is given wins."""

from typing import Annotated, Any

from mechpatch.cli.options import ASKED, option
from mechpatch.errors import SpecError
from mechpatch.names import not_known

# By the names of parameters.
PRESETS: dict[str, dict[str, object]] = {
    # The patching of thought positions in https://github.com/GusSand/CoT_Exploration (10-30): questions without bos,
    # five pad tokens between bot and eot in one forward pass, and all that is read is read at eot.
    "seed-placeholder": {
        "thoughts": "placeholder",
        "latents": 5,
        "bos": False,
        "answer_prefix": "",
        "distances": "first",
    },
}


def _take_defaults(context: Any, name: str | None) -> str | None:
    if name is not None:
        if name not in PRESETS:
            raise SpecError(not_known("--preset", [name], [*PRESETS]))
        context.default_map = {**(context.default_map or {}), **PRESETS[name]}
    return name


Preset = Annotated[
    str | None,
    option(
        "--preset",
        panel=ASKED,
        metavar="NAME",
        help=f"Settings of a published procedure: {', '.join(PRESETS)}.",
        show_default="none",
        callback=_take_defaults,
        is_eager=True,
    ),
]
