"""Views of an inspected pair show what is stored, at its place, and nothing that a question holds is obeyed."""

import json
import re
import socket
from pathlib import Path

import circuitsvis.utils.render
import numpy as np
import pytest
from circuitsvis.utils.render import RenderedHTML
from inspections import HOSTILE, hostile_inspection, tiny_inspection

from mechpatch.errors import SpecError, StorageError
from mechpatch.storage.inspections import Inspection, write_inspection
from mechpatch.views import circuits
from mechpatch.views.circuits import View, bundle, element, embed, inspection_views, panels, render_call
from mechpatch.views.circuits.page import write_page
from mechpatch.views.circuits.positions import TOKENS_SHOWN
from mechpatch.views.circuits.texts import JOINER, LONGEST, shown

KINDS = ("latent", "text", "placeholder")


def props_of(call: str) -> dict:
    """What a page's script would hand to CircuitsVis."""
    found = re.fullmatch(
        r'CircuitsVis\.render\("[\w-]+", CircuitsVis\.\w+, (\{.*\})\);CircuitsVis\.ease\("[\w-]+"\);', call
    )
    assert found, call[:200]
    return json.loads(found[1])


def view_of(**props) -> View:
    return View("a", "title", "caption", "ColoredTokens", props)


def test_a_call_holds_nothing_that_ends_a_script():
    props = {"tokens": list(HOSTILE), "values": np.zeros(len(HOSTILE), np.float32)}
    call = render_call(view_of(**props), "view-1")
    assert not re.search("[<>&\u2028\u2029\x00-\x1f]", call)
    assert call.isascii()
    assert props_of(call)["tokens"] == list(HOSTILE)


def test_a_call_holds_json_whatever_the_numbers_are():
    numbers = {"a": np.float32(0.5), "b": [np.nan, np.inf, -np.inf], "c": np.array([[1, 2]]), "d": (True, None, 3)}
    numbers["e"] = np.array([np.nan, 1.0], np.float16)
    found = props_of(render_call(view_of(**numbers), "x"))
    assert found == {"a": 0.5, "b": [None, None, None], "c": [[1, 2]], "d": [True, None, 3], "e": [None, 1.0]}


def test_what_is_no_json_value_is_refused():
    with pytest.raises(TypeError, match="a property holds a set"):
        render_call(view_of(tokens={"a"}), "x")


@pytest.mark.parametrize("name", ["", "1", 'a"b', "a b", "é", "a\n"])
def test_an_id_must_be_plain(name: str):
    for call in (element, render_call):
        with pytest.raises(ValueError, match="element id"):
            call(view_of(), name)
    with pytest.raises(ValueError, match="is not a name"):
        render_call(View("a", "", "", f"X{name}(", {}), "x")


def test_an_element_is_closed():
    assert element(view_of(), "x") == '<div id="x" class="circuits" role="group" aria-label="title"></div>'
    assert element(panels.logit_lens(tiny_inspection(), "clean"), "x").count("circuits-grid") == 1


def test_the_bundle_can_stand_in_a_page():
    text = bundle()
    assert "var CircuitsVis=" in text
    assert not re.search(r"</script|<script|<!--|sourceMappingURL", text, flags=re.IGNORECASE)
    assert len(text.encode()) < 1_400_000


def test_a_bundle_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed, "find_spec", lambda name: None)
    with pytest.raises(StorageError, match=r"iife\.js: cannot be read: No such file .* install circuitsvis again"):
        bundle.__wrapped__()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_shown_token_is_not_obeyed(text: str):
    found = shown(text)
    # What an HTML parser takes for a tag or a character reference begins with one of these.
    assert not re.search(r"<[a-zA-Z/!?]|&[a-zA-Z0-9#]", found)
    assert not re.search("[\x00-\x1f\u2028\u2029\u200e\u200f\u202a-\u202e]", found)
    assert 0 < len(found.replace(JOINER, "")) <= 8 * LONGEST


