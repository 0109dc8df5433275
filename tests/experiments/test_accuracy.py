"""Questions that stand alone, answered: held to the loop without cache or batch, kept, gone on with, refused."""

import json
from dataclasses import replace
from itertools import takewhile

import pytest
from commands import mechpatch

from mechpatch.errors import SpecError, StorageError
from mechpatch.experiments import accuracy
from mechpatch.experiments.accuracy import answer_questions
from mechpatch.experiments.layouts import settled
from mechpatch.experiments.running.answering import endings
from mechpatch.experiments.spec import Spec
from mechpatch.stats.switching import share_of
from mechpatch.storage.answered import read_answered
from mechpatch.views.words.accuracy import accuracy_told


@pytest.fixture
def problems(shipped_pairs):
    return [(side.question, side.answer) for pair in shipped_pairs[:6] for side in (pair.clean, pair.corrupted)]


def spec(model, **changes):
    return settled(model, Spec(**{"experiments": ("position",), "batch_size": 5, **changes}))


def silent(count: int) -> None:
    pass


def test_answers_are_those_of_single_questions_run_whole(demo_model, problems, shipped_pairs, tmp_path):
    rows = answer_questions(demo_model, spec(demo_model), problems, tmp_path / "a.json", silent)
    assert [row["index"] for row in rows] == list(range(12))
    assert [(row["question"], row["answer"]) for row in rows] == problems
    ends = endings(demo_model)
    for pair, row in zip(shipped_pairs[:4], rows[::2], strict=False):
        layout, tokens = demo_model.lay_out(pair)[0], []
        for _ in range(8):  # one token after the other, each from a run of the whole row
            logits = demo_model.run_with_hooks(with_answer(layout, tokens), side="clean", answer="clean")
            tokens.append(int(logits[0, layout.positions(0)[-1] + len(tokens)].argmax()))
        said = demo_model.tokenizer.decode(list(takewhile(lambda token: token not in ends, tokens)))
        assert row["said"] == said.strip()
        assert row["right"] is (said.strip() == row["answer"])


def with_answer(layout, tokens):
    """The layout with so much of an answer; what follows it is not read."""
    tail = layout.tails[0]
    opened = (*tail.tokens[: tail.answer], *(tokens or [0]))
    return replace(layout, tails=(replace(tail, tokens=opened), layout.tails[1]))


def test_a_stopped_call_goes_on_to_the_same_file(demo_model, problems, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.json", tmp_path / "stopped.json"
    answer_questions(demo_model, spec(demo_model), problems, whole, silent)
    told: list[int] = []

    def stop(count: int) -> None:
        told.append(count)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_questions(demo_model, spec(demo_model), problems, stopped, stop)
    assert len(read_answered(stopped)[1]) == 5
    batches: list[int] = []
    plain = accuracy.greedy
    monkeypatch.setattr(accuracy, "greedy", lambda *given: batches.append(len(given[2])) or plain(*given))
    answer_questions(demo_model, spec(demo_model), problems, stopped, silent)
    assert batches == [5, 2]  # what was there is not asked again
    assert stopped.read_bytes() == whole.read_bytes()


def test_answers_of_other_settings_are_not_mixed(demo_model, problems, tmp_path):
    path = tmp_path / "a.json"
    answer_questions(demo_model, spec(demo_model), problems[:2], path, silent)
    with pytest.raises(SpecError, match="questions was"):
        answer_questions(demo_model, spec(demo_model), problems[:3], path, silent)
    with pytest.raises(SpecError, match="--latents was 5 there and is 2 now; choose another file"):
        answer_questions(demo_model, spec(demo_model, n_thoughts=2), problems[:2], path, silent)
    with pytest.raises(SpecError, match="a chain of text is not written here"):
        answer_questions(demo_model, spec(demo_model, thoughts="text"), problems[:2], path, silent)
    with pytest.raises(SpecError, match="question 0 takes"):
        answer_questions(demo_model, spec(demo_model), [("a " * demo_model.n_ctx, "1")], tmp_path / "b.json", silent)
    path.write_text(path.read_text().replace(problems[0][1], "77", 1))
    with pytest.raises(StorageError, match="damaged"):
        answer_questions(demo_model, spec(demo_model), problems[:2], path, silent)


def test_without_thoughts_the_demo_knows_little(demo_model, problems, tmp_path):
    with_thoughts = answer_questions(demo_model, spec(demo_model), problems, tmp_path / "a.json", silent)
    one = answer_questions(demo_model, spec(demo_model, n_thoughts=1), problems, tmp_path / "b.json", silent)
    assert sum(row["right"] for row in with_thoughts) >= 11
    assert sum(row["right"] for row in one) <= 2


def test_the_command_counts_and_shows_what_is_wrong(problems, tmp_path):
    items = [{"question": question, "answer": answer} for question, answer in [*problems[:3], (problems[0][0], "7777")]]
    (tmp_path / "q.json").write_text(json.dumps(items), encoding="utf-8")
    found = mechpatch("accuracy", tmp_path / "q.json", "--out", tmp_path / "a.json")
    assert "75.0 % of 4 questions are answered rightly (3; 95 % interval 19.4 % to 99.4 %)." in found.stdout
    assert "wrong: expected '7777', said" in found.stdout
    values = json.loads(mechpatch("accuracy", tmp_path / "q.json", "--out", tmp_path / "a.json", "--json").stdout)
    assert (values["right"], values["asked"], values["share"]) == (3, 4, 0.75)
    assert "expected at least 1" in mechpatch("accuracy", tmp_path / "q.json", "--out", "x", "--limit", 0).stderr


def test_shares_are_told_at_both_ends():
    assert accuracy_told(share_of([])) == "– of 0 questions are answered rightly (0; 95 % interval – to –)."
    assert accuracy_told(share_of([True])).startswith("100.0 % of 1 question is")
