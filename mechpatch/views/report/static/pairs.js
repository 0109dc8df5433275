// One closed section for each pair, filled when it is opened: questions, answers, its map, its largest cells, its views.
const PAIRS_SHOWN = 100;
const CLAMPED = 400;
const OUTCOMES = ["clean", "corrupted", "other"]; // by the number that a grid holds
const GIVES = { clean: "the clean answer", corrupted: "the corrupted answer", other: "another answer" };

function pairList(study, state, place) {
  let limit = PAIRS_SHOWN;
  const list = make("div", { class: "pairs" });
  const count = make("span", { class: "count", "aria-live": "polite" });
  const search = make("input", { type: "search", placeholder: "number, id or words of a question", oninput: () => fill() });
  const more = make("button", { type: "button", class: "quiet", onclick: () => { limit += PAIRS_SHOWN; fill(); } }, "Show more");
  const sections = new Map();
  function fill() {
    const wanted = search.value.trim().toLowerCase();
    const found = study.pairs.map((pair, at) => at).filter((at) => !wanted || textOf(study.pairs[at]).includes(wanted));
    for (const at of found.slice(0, limit)) if (!sections.has(at)) sections.set(at, pairSection(study, state, at));
    list.replaceChildren(...found.slice(0, limit).map((at) => sections.get(at)));
    count.textContent = `${Math.min(limit, found.length)} of ${study.pairs.length} pairs`;
    more.hidden = found.length <= limit;
  }
  fill();
  place.replaceChildren(make("div", { class: "toolbar inline" }, make("label", { class: "menu" }, make("span", {}, "Find"), search), count), list, more);
  return (at) => {
    if (!sections.has(at)) sections.set(at, pairSection(study, state, at));
    const section = sections.get(at);
    if (!section.isConnected) list.append(section);
    section.open = true;
    section.scrollIntoView();
  };
}

function textOf(pair) {
  const sides = pair.sides.map((side) => `${side.question.map((part) => part[0]).join("")} ${side.answer}`);
  return `${pair.id} ${sides.join(" ")}`.toLowerCase();
}

function pairSection(study, state, at) {
  const pair = study.pairs[at];
  const [clean, corrupted] = pair.sides;
  const best = largestCells(study, state, at, 1)[0];
  const section = make(
    "details",
    { class: "pair", "data-pair": at },
    make(
      "summary",
      {},
      make("span", { class: "pair-id" }, foreign(pair.id)),
      make("span", { class: "pair-answers" }, foreign(clean.answer), " against ", foreign(corrupted.answer)),
      pair.correct ? null : make("span", { class: "bad" }, "not answered right on both sides"),
      best ? make("span", { class: "pair-best" }, `${bestWords(best, state)}`) : null,
      study.views[pair.id] ? make("span", { class: "tag" }, `${study.views[pair.id].length} views`) : null,
    ),
  );
  section.addEventListener("toggle", () => {
    if (section.open && section.dataset.filled !== state.direction) {
      section.dataset.filled = state.direction;
      [...section.children].slice(1).forEach((child) => child.remove());
      fillPair(study, state, at, section);
    }
  });
  return section;
}

function bestWords(best, state) {
  const words = metricWords("effect", state.direction);
  return `largest ${words.label} of one site ${shown(best.value)} at layer ${best.layer}, ${best.site}`;
}

// The non-structural cells of a pair with the largest effect; of one experiment if that is named, else of all.
function largestCells(study, state, at, count, experiment = null) {
  const single = experiment || (gridOf(study, "position", state.direction) ? "position" : null);
  const found = [];
  for (const grid of study.grids) {
    if (grid.direction !== state.direction || grid.donor !== "paired" || (count === 1 && single && grid.experiment !== single)) continue;
    const row = grid.pairs.findIndex((index) => study.at.get(index) === at);
    const cells = cellsIn(grid);
    const values = valuesOf(grid, "effect");
    if (row < 0 || !values) continue;
    const structural = new Set(grid.structural);
    for (let cell = 0; cell < cells; cell++) {
      const value = values[row * cells + cell];
      if (structural.has(cell) || Number.isNaN(value)) continue;
      const [site, step] = grid.columns[cell % grid.columns.length];
      const here = row * cells + cell;
      found.push({
        experiment: grid.experiment, layer: grid.layers[Math.floor(cell / grid.columns.length)], site, step, value,
        change: valuesOf(grid, "answer_logprob_change")?.[here],
        gives: OUTCOMES[valuesOf(grid, "outcome")[here]],
      });
    }
  }
  return found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, count);
}

