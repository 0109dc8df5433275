import time

from records import make_records
from run_directories import write_run

from mechpatch.views.report.pairs import WORD, describe_pairs, mark_differences
from mechpatch.views.report.studies import read_studies


def words(text: str) -> list[str]:
    return WORD.findall(text)


def marked(segments) -> list[str]:
    return [text for text, differs in segments if differs]


def test_the_number_that_differs_is_marked_and_nothing_is_lost():
    one, other = "Sam has 28 pens, 3 boxes.", "Sam has 29 pens, 3 boxes."
    clean, corrupted = mark_differences(words(one), words(other))
    assert (marked(clean), marked(corrupted)) == (["28"], ["29"])
    assert "".join(text for text, _ in clean) == one
    assert "".join(text for text, _ in corrupted) == other


def test_several_differences_and_unequal_lengths():
    clean, corrupted = mark_differences(words("a 1 b 2 c"), words("a 10 b 2 d c"))
    assert (marked(clean), marked(corrupted)) == (["1"], ["10", " d"])
    assert mark_differences([], []) == ([], [])
    assert mark_differences(["x"], []) == ([("x", True)], [])


def test_tokens_stay_apart():
    clean, _ = mark_differences(["a", "b", "c"], ["a", "x", "c"], join=False)
    assert clean == [("a", False), ("b", True), ("c", False)]


def test_long_questions_take_no_time():
    start = time.perf_counter()
    clean, corrupted = mark_differences(words("ab 1 " * 20_000), words("cd 2 " * 20_000))
    assert time.perf_counter() - start < 2
    assert len(marked(clean)) == len(marked(corrupted)) == 1


def test_a_pair_is_described_by_its_questions_answers_and_unpatched_runs(tmp_path):
    write_run(tmp_path / "run", make_records(pairs=3, experiments=("layer",), incorrect=1))
    (study,) = read_studies([tmp_path / "run"])
    wrong, right, _ = describe_pairs(study.table, study.pairs)
    assert (wrong["correct"], right["correct"]) == (False, True)
    clean, corrupted = right["sides"]
    assert (marked(clean["question"]), marked(corrupted["question"])) == (["28"], ["29"])
    assert (marked(clean["tokens"]), marked(corrupted["tokens"])) == (["28"], ["29"])
    assert (clean["answer"], clean["greedy"], corrupted["greedy"]) == ("18", "clean", "corrupted")
    assert wrong["sides"][0]["greedy"] == "other"
    assert clean["logprob_diff"] > 0 > corrupted["logprob_diff"]
    assert right["fields"] == [["steps", "2"]]


def test_a_pair_without_a_stored_question_has_its_answers(tmp_path):
    write_run(tmp_path / "run", make_records(pairs=1, experiments=("layer",)))
    (study,) = read_studies([tmp_path / "run"])
    (pair,) = describe_pairs(study.table, {})
    assert pair["sides"][0]["question"] == []
    assert pair["sides"][1]["answer"] == "21"