def test_shown_keeps_what_is_harmless():
    assert shown("<<8*5=40>>").replace(JOINER, "") == "<<8*5=40>>"
    assert shown(" 18") == " 18"
    assert shown("שלום, naïve 数") == "שלום, naïve 数"
    assert shown("a\nb\tc") == "a↵b⇥c"
    assert shown("\u202e") == "⟨U+202E⟩"
    assert shown("") == "∅"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", [0, 1, 2])
def test_every_view_can_be_rendered(kind: str, pair: int):
    views = panels.all_views(tiny_inspection(kind, pair))
    assert len({view.title for view in views}) == len(views) == 9
    for view in views:
        assert view.pair_id == tiny_inspection(kind, pair).about["pair_id"]
        assert view.caption.endswith(".")
        assert f"{view.component}:()=>" in bundle()
        text = json.dumps(props_of(render_call(view, "x")))
        assert "null" not in text
        assert len(text) < 200_000


def test_effects_stand_at_their_sites():
    inspection = Inspection({**tiny_inspection().about, "min_gap": 0.0}, tiny_inspection().arrays)
    about, run = inspection.about, inspection.about["runs"]["patched"]
    props = panels.effect_tokens(inspection).props
    values = np.array(props["values"])
    assert values.shape == (len(run["tokens"]), 1 + len(inspection.arrays["effect"]))
    gap = about["answer_logprob_diff"]["clean"] - about["answer_logprob_diff"]["corrupted"]
    for place, (site, position) in enumerate(zip(about["sites"], run["positions"], strict=True)):
        expected = inspection.arrays["effect"][:, place] / gap
        np.testing.assert_allclose(values[position, 1:], expected, atol=6e-4)
        assert values[position, 0] == values[position, 1:][np.abs(values[position, 1:]).argmax()]
        if site in ("bot", "t0", "t1", "t2", "eot"):
            assert props["tokens"][position] == f" [{site}]"
    others = np.delete(values, run["positions"], axis=0)
    assert not others.any()
    assert props["labels"] == ["largest", "layer 0", "layer 1", "layer 2"]


def test_thoughts_in_text_are_named():
    props = panels.effect_tokens(tiny_inspection("text")).props
    assert [text.replace(JOINER, "") for text in props["tokens"] if "[t" in text] == [">>[t0]", ">>[t1]"]


def test_effects_are_in_nats_where_the_gap_is_small():
    inspection = tiny_inspection()
    about = {**inspection.about, "min_gap": 1e9}
    view = panels.effect_tokens(Inspection(about, inspection.arrays))
    values = np.array(view.props["values"])
    assert "nats" in view.caption
    np.testing.assert_allclose(
        values[about["runs"]["patched"]["positions"], 1:], inspection.arrays["effect"].T, atol=6e-4
    )
    assert view.props["positiveBounds"][0] == pytest.approx(np.abs(inspection.arrays["effect"]).max())


def cells_of(view: View) -> list[tuple[str, str, float]]:
    """Place, text and log-probability of every cell of a grid."""
    prompt = [text.replace("\u00a0", " ").strip() for text in view.props["prompt"]]
    values = view.props["correctTokenLogProb"]
    assert len(prompt) == 1 + len(values) == 1 + 2 * len(prompt[1::2])
    return list(zip(prompt[1::2], prompt[2::2], values[1::2], strict=True))


def test_the_lens_grid_reads_layers_upwards_and_sites_across():
    inspection = tiny_inspection()
    sites, vocabulary = inspection.about["sites"], inspection.about["vocabulary"]
    cells = cells_of(panels.logit_lens(inspection, "patched"))
    width = 1 + len(sites)
    assert [text for _, text, _ in cells[:width]] == ["", *sites]
    for row, layer in enumerate((2, 1, 0), start=1):
        label, *found = cells[row * width : (row + 1) * width]
        assert label[1] == f"layer {layer}"
        for place, (where, text, value) in enumerate(found):
            ids = inspection.arrays["patched.lens_ids"][layer, place]
            assert where == f"patched run, layer {layer}, {sites[place]}"
            assert text == shown(vocabulary[str(ids[0])]).strip()
            assert value == pytest.approx(inspection.arrays["patched.lens_logprobs"][layer, place, 0], abs=1e-4)