function fillPair(study, state, at, section) {
  const pair = study.pairs[at];
  const sides = make("div", { class: "sides" }, ...pair.sides.map((side, index) => sideBlock(side, index ? "Corrupted" : "Clean")));
  const fields = pair.fields.length
    ? make("p", { class: "fields" }, ...pair.fields.flatMap(([name, value]) => [make("span", {}, foreign(name), ": ", foreign(clip(value, 200)))]))
    : null;
  const maps = make("div", { class: "maps" });
  const legend = make("p", { class: "legend" }, ...ANSWERS.toReversed().flatMap(([words, sign, colour]) => {
    const swatch = make("span", { class: "swatch" }, sign);
    swatch.style.background = colour;
    return [make("span", {}, swatch, ` gives ${words}`)];
  }));
  const cells = make("div", { class: "table" });
  section.append(...[sides, fields, maps, legend, make("h4", {}, "Largest cells of this pair"), cells].filter(Boolean));
  const experiments = [...new Set(study.grids.filter((grid) => grid.direction === state.direction && grid.donor === "paired").map((grid) => grid.experiment))];
  let experiment = experiments.includes("position") ? "position" : experiments[0];
  function fill() {
    const choice = menu("Experiment", experiments.map((name) => [name, experimentWords(name)]), experiment, (value) => { experiment = value; fill(); });
    const [effect, answers] = [make("div", { class: "figure" }), make("div", { class: "figure" })];
    maps.replaceChildren(make("div", { class: "toolbar inline" }, choice), make("div", { class: "beside" }, make("div", {}, effect), make("div", {}, answers)));
    const grid = gridOf(study, experiment, state.direction);
    const words = metricWords("effect", state.direction);
    const subset = new Set([at]);
    const table = tableOf(study, grid, "effect", "all", subset, `pair ${at}`);
    const name = `mechpatch-${experiment}-pair-${at}`;
    draw(effect, name, (width) => mapFigure([{ title: [capital(words.label), experimentWords(experiment)], grid, table }], words, "effect", width));
    draw(answers, `${name}-answers`, (width) => answerFigure(study, grid, at, width));
  }
  fill();
  const rows = largestCells(study, state, at, 10).map((cell) => {
    const values = [experimentWords(cell.experiment), cell.layer, cell.site, cell.step, cell.value, cell.change ?? null, GIVES[cell.gives]];
    return { values, cells: () => [values[0], String(cell.layer), cell.site, String(cell.step), shown(cell.value, ".3f"), shown(cell.change, ".2f"), values[6]] };
  });
  const effect = capital(metricWords("effect", state.direction).label);
  dataTable(cells, `pair-${at}-largest`, ["Experiment", "Layer", "Site", "Step", effect, "Change of log-probability difference (nats)", "Greedy answer"], rows);
  showViews(study.views[pair.id] || [], section);
}

function sideBlock(side, name) {
  const tokens = side.tokens.length
    ? make("details", { class: "tokens" }, make("summary", {}, `${side.n_tokens} tokens`), make("p", {}, ...side.tokens.map(([text, differs]) => make(differs ? "mark" : "span", { class: "token" }, foreign(text)))))
    : null;
  return make(
    "div",
    { class: "side" },
    make("h4", {}, name),
    side.question.length ? question(side.question) : make("p", { class: "question" }, "the question was not stored"),
    make("p", {}, "Answer ", make("strong", {}, foreign(side.answer)), "; unpatched, greedy decoding gives ", make("strong", {}, GIVES[side.greedy]), `, log-probability difference ${shown(side.logprob_diff)} nats.`),
    side.cot ? make("p", { class: "cot" }, "Chain of thought: ", foreign(clip(side.cot, 2000))) : null,
    tokens,
  );
}

// A long question is cut until the reader asks for the rest.
function question(parts) {
  const total = parts.reduce((sum, part) => sum + part[0].length, 0);
  const place = make("p", { class: "question" });
  const fill = (longest) => {
    const shownParts = [];
    let left = longest;
    for (const [text, differs] of parts) {
      if (left <= 0) break;
      shownParts.push(make(differs ? "mark" : "span", {}, clip(text, left)));
      left -= text.length;
    }
    const inner = make("bdi", { dir: "auto" }, ...shownParts);
    const more = make("button", { type: "button", class: "quiet", onclick: () => fill(longest === Infinity ? CLAMPED : Infinity) }, longest === Infinity ? "show less" : `show all ${total.toLocaleString("en")} characters`);
    place.replaceChildren(inner, ...(total > CLAMPED ? [" ", more] : []));
  };
  fill(total > CLAMPED ? CLAMPED : Infinity);
  return place;
}

function clip(text, longest) {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

// Views that another library draws: its script is run once, when the first of them is looked at.
let bundled = false;
function showViews(views, section) {
  if (!views.length) return;
  section.append(make("h4", {}, "Inside the model"));
  for (const view of views) {
    section.append(make("div", { class: "view" }, make("h5", {}, foreign(view.title)), view.caption ? make("p", {}, foreign(view.caption)) : null, make("div", { class: "scroll" }, make("div", { id: view.id, class: view.classes }))));
  }
  const carried = document.getElementById("bundle");
  if (!bundled && carried) {
    bundled = true;
    const code = document.createElement("script");
    code.textContent = carried.textContent;
    document.body.append(code);
  }
  for (const view of views) {
    try {
      EMBEDDED[view.id]();
    } catch (error) {
      document.getElementById(view.id).textContent = `This view could not be drawn: ${error}`;
      console.error(error);
    }
  }
}
