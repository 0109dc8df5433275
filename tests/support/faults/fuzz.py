"""Inputs made by hypothesis: each must give a typed error or a right result, never another exception and never a hang.

A target is a strategy and a check. The check returns "kept" or "refused", and raises AssertionError for a wrong result.
"""

import contextlib
import io
import json
import shutil
import signal
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import typer
from checkpoints import codi_state, edit_json, tiny_llama, write_base, write_peft, write_state
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import mechpatch.models
from mechpatch import cli
from mechpatch.data import pair_path
from mechpatch.errors import CheckpointError, PairError, ThoughtError
from mechpatch.models import ThoughtModel, load_model, load_source
from mechpatch.pairs import answer_text, answer_value, load_pairs, to_prepared
from mechpatch.source import ModelSource
from mechpatch.thoughts.layout import answer_tails

PATIENCE = 60  # seconds for one input


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed, with inputs of `strategy`."""

    strategy: st.SearchStrategy
    check: Callable[[Any], str]


def fuzz(target: Target, examples: int, number: int | None = None) -> Counter[str]:
    """How many inputs were kept and refused. Derandomised without `number`, a seed."""
    found: Counter[str] = Counter()

    def one(case: Any) -> None:
        with in_time(PATIENCE):
            found[target.check(case)] += 1

    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    quick = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=number is None,
        suppress_health_check=unhurried,
        phases=[Phase.generate, Phase.shrink],
    )
    test = quick(given(target.strategy)(one))
    (test if number is None else seed(number)(test))()
    return found


@contextmanager
def in_time(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in a block that takes longer."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


DIGITS = "0123456789" + "٠١٢٣٤٥٦٧٨٩" + "０１２３４５６７８９" + "४५" + "²½Ⅷ"
NUMBERS = st.one_of(
    st.text("0123456789.,-+eE ", max_size=12),
    st.text(DIGITS + "-−－＋+.,．，٫٬ \u00a0\t", max_size=12),
    st.text(string.digits, min_size=60, max_size=6000),
    st.integers().map(str),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.from_regex(r"[+-−]?\d{1,4}(,\d{3}){0,3}(\.\d{0,4})?([eE][+-]?\d{1,7})?", fullmatch=True),
    st.sampled_from(["", "-", "+0", "-0", "1e999999999", "0x10", "1_000", "١٢٣", "--1", "1,00", "∞", "NaN", "true"]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), NUMBERS, st.text(max_size=20), st.just(10**400),
    st.just("\ud800"), st.just("x" * 10_000), st.just(2**60 + 1),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["pair_id", "clean", "corrupted", "question", "answer", "cot", "variant", "extra", "", "\ud800"])


def side(seed_text: str) -> st.SearchStrategy:
    return st.fixed_dictionaries({"question": st.just(seed_text) | SCALARS, "answer": NUMBERS | SCALARS}).flatmap(
        lambda made: st.dictionaries(KEYS, VALUES, max_size=2).map(lambda more: {**more, **made})
    )


def pair(n: int) -> st.SearchStrategy:
    first, second = side(f"Q {n} one?") | VALUES, side(f"Q {n} two?")
    return st.fixed_dictionaries({"pair_id": st.just(f"p{n}") | SCALARS, "clean": first, "corrupted": second})


PAIRS = st.lists(st.integers(0, 9).flatmap(pair) | VALUES, max_size=4)
EDITS = st.binary(max_size=3) | st.sampled_from([b"NaN", b"1e9999", b'"', b"\\u0000"])


@st.composite
def pair_bytes(draw: st.DrawFn) -> bytes:
    """A file of pairs: made values, sound bytes with edits, or something that is only nearly JSON."""
    kind = draw(st.sampled_from(["values", "lines", "edited", "nested", "repeated", "random"]))
    if kind == "values":
        data = json.dumps(draw(PAIRS)).encode()
    elif kind == "lines":
        data = "\n".join(json.dumps(each, ensure_ascii=draw(st.booleans())) for each in draw(PAIRS)).encode(
            "utf-8", "surrogatepass"
        )
    elif kind == "edited":
        data = bytearray(json.dumps(json.loads(pair_path("demo").read_bytes())[:2]).encode())
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, len(data)))
            data[at : at + draw(st.integers(0, 3))] = draw(EDITS)
        data = bytes(data)
    elif kind == "nested":
        deep = draw(st.integers(1, 100_000))
        data = draw(
            st.sampled_from([b"[" * deep, b'{"a":' * deep, b"[" * deep + b"]" * deep, b'[{"pair_id":' + b"[" * deep])
        )
    elif kind == "repeated":
        key = draw(st.sampled_from(["pair_id", "answer", "question", "x"]))
        data = f'[{{"{key}": 1, "{key}": {json.dumps(draw(SCALARS))}, "pair_id": "a"}}]'.encode(
            "utf-8", "surrogatepass"
        )
    else:
        data = draw(st.binary(max_size=200))
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\n \t"])) + data


def check_pair_bytes(data: bytes) -> str:
    """Faults, or pairs that are written and read again as they are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.json"
        path.write_bytes(data)
        try:
            pairs = load_pairs(path)
        except PairError:
            return "refused"
        path.write_text(json.dumps(to_prepared(pairs), allow_nan=False), encoding="utf-8")
        assert load_pairs(path) == pairs
        for pair in pairs:
            numbers = [isinstance(side.value, Fraction) for side in (pair.clean, pair.corrupted)]
            assert (pair.answer_difference is not None) == all(numbers)
            assert (pair.answer_difference or 0) >= 0
            assert pair.record_fields() is not None
        return "kept"


