"""Options that say which model: one set for all commands, which becomes one `ModelSource`."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from mechpatch.cli.options import (
    ASKED,
    MODEL,
    Adapter,
    Codi,
    Latents,
    LoraAlpha,
    LoraTargets,
    Model,
    option,
    split,
    unescaped,
)
from mechpatch.data import SHIPPED
from mechpatch.errors import CheckpointError
from mechpatch.families import NAMES, PAUSE
from mechpatch.source import ModelSource

Coconut = Annotated[
    Path | None,
    option("--coconut", panel=MODEL, metavar="PATH", help="Coconut checkpoint: a directory or a state dict."),
]
Family = Annotated[
    str | None,
    option(
        "--family",
        panel=MODEL,
        metavar="NAME",
        help=f"One of {', '.join(NAMES)}; pause is that of the files with one token in place of each thought.",
        show_default="told by the files",
    ),
]
SpecialIds = Annotated[
    str | None,
    option(
        "--special-ids",
        panel=MODEL,
        metavar="LIST",
        help="Ids of special tokens, with commas between: pad,bot,eot for CODI, bot,eot for soft.",
        show_default="those of the family",
    ),
]
Bos = Annotated[
    bool | None,
    option(
        "--bos/--no-bos",
        panel=ASKED,
        metavar="",
        help="Whether questions begin with the bos token.",
        show_default="what the tokenizer does",
    ),
]
QuestionFormat = Annotated[
    str | None,
    option(
        "--question-format",
        panel=ASKED,
        help="What is read for a question, for example 'Q: {question}\\n'.",
        show_default="that of the family",
    ),
]
IgnoreKeys = Annotated[
    list[str] | None,
    option(
        "--ignore-keys",
        panel=MODEL,
        metavar="PREFIX",
        help="Leave out keys that begin so; may be given several times.",
        show_default="what the family leaves out",
    ),
]
Tie = Annotated[
    str | None,
    option(
        "--tie",
        panel=MODEL,
        metavar="WHICH",
        help="first or second: which of two unequal copies of a tied embedding counts.",
        show_default="they must be equal",
    ),
]
SoftTopK = Annotated[
    int | None,
    option(
        "--soft-top-k",
        panel=MODEL,
        metavar="N",
        help="With --family soft: how many of the likeliest tokens a thought mixes.",
        show_default="10, as published",
    ),
]
SoftTemperature = Annotated[
    float | None,
    option(
        "--soft-temperature",
        panel=MODEL,
        metavar="T",
        help="With --family soft: temperature of their probabilities.",
        show_default="0.6, as published",
    ),
]


def make_source(
    model: Model = "demo",
    adapter: Adapter = None,
    codi: Codi = None,
    coconut: Coconut = None,
    family: Family = None,
    lora_alpha: LoraAlpha = None,
    lora_targets: LoraTargets = None,
    latents: Latents = None,
    special_ids: SpecialIds = None,
    bos: Bos = None,
    question_format: QuestionFormat = None,
    ignore_keys: IgnoreKeys = None,
    tie: Tie = None,
    soft_top_k: SoftTopK = None,
    soft_temperature: SoftTemperature = None,
) -> ModelSource:
    """What was asked for, refused at once where it cannot be."""
    return ModelSource(
        base=model,
        adapter=adapter,
        codi=codi,
        coconut=coconut,
        family=family,
        lora_alpha=lora_alpha,
        lora_targets=split(lora_targets) if lora_targets else None,
        n_latents=latents,
        special_ids=None if special_ids is None else parse_ids(special_ids),
        bos=bos,
        question_format=None if question_format is None else unescaped(question_format),
        ignore_keys=tuple(ignore_keys or ()),
        tie=tie,
        soft_top_k=soft_top_k,
        soft_temperature=soft_temperature,
    )


def arguments_of(source: ModelSource) -> list[str]:
    """The options that name a model, as a person would type them."""
    names = {"base": "model", "n_latents": "latents"}
    found: list[str] = []
    for field, value in source.as_json().items():
        name = f"--{names.get(field, field).replace('_', '-')}"
        if isinstance(value, bool):
            found.append(name if value else name.replace("--", "--no-", 1))
        elif field == "ignore_keys":
            found += [word for each in value for word in (name, each)]
        else:
            found += [name, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return found


def kind_of_thoughts(asked: str, source: ModelSource) -> str:
    """Where nothing is fed back the thoughts are copies of one token, unless they are text."""
    row = SHIPPED.get(str(source.base))
    family = source.family or (row and row.family)
    return "placeholder" if asked == "latent" and family == PAUSE else asked


def parse_ids(text: str) -> tuple[int, ...]:
    """Token ids from "128256,128257"; empty for none."""
    items = split(text)
    if wrong := [each for each in items if not each.isdecimal() or len(each) > 9]:
        raise CheckpointError(
            f"--special-ids {text!r}: {wrong[0]!r} is no token id; expected numbers with commas between"
        )
    return tuple(map(int, items))


def with_options(made_by: Callable[..., Any], command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command`, whose first parameter is what `made_by` returns, the options that make one.

    An option that both have is the command's.
    """
    _, *others = inspect.signature(command).parameters.values()
    names = {each.name for each in others}
    asked = {name: each for name, each in inspect.signature(made_by).parameters.items() if name not in names}

    @wraps(command)
    def called(**given: Any) -> Any:
        return command(made_by(**{name: given.pop(name) for name in asked if name in given}), **given)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*asked.values(), *others)]
    called.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def with_source(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command`, whose first parameter is a `ModelSource`, the options that make one."""
    return with_options(make_source, command)
