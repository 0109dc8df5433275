// The page: one toolbar for each study, whose choices all its figures follow.
function metricOptions(study, direction) {
  const names = new Set(study.grids.filter((grid) => grid.direction === direction).flatMap((grid) => Object.keys(grid.values)));
  const found = [...names].map((name) => [name, capital(metricWords(name, direction).axis)]);
  return found;
}

function prepare(study, number) {
  study.number = number;
  study.at = new Map(study.pairs.map((pair, at) => [pair.index, at]));
  const has = (experiment) => study.grids.some((grid) => grid.experiment === experiment);
  const directions = [...new Set(study.grids.map((grid) => grid.direction))];
  study.state = {
    direction: directions[0],
    metric: "effect",
    pairs: study.include_incorrect ? "all" : "correct",
    split: "",
    pair: "",
    nulls: "beside",
    experiment: has("position") ? "position" : study.grids[0].experiment,
    mode: has("relay") ? "relay" : "cumulative",
    compared: "effect",
  };
}

function start(study, article) {
  const { state } = study;
  const places = Object.fromEntries([...article.querySelectorAll("[data-place]")].map((place) => [place.dataset.place, place]));
  const figure = (place, name) => {
    const element = make("div", { class: "figure", "data-figure": name });
    place.append(make("div", {}, element));
    return element;
  };
  const bars = {};
  for (const name of ["heatmap", "chain", "comparison"]) {
    if (places[name]) places[name].append((bars[name] = make("div", { class: "toolbar inline" })));
  }
  const drawn = {};
  for (const name of ["heatmap", "profile", "chain", "comparison"]) if (places[name]) drawn[name] = figure(places[name], name);
  if (places.heatmap) places.heatmap.append((drawn.caption = make("p", { class: "caption", "aria-live": "polite" })));

  const change = (name, redo = parts) => (value) => {
    state[name] = value;
    if (name === "split") state.nulls = value === "" ? "beside" : "hidden";
    if (name === "split" || name === "direction") state.pair = "";
    if (name === "pair" && value !== "") state.split = "";
    if (name === "direction") settle(study);
    toolbars();
    for (const part of redo) show[part]();
    if (name === "direction") refill();
  };

  function toolbars() {
    const directions = [...new Set(study.grids.map((grid) => grid.direction))];
    const incorrect = study.pairs.filter((pair) => !pair.correct).length;
    places.toolbar.replaceChildren(
      ...[
        menu("Metric", metricOptions(study, state.direction), state.metric, change("metric"), { "data-switch": "metric" }),
        directions.length > 1 ? menu("Direction", directions.map((name) => [name, name]), state.direction, change("direction"), { "data-switch": "direction" }) : null,
        menu("Pairs", incorrect ? [["correct", `answered right on both sides (${study.pairs.length - incorrect})`], ["all", `all (${study.pairs.length})`]] : [["correct", `all ${study.pairs.length}, answered right on both sides`]], incorrect ? state.pairs : "correct", change("pairs"), { "data-switch": "pairs", disabled: incorrect ? null : "" }),
        study.fields.length ? menu("Split by", [["", "nothing"], ...study.fields.map((field, at) => [String(at), `${clip(field.name, 40)} (${field.groups.length} groups)`])], state.split, change("split"), { "data-switch": "split" }) : null,
      ].filter(Boolean),
    );
    const experiments = [...new Set(study.grids.filter((grid) => grid.direction === state.direction).map((grid) => grid.experiment))];
    const nulls = study.grids.some((grid) => grid.donor !== "paired" && grid.direction === state.direction);
    const label = (pair) => `${clip(pair.id, 40)}: ${clip(pair.sides[0].answer, 12)} against ${clip(pair.sides[1].answer, 12)}`;
    bars.heatmap?.replaceChildren(
      ...[
        menu("Experiment", experiments.map((name) => [name, experimentWords(name)]), state.experiment, change("experiment", ["heatmap"]), { "data-switch": "experiment" }),
        menu("Shown", [["", "mean over pairs"], ...study.pairs.map((pair, at) => [String(at), label(pair)])], state.pair, change("pair", ["heatmap", "profile"]), { "data-switch": "pair" }),
        nulls ? menu("Null donors", [["beside", "beside the effect"], ["hidden", "hidden"]], state.nulls, change("nulls", ["heatmap"]), { "data-switch": "nulls" }) : null,
      ].filter(Boolean),
    );
    const modes = ["relay", "cumulative"].filter((mode) => gridOf(study, mode, state.direction));
    if (modes.length > 1) bars.chain?.replaceChildren(menu("Chain", modes.map((mode) => [mode, experimentWords(mode)]), state.mode, change("mode", ["chain"]), { "data-switch": "mode" }));
    const compared = [...new Set(study.comparisons.filter((each) => each.direction === state.direction).map((each) => each.metric))];
    if (compared.length > 1) bars.comparison?.replaceChildren(menu("Metric", compared.map((name) => [name, capital(metricWords(name, state.direction).axis)]), state.compared, change("compared", ["comparison"]), { "data-switch": "compared" }));
    if (drawn.comparison) drawn.comparison.parentElement.hidden = !compared.length;
  }

  const file = (name) => `mechpatch-${name}-${state.direction}`;
  const show = {
    heatmap: () => {
      if (!drawn.heatmap) return;
      const panels = panelsOf(study, state);
      const words = metricWords(state.metric, state.direction);
      draw(drawn.heatmap, file(state.experiment), (width) => mapFigure(panels, words, state.metric, width));
      drawn.caption.replaceChildren(...captionOf(study, state, panels));
    },
    profile: () => drawn.profile && draw(drawn.profile, file("layer"), (width) => profileFigure(study, state, width)),
    chain: () => drawn.chain && draw(drawn.chain, file(state.mode), (width) => chainFigure(study, state, width)),
    comparison: () => drawn.comparison && draw(drawn.comparison, file("comparison"), (width) => comparisonFigure(study, state, width)),
    cells: () => places.cells && cellTable(study, state, places.cells),
  };
  const parts = Object.keys(show);
  const refill = () => { if (places.pairs) pairList(study, state, places.pairs); };
  toolbars();
  article.querySelectorAll(".table > table").forEach((table) => adopt(table.parentElement));
  return [...parts.map((part) => show[part]), refill];
}

