// The page: what the address asks for is drawn; whatever a reader chooses becomes a new address.
function Menu({ label, name, value, options, onChange }) {
  return html`<label class="menu"><span>${label}</span><select data-switch=${name} value=${value} onChange=${(event) => onChange(event.target.value)}>${options.map(([key, words]) => html`<option key=${key} value=${key} selected=${key === value}>${words}</option>`)}</select></label>`;
}

function Toolbar({ view }) {
  const { study, state, grid } = view;
  const pick = (key, extra = {}) => (value) => go({ ...extra, [key]: value });
  const distinct = (key, grids) => [...new Set(grids.map((each) => each[key]))];
  const hooks = distinct("hook", study.grids);
  const here = study.grids.filter((each) => each.hook === state.hook);
  const directions = distinct("direction", here);
  const experiments = distinct("experiment", here.filter((each) => each.direction === state.direction));
  const incorrect = study.pairs.filter((pair) => !pair.correct).length;
  const metrics = [...new Set(metricsOf(study, state, grid))];
  const fresh = { cell: "", pair: "" };
  const { site, head } = columnOf(grid, view.cell);
  const toSite = (name) => go({ cell: nameOf(layerOf(grid, view.cell), grid.columns.find((column) => column.site === name && column.head === head)) });
  const link = () => location.href.split("#")[0] + addressOf(state);
  return html`<div class="toolbar" role="group" aria-label="What is shown">
    ${hooks.length > 1 ? html`<${Menu} label="Hook point" name="hook" value=${state.hook} options=${hooks.map((name) => [name, hookWords(name)])} onChange=${pick("hook", fresh)} />` : null}
    <${Menu} label="Experiment" name="experiment" value=${state.experiment} options=${experiments.map((name) => [name, kindWords(name).label])} onChange=${pick("experiment", { cell: "" })} />
    ${directions.length > 1 ? html`<${Menu} label="Direction" name="direction" value=${state.direction} options=${directions.map((name) => [name, WORDS.directions[name] ?? name])} onChange=${pick("direction", fresh)} />` : null}
    ${hasHeads(grid) ? html`<${Menu} label="Position" name="position" value=${site} options=${[...new Set(grid.columns.map((column) => column.site))].map((name) => [name, name])} onChange=${toSite} />` : null}
    <${Menu} label="Metric" name="metric" value=${state.metric} options=${metrics.map((name) => [name, metricWords(name, state.direction).axis])} onChange=${pick("metric")} />
    ${incorrect && state.split === "" ? html`<${Menu} label="Pairs" name="pairs" value=${state.pairs} options=${[["correct", `answered right on both sides (${study.pairs.length - incorrect})`], ["all", `all (${study.pairs.length})`]]} onChange=${pick("pairs")} />` : null}
    ${study.fields.length ? html`<${Menu} label="Split by" name="split" value=${state.split} options=${[["", "nothing"], ...study.fields.map((field) => [field.name, `${clip(field.name, 40)} (${field.groups.length} groups)`])]} onChange=${pick("split")} />` : null}
    ${gridsOf(study, state).length > 1 && state.split === "" ? html`<${Menu} label="Maps" name="maps" value=${state.maps} options=${[["", "effect alone"], ["controls", "effect and other donors"]]} onChange=${pick("maps")} />` : null}
    <${Copy} text=${link}>Copy link<//>
  </div>`;
}

// What there is to see at the chosen cell and of the chosen pair.
function Chosen({ view, numbers }) {
  const { state, study, grid, cell } = view;
  const words = metricWords("effect", state.direction);
  const metrics = tableOf(study, grid, state.pairs).metrics;
  const [switched, effect] = [read(metrics.switched.mean)[cell], read(metrics.effect.mean)[cell]];
  const heading = `${capital(placeWords(grid, cell))}: ${grid.structural.has(cell) ? "cannot move, by construction" : grid.absent.has(cell) ? LEFT_OUT : !read(metrics.effect.n)[cell] && !read(metrics.switched.n)[cell] ? "no pair has a value" : `${percent(switched)} of ${read(metrics.switched.n)[cell] || 0} pairs switch; mean ${words.label} ${shown(effect)}`}`;
  return html`<div class="cell-and-pair"><section aria-label="The chosen cell"><h3 aria-live="polite" data-heading="cell">${heading}</h3><${Distribution} view=${view} number=${numbers[0]} /><${CellNumbers} view=${view} /></section>
    <section aria-label="The chosen pair"><${PairPanel} view=${view} /><${PairMap} view=${view} number=${numbers[1]} /></section></div>
    <${Views} view=${view} />`;
}

