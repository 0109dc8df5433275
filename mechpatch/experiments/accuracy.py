"""How many questions a model answers rightly, with its thoughts: each is decoded greedily, and kept as it comes.

The questions stand alone, so nothing is patched. Those of nearly one length are run together; a batch of one gives the
same tokens, up to what rounding does to two tokens that are equally likely.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mechpatch.errors import SpecError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.running.answering import MORE
from mechpatch.experiments.running.saying import decoded_text, endings
from mechpatch.experiments.screening import settings
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair, Side
from mechpatch.pairs.problems import Problem, gives
from mechpatch.patching.greedy import greedy
from mechpatch.storage.answered import Row, read_answered, write_answered
from mechpatch.storage.keys import digest
from mechpatch.thoughts import Layout


def answer_questions(
    model: ThoughtModel, spec: Spec, problems: Sequence[Problem], path: Path, tick: Callable[[int], None]
) -> list[Row]:
    """Ask every question that `path` does not hold yet, and keep what is said there, batch by batch.

    Args:
        problems: question and right answer, as `read_questions` gives them; at least one.
        path: sealed JSON, whole after each batch; the same call goes on with it.
        tick: told how many questions were answered, those that were there before at once.

    Returns:
        One row per question in the order of the file: index, question, answer, said (up to a line break), right.

    Raises:
        SpecError: thoughts are text, which nothing writes here, or `path` is of another model, question or setting.
        ThoughtError: a question cannot be laid out.
        StorageError: `path` cannot be written, or is damaged.
    """
    if spec.thoughts == "text":
        raise SpecError("--thoughts text: a chain of text is not written here; expected latent or placeholder")
    layouts = [_laid_out(model, spec, index, problem) for index, problem in enumerate(problems)]
    about = settings(model, spec) | {"--batch-size": str(spec.batch_size), "questions": digest([*problems])}
    rows = {row["index"]: row for row in _kept(path, about)}
    tick(len(rows))
    for batch in _batches(layouts, spec.batch_size):
        if all(index in rows for index in batch):
            continue
        for row in _answered(model, problems, layouts, batch):
            rows[row["index"]] = row
        write_answered(path, about, [rows[index] for index in sorted(rows)])
        tick(len(batch))
    return [rows[index] for index in sorted(rows)]


def _kept(path: Path, about: dict[str, str]) -> list[Row]:
    if not path.exists():
        return []
    had, rows = read_answered(path)
    if changed := [name for name in {**about, **had} if about.get(name) != had.get(name)]:
        name = changed[0]
        raise SpecError(
            f"{path}: {name} was {had.get(name, '(not given)')} there and is {about.get(name, '(not given)')} now; "
            "choose another file, or delete this one"
        )
    return rows


def _laid_out(model: ThoughtModel, spec: Spec, index: int, problem: Problem) -> Layout:
    """The question with its thoughts, before the answer that is decoded."""
    side = Side(problem[0], problem[1], None, {})
    layout = pair_layouts(model, spec, Pair(f"question {index}", side, side, {}))[0]
    if layout.length + MORE > model.n_ctx:
        raise SpecError(
            f"question {index} takes {layout.length + MORE} tokens with its thoughts and answer, and the model runs at "
            f"most {model.n_ctx}; shorten it, or take it out of the file"
        )
    return layout


def _batches(layouts: Sequence[Layout], size: int) -> Iterator[list[int]]:
    """Questions of nearly one length together; decided by the questions alone, so a resumed call has the same ones."""
    alike: dict[object, list[int]] = {}
    for index in sorted(range(len(layouts)), key=lambda each: (len(layouts[each].prompt), each)):
        alike.setdefault((layouts[index].sites, layouts[index].opening), []).append(index)
    for group in alike.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _answered(
    model: ThoughtModel, problems: Sequence[Problem], layouts: Sequence[Layout], batch: Sequence[int]
) -> Iterator[Row]:
    count = MORE + max(len(layouts[index].tails[0].answer_tokens) for index in batch)
    asked = [layouts[index] for index in batch]
    tokens = greedy(model.hooked, model.head, asked, count, endings(model))
    for index, found in zip(batch, tokens, strict=True):
        (question, answer), said = problems[index], decoded_text(model, found)
        yield {
            "index": index, "question": question, "answer": answer, "said": said, "right": gives(said, answer)
        }  # fmt: skip