def test_the_rows_of_a_grid_are_equally_wide():
    props = panels.logit_lens(tiny_inspection(), "clean").props
    rows = "".join(props["prompt"][2::2]).split("\n")[:-1]
    assert len({len(row.replace(JOINER, "")) for row in rows}) == 1
    assert len(rows) == 4


def test_the_answers_are_given_in_all_three_runs():
    inspection = tiny_inspection()
    cells = cells_of(panels.answer_tokens(inspection))
    labels = [text for place, text, _ in cells if not place and "run" in text]
    assert labels == [f"{answer}, {run} run" for answer in ("43", "44") for run in panels.RUNS]
    totals = [
        float(text.replace("−", "-").removeprefix("log p = ")) for _, text, _ in cells if text.startswith("log p")
    ]
    for place, run in enumerate(panels.RUNS):
        expected = inspection.about["answer_logprob_diff"][run]
        assert totals[place] - totals[place + 3] == pytest.approx(expected, abs=0.011)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_attention_among_thoughts_sum_to_one(kind: str):
    inspection = tiny_inspection(kind)
    props = panels.thought_attention(inspection, "clean").props
    assert props["attentionHeadNames"] == ["mean", *(f"L{layer}H{head}" for layer in range(3) for head in range(4))]
    for pattern in props["attention"]:
        assert pattern[0] == []
        assert {len(row) for row in pattern[1:]} == {len(props["tokens"])}
        np.testing.assert_allclose(np.sum(pattern[1:], axis=1), 1, atol=0.02)
    stored = inspection.arrays["clean.attention"]
    start = inspection.about["runs"]["clean"]["positions"][0]
    assert props["attention"][6][2][2] == pytest.approx(float(stored[1, 1, start + 1, start + 1]), abs=6e-4)


def test_attention_of_the_answer_is_that_of_its_last_position_before():
    inspection = tiny_inspection()
    props = panels.answer_attention(inspection).props
    for sample, name in enumerate(panels.RUNS):
        at = inspection.about["runs"][name]["positions"][-1]
        rows = inspection.arrays[f"{name}.attention"][:, :, at, : at + 1].astype(float)
        values = np.array(props["activations"][sample])
        assert props["tokens"][sample][0] == f"{name}: "
        assert not values[0].any()
        np.testing.assert_allclose(values[1:, 1:, 1:], np.moveaxis(rows, -1, 0), atol=6e-3)
        np.testing.assert_allclose(values[1:, 0, 0], rows.max((0, 1)), atol=6e-3)


def test_activations_are_scaled_and_upside_down():
    inspection = tiny_inspection()
    props = panels.activations(inspection).props
    values = np.array(props["activations"][1])
    assert props["firstDimensionLabels"] == ["2", "1", "0"]
    assert [label.rpartition(" (")[0] for label in props["secondDimensionLabels"][:3]] == [
        "clean − corrupted answer, logits",
        "distance from the corrupted run",
        "norm",
    ]
    norm = inspection.arrays["corrupted.norm"]
    scale = max(inspection.arrays[f"{run}.norm"][:, 1:].max() for run in panels.RUNS)
    np.testing.assert_allclose(values[2:, 0, 2], norm[2, 1:] / scale, atol=6e-3)
    assert np.abs(values).max() <= 1


