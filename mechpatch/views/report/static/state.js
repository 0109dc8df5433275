// What the reader looks at, all of it in the address: run, hook, experiment, direction, metric, pairs, split, cell, pair.
// The address may leave anything out; `resolved` fills it in, so links of other runs land as near as they can.
const KEYS = ["run", "hook", "experiment", "direction", "metric", "pairs", "split", "maps", "against", "cell", "pair", "at"];

function asked() {
  const found = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEYS.filter((key) => found.has(key)).map((key) => [key, found.get(key)]));
}

function addressOf(state) {
  const found = new URLSearchParams();
  for (const key of KEYS) if (state[key]) found.set(key, state[key]);
  return `#${found}`;
}

// Changes what is looked at: a new entry of the history, or the present one where only the arrow keys moved on.
// The rest comes from the address: what a reader clicks may have been drawn before the last choice.
function go(changes, replace = false) {
  const address = addressOf({ ...resolved(asked()).state, ...changes });
  if (address === location.hash) return;
  if (replace) location.replace(address);
  else location.hash = address;
  draw();
}

const among = (value, options) => (options.includes(value) ? value : options[0]);

function resolved(wanted) {
  const run = Number(wanted.run) in DATA.studies ? Number(wanted.run) : 0;
  const study = DATA.studies[run];
  const distinct = (grids, key) => [...new Set(grids.map((grid) => grid[key]))];
  const hooks = distinct(study.grids, "hook");
  const hook = among(wanted.hook, hooks.includes("resid_post") ? ["resid_post", ...hooks] : hooks);
  const here = study.grids.filter((grid) => grid.hook === hook);
  const direction = among(wanted.direction, [study.leading?.direction, ...distinct(here, "direction")].filter((name) => here.some((grid) => grid.direction === name)));
  const experiments = distinct(here.filter((grid) => grid.direction === direction), "experiment");
  const preferred = [study.leading?.experiment, "position", ...experiments].filter((name) => experiments.includes(name));
  const against = betweenOf(study, wanted.against);
  const state = { run: String(run), against: against ? String(against.b) : "", hook, direction, experiment: among(wanted.experiment, preferred), at: wanted.at ?? "", maps: wanted.maps ?? "" };
  const incorrect = study.pairs.some((pair) => !pair.correct);
  state.pairs = incorrect ? among(wanted.pairs, study.include_incorrect ? ["all", "correct"] : ["correct", "all"]) : "all";
  // Groups of a field are those of the pairs that the summary uses.
  const usual = incorrect && !study.include_incorrect ? "correct" : "all";
  state.split = study.fields.some((field) => field.name === wanted.split) ? wanted.split : "";
  if (state.split !== "") state.pairs = usual;
  const grid = gridOf(study, state) ?? gridsOf(study, state)[0];
  state.metric = among(wanted.metric, metricsOf(study, state, grid));
  const cell = cellNamed(grid, wanted.cell) ?? leadingCell(study, state, grid);
  state.cell = cellName(grid, cell);
  const pair = study.byId.get(wanted.pair) ?? study.byId.get(study.typical[direction]?.[0]?.pair) ?? 0;
  state.pair = study.pairs[pair].id;
  return { state, study, grid, cell, pair };
}

// The comparison of a study with another one: that of the first study with the one named, or with the next.
function betweenOf(study, name) {
  const found = DATA.differences.filter((each) => each.grids.length && (each.a === study.number || each.b === study.number));
  return found.find((each) => String(each.b) === name) ?? found[0] ?? null;
}

// A split has the metrics of a summary alone.
function metricsOf(study, state, grid) {
  const field = fieldAt(study, state);
  return Object.entries(tableOf(study, grid, state.pairs, field, field === null ? null : 0).metrics)
    .filter(([, array]) => read(array.n).some((n) => n > 0))
    .map(([name]) => name)
    .concat("effect");
}

function fieldAt(study, state) {
  return state.split === "" ? null : study.fields.findIndex((field) => field.name === state.split);
}

const nameOf = (layer, { site, step, head }) => [layer, site, step, ...(Number.isInteger(head) ? [head] : [])].join(":");
const cellName = (grid, cell) => nameOf(layerOf(grid, cell), columnOf(grid, cell));

function cellNamed(grid, name) {
  for (let cell = 0; name && cell < cellsIn(grid); cell++) if (cellName(grid, cell) === name) return cell;
  return null;
}

// The cell by which the words tell the run, or the one at which most pairs switch.
function leadingCell(study, state, grid) {
  const told = study.leading;
  if (told && told.experiment === state.experiment && told.direction === state.direction && (told.hook ?? state.hook) === state.hook) {
    const found = cellNamed(grid, nameOf(told.layer, told));
    if (found !== null) return found;
  }
  const metrics = tableOf(study, grid, state.pairs).metrics;
  const [switched, effect] = [read(metrics.switched.mean), read(metrics.effect.mean)];
  const size = (cell) => (grid.structural.has(cell) ? -1 : (switched[cell] || 0) + Math.abs(effect[cell] || 0) / 1e3);
  return [...Array(cellsIn(grid)).keys()].reduce((best, cell) => (size(cell) > size(best) ? cell : best), 0);
}