def check_answer(text: str) -> str:
    """No answer, or the text as it is written; its value is the number that an independent reading gives, if any."""
    try:
        found = answer_text(text)
    except ValueError:
        return "refused"
    assert found == text.strip()
    expected = independent_value(found)
    assert answer_value(found) == (found if expected is None else expected), text
    return "kept"


def independent_value(text: str) -> Fraction | None:
    """What the decimal module reads, where commas stand between thousands and an exponent has at most two digits."""
    plain = "".join(str(int(each)) if each.isdecimal() else each for each in text)
    plain = plain.translate(str.maketrans("−－＋．，٫٬", "--+.,.,")).lower()
    first, *thousands = plain.lstrip("+-").partition("e")[0].partition(".")[0].split(",")
    grouped = not thousands or (len(first) in (1, 2, 3) and all(len(each) == 3 for each in thousands))
    exponent = plain.partition("e")[2].lstrip("+-")
    if not grouped or plain.count(",") > len(thousands) or "_" in plain or len(exponent) > 2:
        return None
    try:
        return Fraction(Decimal(plain.replace(",", "")))
    except (ArithmeticError, ValueError):
        return None


def answer_target(model: ThoughtModel) -> Target:
    """Pairs of answers through the tokenizer: their tokens are found whole, after tokens that both share."""

    def check(case: tuple[str, str, str]) -> str:
        *answers, prefix = case
        try:
            first, second = (answer_text(each) for each in answers)
            tails = answer_tails(model.tokenizer, [model.eot or 0], prefix, (first, second))
        except (ValueError, ThoughtError):
            return "refused"
        assert tails[0].answer == tails[1].answer
        assert tails[0].tokens[: tails[0].answer] == tails[1].tokens[: tails[1].answer]
        for tail, answer in zip(tails, (first, second), strict=True):
            text = "".join(
                each.removeprefix("##") for each in model.tokenizer.convert_ids_to_tokens(list(tail.answer_tokens))
            )
            assert "[UNK]" in text or "<unk>" in text or text.endswith("".join(answer.split())), (text, answer)
        return "kept"

    prefixes = st.sampled_from(["The answer is:", "", " ", "9", "-", "The answer is: ", "##", "<|eot|>"]) | st.text(
        max_size=12
    )
    answers = NUMBERS | st.sampled_from(["apples", "Tom has 5", "more pens", "Mary"])
    return Target(st.tuples(answers, answers, prefixes), check)


ODD = st.one_of(
    VALUES,
    st.sampled_from(
        [-1, 0, 10**9, "q_proj", ["q_proj"], ["nowhere"], ".*", "all-linear", True, 0.5, "none", "lora_only"]
    ),
)