// Choices that another direction does not offer fall back to one that it does.
function settle(study) {
  const { state } = study;
  const own = study.grids.filter((grid) => grid.direction === state.direction);
  if (!own.some((grid) => grid.experiment === state.experiment)) state.experiment = own[0].experiment;
  if (!own.some((grid) => grid.values[state.metric])) state.metric = "effect";
  if (!gridOf(study, state.mode, state.direction)) state.mode = gridOf(study, "relay", state.direction) ? "relay" : "cumulative";
}

function captionOf(study, state, panels) {
  const words = metricWords(state.metric, state.direction);
  const parts = [`${experimentWords(state.experiment)}, ${WORDS.directions[state.direction] || state.direction}: ${words.axis}. `];
  if (state.pair !== "") {
    parts.push("One pair: ", foreign(study.pairs[Number(state.pair)].id), ", no interval. ");
  } else {
    parts.push(words.signed ? "Bold: the 95 % interval excludes 0. " : "");
    parts.push("q in the hover text: false discovery rate within its own map, of a change of the answer’s log-probability difference. ");
    if (state.split !== "") parts.push("Means, intervals and q of each part are computed in this page. ");
  }
  if (panels.some(({ grid }) => grid.structural.length)) {
    parts.push(make("span", { class: "swatch hatched" }), " zero by construction, no finding.");
  }
  return parts;
}

const pending = new Map();
function activate(number) {
  const articles = [...document.querySelectorAll(".study")];
  articles.forEach((article, at) => { article.hidden = at !== number; });
  document.querySelectorAll("[data-tab]").forEach((tab) => tab.setAttribute("aria-selected", String(Number(tab.dataset.tab) === number)));
  if (!pending.has(number)) {
    prepare(DATA.studies[number], number);
    pending.set(number, start(DATA.studies[number], articles[number]));
  }
  // One part at a time, so that the first can be read while the others are drawn.
  const parts = pending.get(number);
  const next = () => {
    const part = parts.shift();
    if (part) {
      part();
      setTimeout(next);
    } else {
      document.documentElement.dataset.ready ??= String(Math.round(performance.now()));
    }
  };
  next();
  redraw();
}

document.querySelectorAll(".overview .table > table").forEach((table) => adopt(table.parentElement));
document.querySelectorAll("[data-tab]").forEach((tab) => tab.addEventListener("click", () => activate(Number(tab.dataset.tab))));
let waiting = 0;
new ResizeObserver(() => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => redraw());
}).observe(document.querySelector("main"));
addEventListener("beforeprint", () => { printing = true; redraw(true); });
addEventListener("afterprint", () => { printing = false; redraw(true); });
activate(0);