// What is drawn in each place; figures are numbered in the order of the page.
const PARTS = {
  explorer: (view, next) => html`<div class="explorer"><h2 class="unseen">Map, cell and pair</h2><${Toolbar} view=${view} /><${MapFigure} view=${view} number=${next()} /></div>`,
  chosen: (view, next) => html`<${Chosen} view=${view} numbers=${[next(), next()]} />`,
  difference: (view, next) => html`<${Differences} view=${view} numbers=${[next(), next()]} />`,
  profile: (view, next) => html`<${ProfileFigure} view=${view} number=${next()} />`,
  chain: (view, next) => {
    const modes = [...new Set(view.study.grids.filter((grid) => kindWords(grid.experiment).drawing === "chain").map((grid) => grid.experiment))];
    return modes.map((experiment) => html`<${ChainFigure} key=${experiment} view=${view} experiment=${experiment} number=${next()} />`);
  },
  comparison: (view, next) => ["effect", "answer_logprob_change", "kl_divergence"].filter((metric) => view.study.comparisons.some((each) => each.metric === metric)).map((metric) => html`<${ComparisonFigure} key=${metric} view=${view} metric=${metric} number=${next()} />`),
  cells: (view) => html`<${CellTable} view=${view} />`,
  pairs: (view) => html`<${PairTable} view=${view} />`,
};

let drawn = null; // the address that is drawn
let waiting = 0; // the timer of what is still to be drawn

// The map at once, and each other place in a task of its own, so that the page answers in between.
function draw() {
  drawn = location.hash;
  clearTimeout(waiting);
  const view = resolved(asked());
  const tasks = [];
  for (const article of document.querySelectorAll(".study")) {
    const shownNow = article.dataset.study === view.state.run;
    article.hidden = !shownNow;
    if (!shownNow) continue;
    let figures = 0;
    const next = () => String(++figures);
    for (const place of article.querySelectorAll("[data-place]")) {
      const part = PARTS[place.dataset.place](view, next);
      if (place.dataset.place === "explorer") render(part, place);
      else tasks.push(() => render(part, place));
    }
  }
  for (const tab of document.querySelectorAll("[data-tab]")) tab.setAttribute("aria-selected", String(tab.dataset.tab === view.state.run));
  document.body.setAttribute("aria-busy", "true");
  waiting = setTimeout(() => work(tasks, view.state.at));
}

function work(tasks, at) {
  tasks.shift()?.();
  if (tasks.length) waiting = setTimeout(() => work(tasks, at));
  else settle(at);
}

function settle(at) {
  document.body.setAttribute("aria-busy", "false");
  if (document.documentElement.dataset.ready) return;
  toSection(at);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

// A section of the page is part of the address, so that a link to it keeps what is looked at.
function toSection(key) {
  const target = key && document.querySelector(`.study:not([hidden]) [data-part="${CSS.escape(key)}"]`);
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}

document.querySelectorAll(".table > .scroll > table, .table > table").forEach(adopt);
document.querySelectorAll("[data-tab]").forEach((tab) => tab.addEventListener("click", () => go({ run: tab.dataset.tab, at: "" })));
// On a narrow screen the three lines are cut, so that the first picture is seen with them.
document.querySelectorAll("[data-lines]").forEach((more) =>
  more.addEventListener("click", () => {
    const whole = more.parentElement.querySelector(".lines").classList.toggle("whole");
    more.setAttribute("aria-expanded", whole);
    more.textContent = whole ? "Read less" : "Read all";
  }),
);
document.querySelectorAll("[data-to]").forEach((link) =>
  link.addEventListener("click", (event) => {
    event.preventDefault();
    go({ at: link.dataset.to });
    toSection(link.dataset.to);
  }),
);
addEventListener("hashchange", () => { if (location.hash !== drawn) draw(); });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
draw();