def adapter_target(folder: Path) -> Target:
    """Fields of adapter_config.json with odd values: refused, or a model that agrees with Hugging Face."""
    write_base(folder / "base", tiny_llama())
    write_peft(folder / "adapter", tiny_llama())
    config = folder / "adapter" / "adapter_config.json"
    sound = config.read_bytes()
    names = [*json.loads(sound), "unknown_field", "use_dora", "lora_bias"]

    def check(case: dict[str, object]) -> str:
        config.write_bytes(sound)
        edit_json(config, **case)
        return loads(folder / "base", adapter=folder / "adapter")

    return Target(st.dictionaries(st.sampled_from(names), ODD, min_size=1, max_size=3), check)


def base_target(folder: Path) -> Target:
    """Fields of config.json and tokenizer_config.json with odd values."""
    write_base(folder / "base", tiny_llama())
    kept = {name: (folder / "base" / name).read_bytes() for name in ("config.json", "tokenizer_config.json")}
    names = st.one_of(
        *(
            st.tuples(st.just(name), st.sampled_from([*json.loads(data), "auto_map", "unknown"]))
            for name, data in kept.items()
        )
    )

    def check(case: list[tuple[tuple[str, str], object]]) -> str:
        for name, data in kept.items():
            (folder / "base" / name).write_bytes(data)
        for (name, key), value in case:
            edit_json(folder / "base" / name, **{key: value})
        return loads(folder / "base")

    return Target(st.lists(st.tuples(names, ODD), min_size=1, max_size=3), check)


def codi_target(folder: Path) -> Target:
    """Keys of a CODI state dict renamed, dropped, doubled, reshaped: refused, or the very model it was."""
    write_base(folder / "base", tiny_llama())
    sound = codi_state(tiny_llama())
    file = write_state(folder / "codi" / "model.safetensors", sound)
    expected = load_model(folder / "base", codi=file, device="cpu").fingerprint
    edits = st.sampled_from(
        ["drop", "rename", "prefix", "double", "shape", "transpose", "empty", "int", "scalar", "swap"]
    )

    def check(case: list[tuple[str, int, str]]) -> str:
        state = dict(sound)
        for edit, at, text in case:
            name = sorted(state)[at % len(state)] if state else ""
            edited(state, edit, name, text)
        write_state(file, {name: tensor.clone() for name, tensor in state.items()})
        try:
            found = load_model(folder / "base", codi=file, device="cpu").fingerprint
        except CheckpointError:
            return "refused"
        same = state.keys() == sound.keys() and all(torch.equal(state[name], sound[name]) for name in sound)
        assert (found == expected) == same, "a changed state dict was loaded as if it were the same"
        return "kept"

    texts = st.sampled_from(["lora_A", "x", "", ".base_layer", "default"]) | st.text(
        string.ascii_letters + "._", max_size=6
    )
    return Target(st.lists(st.tuples(edits, st.integers(0, 10**6), texts), min_size=1, max_size=2), check)


def edited(state: dict[str, torch.Tensor], edit: str, name: str, text: str) -> None:
    """One change of a state dict, in place."""
    if not name:
        return
    value = state[name]
    match edit:
        case "drop":
            del state[name]
        case "rename":
            state[name + text] = state.pop(name)
        case "prefix":
            state[text + name] = state.pop(name)
        case "double":
            state[f"{name}.{text}"] = value
        case "shape":
            state[name] = torch.cat([value, value])
        case "transpose":
            state[name] = value.T.contiguous() if value.ndim == 2 else value
        case "empty":
            state[name] = value[:0]
        case "int":
            state[name] = value.to(torch.int8)
        case "scalar":
            state[name] = torch.tensor(1.0)
        case "swap":
            other = sorted(state)[0]
            state[name], state[other] = state[other], value


def loads(base: Path, **kind: Any) -> str:
    """Whether a model can be loaded; whatever else happens is a fault."""
    try:
        model = load_model(base, device="cpu", **kind)
    except CheckpointError:
        return "refused"
    assert model.parity < 1e-3
    return "kept"


