"""What a screen chooses from estimates, and what there is to choose from."""

import numpy as np
import pytest
from models_under_test import LATENTS, PAIRS, model_under_test

from mechpatch.errors import SpecError
from mechpatch.experiments.cells import NOTHING_KNOWN
from mechpatch.experiments.choice import RANDOM_CELLS, Candidates, candidates, choose, foreseen
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.spec import Spec
from mechpatch.kinds import Kind
from mechpatch.kinds.cells import Cell
from mechpatch.own import Own
from mechpatch.storage.choices import RANDOM, TOP, Choice

PLACES, HEADS = 40, 8
AMONG = Candidates(
    experiment="position",
    hook="z",
    cells={
        (layer, 1, "t0", 0): Cell(experiment="position", layer=layer, sites=("t0",), site="t0")
        for layer in range(PLACES)
    },
    parts=range(HEADS),
)
SMALL = np.random.default_rng(0).normal(0, 0.01, (PLACES, HEADS))


def cells(choice: Choice, why: str) -> set[tuple[int, int]]:
    return {(cell.layer, cell.head) for cell in choice.cells if cell.why == why}


def test_the_largest_are_run_whatever_their_sign_and_direction_and_random_others_beside_them():
    denoise, noise = SMALL.copy(), SMALL[::-1].copy()
    denoise[3, 1], denoise[5, 7], noise[9, 0] = 0.9, -0.8, 0.7
    denoise[20, 2] = np.nan  # no pair has a gap there
    found = choose(AMONG, 3, {"denoise": denoise, "noise": noise}, 7, seed=0)
    assert cells(found, TOP) == {(3, 1), (5, 7), (9, 0)}
    assert len(cells(found, RANDOM)) == RANDOM_CELLS
    assert not cells(found, TOP) & cells(found, RANDOM)
    assert (found.candidates, found.pairs) == (PLACES * HEADS, 7)
    told = {(cell.layer, cell.head): cell.estimates for cell in found.cells}
    assert told[5, 7] == {"denoise": -0.8, "noise": noise[5, 7]}


def test_random_ones_are_drawn_by_seed_and_name():
    def drawn(seed: int, hook: str = "z") -> set[tuple[int, int]]:
        among = Candidates(experiment="position", hook=hook, cells=AMONG.cells, parts=range(HEADS))
        return cells(choose(among, 3, {"denoise": SMALL}, 7, seed), RANDOM)

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert drawn(0) != drawn(0, "v")


def test_where_there_are_no_more_all_are_run():
    found = choose(AMONG, PLACES * HEADS, {"denoise": SMALL}, 7, seed=0)
    assert len(cells(found, TOP)) == PLACES * HEADS
    assert not cells(found, RANDOM)


def test_a_plan_counts_as_many_cells_as_are_run():
    for count in (1, 30, 300, 1000):
        chosen = choose(AMONG, count, {"denoise": SMALL}, 7, seed=0)
        assert len(cells(foreseen(AMONG, count), TOP)) == len(chosen.cells)
        assert len({(cell.head, cell.place) for cell in chosen.cells}) == len(chosen.cells)


def laid_out(**settings) -> Experiment:
    spec = Spec(n_thoughts=LATENTS["tiny"], screen=2, **settings)
    return Experiment.prepare(model_under_test("tiny-float32"), spec, PAIRS)


def test_what_cannot_move_is_no_candidate():
    model = model_under_test("tiny-float32")
    of_z, of_v = laid_out(experiments=("position",), hooks=("z", "resid_post", "v")).candidates
    sites, layers = 3 + LATENTS["tiny"], model.n_layers
    assert (of_z.hook, len(of_z.parts), of_z.count) == ("z", 4, 4 * (layers * sites - 2))  # last layer, t2 and eot
    assert (of_v.hook, len(of_v.parts), of_v.count) == (
        "v",
        2,
        2 * (layers * sites - 3),
    )  # layer 0 of fixed tokens
    assert all(cell.head is None and not cell.structural and not cell.alike for cell in of_z.cells.values())


def test_of_named_parts_the_screen_chooses_among_these():
    (of_post,) = laid_out(experiments=("position",), hooks=("post.7", "post.3"), sites=("t0", "t1")).candidates
    assert [*of_post.parts] == [3, 7]
    assert {cell.head for cell in of_post.choice({TOP: np.arange(of_post.count)}).cells} == {3, 7}


def test_more_cells_than_can_be_run_are_chosen_from_and_not_made(monkeypatch):
    monkeypatch.setattr("mechpatch.experiments.spec.MOST_CELLS", 60)
    assert len(laid_out(experiments=("position",), hooks=("post",)).cells([0])) == 2 + RANDOM_CELLS
    with pytest.raises(SpecError, match=r"or let gradients choose \(--screen 200\)"):
        Experiment.prepare(
            model_under_test("tiny-float32"),
            Spec(experiments=("position",), hooks=("post",), n_thoughts=LATENTS["tiny"]),
            PAIRS,
        )


def test_cells_that_are_not_chosen_are_not_made():
    experiment = laid_out(experiments=("position", "layer"), hooks=("z", "resid_post"), layers=(0, 2))
    of_position, of_layer = experiment.candidates
    chosen = [of_position.choice({TOP: np.array([5, 36])}), of_layer.choice({RANDOM: np.array([7])})]
    made = experiment.choosing(chosen).cells([0, 1, 2])
    places = [*of_position.cells]
    heads = [(cell.experiment, cell.head, cell.place) for cell in made if cell.head is not None]
    assert sorted(heads, key=str) == sorted(
        [("position", 1, places[1]), ("position", 0, places[9]), ("layer", 3, [*of_layer.cells][1])], key=str
    )
    assert len(made) == 3 + 2 * (3 + LATENTS["tiny"]) + 2  # all of what has no heads


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experiments": ("relay",), "hooks": ("z",)}, "relay hands on what the step before produced, so that no"),
        ({"experiments": ("position", "count"), "hooks": ("z",)}, "count does not write what the pair's other side"),
        ({"experiments": ("necessity",), "hooks": ("v",)}, "necessity does not write .*; run it in another folder"),
        (
            {"experiments": ("position",)},
            r"to choose from at z \(heads\), .*, post \(neurons\) alone, and",
        ),
        ({"experiments": ("position",), "hooks": ("z",), "layers": (2,), "sites": ("t2",)}, "zero by construction"),
    ],
)
def test_what_cannot_be_screened_is_refused(settings, message):
    with pytest.raises(SpecError, match=rf"--screen 2: .*{message}"):
        laid_out(**settings)


def test_a_kind_of_your_own_that_hands_on_is_refused():
    def handing(frame):
        return [Cell(experiment="mine", layer=0, sites=("t0",), site="t0", source="step before")]

    own = Own(kinds=(Kind(name="mine", label="Mine", cells=handing),))
    spec = Spec(experiments=("mine",), hooks=("z",), screen=2, own=own.described())
    with pytest.raises(SpecError, match="cells of 'mine' do not write what the pair's other side has"):
        candidates(model_under_test("tiny-float32"), spec, [("t0",)], own, NOTHING_KNOWN)