def long_inspection(extra: int) -> Inspection:
    """A question with `extra` more tokens before its first."""
    inspection = tiny_inspection()
    arrays = dict(inspection.arrays)
    about = json.loads(json.dumps(inspection.about))
    for name in panels.RUNS:
        run = about["runs"][name]
        run["tokens"] = [" word"] * extra + run["tokens"]
        run["positions"] = [place + extra for place in run["positions"]]
        run["first_query"] = run["positions"][0]
        attention = arrays[f"{name}.attention"][:, :, run["positions"][0] - extra :]
        arrays[f"{name}.attention"] = np.pad(attention, ((0, 0), (0, 0), (0, 0), (extra, 0)))
        for key in ("norm", "moved", "leaning", "resid"):
            array = arrays[f"{name}.{key}"]
            arrays[f"{name}.{key}"] = np.pad(array, ((0, 0), (extra, 0), *[(0, 0)] * (array.ndim - 2)))
    return Inspection(about, arrays)


def test_the_middle_of_a_long_question_is_left_out():
    short, long = (panels.all_views(each) for each in (long_inspection(0), long_inspection(3000)))
    for one, other in zip(short, long, strict=True):
        assert len(render_call(other, "x")) < len(render_call(one, "x")) + 200_000
    tokens = panels.effect_tokens(long_inspection(3000)).props["tokens"]
    assert tokens.count(" … ") == 1
    assert len(tokens) < TOKENS_SHOWN + 20
    props = panels.effect_tokens(long_inspection(3000)).props
    at = props["tokens"].index(" [t0]")
    assert (
        props["values"][at]
        == panels.effect_tokens(tiny_inspection()).props["values"][short[0].props["tokens"].index(" [t0]")]
    )
    assert panels.head_attention(long_inspection(5), 1, "clean").props["attention"][0][0] == []


def test_views_of_a_run_by_pair(tmp_path: Path):
    assert inspection_views(tmp_path) == {}
    for index in (2, 0):
        write_inspection(tmp_path, index, tiny_inspection("latent", index))
    found = inspection_views(tmp_path)
    assert list(found) == ["equal-length", "short"]
    assert all(isinstance(view, View) for views in found.values() for view in views)
    assert circuits.load(tmp_path, "short").about["pair_index"] == 2
    with pytest.raises(SpecError, match="pair 'other' is not inspected; inspected are 'equal-length', 'short'"):
        circuits.load(tmp_path, "other")
    next((tmp_path / "inspect").glob("*.safetensors")).write_bytes(b"")
    with pytest.raises(StorageError, match="damaged"):
        inspection_views(tmp_path)


def test_notebook_objects_are_circuitsvis_and_ask_no_server(monkeypatch: pytest.MonkeyPatch):
    def ask(*_: object) -> None:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(circuitsvis.utils.render, "internet_on", ask)
    monkeypatch.setattr(socket.socket, "connect", ask)
    inspection = hostile_inspection()
    shows = [
        circuits.effect_tokens(inspection),
        circuits.answer_tokens(inspection),
        circuits.logit_lens(inspection),
        circuits.answer_attention(inspection),
        circuits.thought_attention(inspection),
        circuits.head_attention(inspection, 1),
        circuits.activations(inspection),
    ]
    for found in shows:
        assert isinstance(found, RenderedHTML)
        for html in (found._repr_html_(), found.__html__(), str(found), found.show_code()):
            assert "unpkg.com" not in html
            assert html.count("</script") == html.count("<script") == 1
            assert html.count("<div") - bundle().count("<div") == 1
    assert len({found.local_src for found in (circuits.logit_lens(inspection), circuits.logit_lens(inspection))}) == 2


def test_a_page_escapes_what_users_wrote(tmp_path: Path):
    inspection = hostile_inspection()
    write_inspection(tmp_path, 0, inspection)
    text = write_page(tmp_path, [0], tmp_path / "page.html").read_text()
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert text.count("<script") == text.count("</script") == 2
    assert not re.search(r"<img|<b>|onerror=\"", outside)
    assert "\u202e" not in text
    assert "default-src 'none'" in text
    with pytest.raises(SpecError, match="at least one"):
        write_page(tmp_path, [], tmp_path / "none.html")
    with pytest.raises(StorageError, match="000001"):
        write_page(tmp_path, [0, 1], tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()