WORDS = (
    "0 1 3 -1 nan inf 1e400 99999999999999999999 0-2 2-0 0- - all thoughts t0 t99 bot,eot ~nosuch/x ../.. /dev/null "
    "/dev/zero /proc/self/mem cuda:99 meta cpu float64 ² ٣ −1 $(true) `true` %s%n demo layer relay text latent "
    "placeholder noise clean_score --help self self,self , a,b"
)
TEXTS = st.sampled_from([*WORDS.split(), "", " ", "9" * 5000, "\udcff", "\0", "\n", "x" * 3000, "; true"]) | st.text(
    max_size=6
)
PROBLEM = {"question": "Tom has 15 bags of 8 apples. How many?", "answer": "<<15*8=120>>120\n#### 120"}
# What each command is given beside the odd values, so that it ends soon. FOLDER is an empty one, ONE holds a file of
# one pair and one of one problem. What follows the name of a command tells its lines apart.
COMMANDS = {
    "run": ["layer", "--out", "FOLDER/run", "--limit", "1", "--cache", "FOLDER/cache"],
    "plan": ["layer", "--limit", "1"],
    "pairs": ["demo"],
    "pairs screened": ["ONE/pairs.json", "--model", "demo", "--screen", "both-right", "--cache", "FOLDER/cache"],
    "make-pairs": ["ONE/gsm8k.jsonl", "--out", "FOLDER/made.json"],
    "check": ["FOLDER"],
    "plot": ["FOLDER"],
    "report": ["FOLDER"],
    "inspect": ["FOLDER"],
    "compare": ["FOLDER", "FOLDER"],
}
# Odd values here would write elsewhere, run everything, or reach for the network as they are meant to.
KEPT = {"out", "cache", "limit", "wandb", "wandb_project"}


def cli_target(folder: Path) -> Target:
    """Every option of every command with odd values: an exit code and a message."""
    group: Any = typer.main.get_command(cli.app)
    choices = [
        (name, parameter.opts[0], getattr(parameter, "is_flag", False))
        for name in COMMANDS
        for parameter in group.commands[name.split()[0]].params
        if parameter.opts[0].startswith("--") and parameter.name not in KEPT
    ]
    loaded: dict[str, ThoughtModel] = {}
    one = folder.parent / "one"
    one.mkdir(parents=True, exist_ok=True)
    (one / "pairs.json").write_text(json.dumps(json.loads(pair_path("demo").read_text())[:1]))
    (one / "gsm8k.jsonl").write_text(json.dumps(PROBLEM))

    def load_once(source: ModelSource, **options: Any) -> ThoughtModel:
        key = repr((source, options))
        if key not in loaded:
            loaded[key] = load_source(source, **options)
        return loaded[key]

    def check(case: tuple[str, list[tuple[int, str]]]) -> str:
        command, odd = case
        own = [each for each in choices if each[0] == command]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        arguments = [each.replace("FOLDER", str(folder)).replace("ONE", str(one)) for each in COMMANDS[command]]
        for at, text in odd if own else ():  # `report` has none that may take odd values
            _, option, flag = own[at % len(own)]
            arguments += [option] if flag else [option, text]
        code, said = called([command.split()[0], *arguments], load_once)
        assert code in (0, 1, 2), (code, said)
        assert "Traceback" not in said
        assert code == 0 or said.strip(), arguments
        return "kept" if code == 0 else "refused"

    odd = st.lists(st.tuples(st.integers(0, 1000), TEXTS), max_size=3)
    return Target(st.tuples(st.sampled_from(["run", "run", *COMMANDS]), odd), check)


def called(arguments: list[str], load: Callable[..., ThoughtModel]) -> tuple[int, str]:
    """Exit code and words of the command line; an exception that leaves it is not caught."""
    out, before, kept = io.StringIO(), sys.argv, mechpatch.models.load_source
    sys.argv, mechpatch.models.load_source = ["mechpatch", *arguments], load
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return code, out.getvalue()
    finally:
        sys.argv, mechpatch.models.load_source = before, kept
    return 0, out.getvalue()


def targets(model: ThoughtModel, folder: Path) -> dict[str, tuple[Target, int]]:
    """Every target, with the number of inputs that the tests try."""
    return {
        "files of pairs": (Target(pair_bytes(), check_pair_bytes), 150),
        "answers": (Target(NUMBERS, check_answer), 300),
        "answers in tokens": (answer_target(model), 150),
        "adapter configurations": (adapter_target(folder / "peft"), 25),
        "base configurations": (base_target(folder / "base"), 25),
        "keys of CODI checkpoints": (codi_target(folder / "codi"), 20),
        "command lines": (cli_target(folder / "cli"), 40),
    }
