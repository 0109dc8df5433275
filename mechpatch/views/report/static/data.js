// What the page was given: words, colours and the numbers of every study, decoded when they are first looked at.
// A grid is one experiment, direction and donor: pair × layer × column; a cell is layer * columns + column.
const DATA = JSON.parse(document.getElementById("payload").textContent);
const WORDS = DATA.words;
const THEME = DATA.theme;

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

// An array made by arrays.py, as Float64Array; undefined values are NaN.
function decode(array) {
  if (array.kind === "constant") return new Float64Array(array.size).fill(array.value === null ? NaN : array.value);
  const bytes = bytesOf(array.data);
  if (array.kind === "u8") return Float64Array.from(bytes, (value) => (value === 255 ? NaN : value));
  const view = new DataView(bytes.buffer);
  if (array.kind === "f32") {
    return Float64Array.from({ length: bytes.length / 4 }, (_, at) => view.getFloat32(4 * at, true));
  }
  return Float64Array.from({ length: bytes.length / 2 }, (_, at) => {
    const step = view.getInt16(2 * at, true);
    return step === -32768 ? NaN : array.low + (step + 32500) * array.step;
  });
}

const decoded = new Map();
function remembered(array) {
  if (!decoded.has(array)) decoded.set(array, decode(array));
  return decoded.get(array);
}

function gridOf(study, experiment, direction, donor = "paired") {
  return study.grids.find(
    (grid) => grid.experiment === experiment && grid.direction === direction && grid.donor === donor,
  );
}

function cellsIn(grid) {
  return grid.layers.length * grid.columns.length;
}

// Where the values of one metric are: null where the grid does not have it.
function valuesOf(grid, metric) {
  return grid.values[metric] ? remembered(grid.values[metric]) : null;
}

// Rows of a grid (its pairs) that belong to a choice: positions in study.pairs, or every pair answered right, or all.
function rowsOf(study, grid, chosen, subset) {
  const rows = [];
  grid.pairs.forEach((index, row) => {
    const at = study.at.get(index);
    if (subset ? subset.has(at) : true) {
      if (chosen === "all" || study.pairs[at].correct) rows.push(row);
    }
  });
  return rows;
}

// Null donors have the values of single pairs for a few metrics only, and means for all.
function hasMetric(grid, metric, parts) {
  return parts ? Boolean(grid.values[metric]) : Boolean(grid.tables.all.metrics[metric]);
}

// The field that splits the pairs, if one does.
function fieldOf(study, state) {
  return state.split === "" ? null : study.fields[Number(state.split)];
}

// Mean, low, high, n and q of every cell. Without a subset they are those of the records' summary; a subset is
// estimated here, and a single pair has neither interval nor q.
const estimated = new Map();
function tableOf(study, grid, metric, chosen, subset = null, key = "") {
  if (!subset) {
    const table = grid.tables[chosen] || grid.tables.all;
    const found = table.metrics[metric];
    return {
      mean: remembered(found.mean),
      low: remembered(found.low),
      high: remembered(found.high),
      n: remembered(found.n),
      q: remembered(table.q),
    };
  }
  const name = [study.number, grid.experiment, grid.direction, grid.donor, metric, chosen, key].join("\u0000");
  if (!estimated.has(name)) {
    const rows = rowsOf(study, grid, chosen, subset);
    const cells = cellsIn(grid);
    const table = estimate(valuesOf(grid, metric), rows, cells);
    const tested = signFlips(valuesOf(grid, "answer_logprob_change"), rows, cells);
    for (const cell of grid.structural) tested[cell] = NaN;
    table.q = subset.size > 1 ? falseDiscoveries(tested) : tested.fill(NaN);
    estimated.set(name, table);
  }
  return estimated.get(name);
}

// Words for a metric as it is shown: what denoise recovers, noise destroys.
function metricWords(metric, direction) {
  const name = metric === "effect" ? (direction === "noise" ? "destruction" : "recovery") : metric;
  return (
    WORDS.metrics[name] || { label: name, axis: name, unit: "", signed: true, format: ".2f", smallest_limit: 0 }
  );
}

function experimentWords(name) {
  return WORDS.experiments[name] || name.replaceAll("_", " ");
}

// A donor with what it is for: a null should move nothing, another one takes something away.
function roleWords(name) {
  return WORDS.ablations.includes(name) ? `effect: ${donorWords(name)}` : `null: ${donorWords(name)}`;
}

function donorWords(name) {
  return WORDS.donors[name] || name.replaceAll("_", " ");
}

// A step where a grid has steps, else a site.
function columnNames(grid) {
  const steps = new Set(grid.columns.map((column) => column[1]));
  return grid.columns.map(([site, step]) => (steps.size > 1 ? String(step) : site));
}

function isChain(grid) {
  return new Set(grid.columns.map((column) => column[1])).size > 1;
}

function placeWords(grid, layer, [site, step]) {
  return isChain(grid) ? `layer ${layer}, step ${step} (${site})` : `layer ${layer}, ${site}`;
}

// Digits after the point from a Python format, true minus, no minus on a rounded zero.
function shown(value, format = ".2f", more = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const digits = Number(/\.(\d)f/.exec(format)?.[1] ?? 2) + more;
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function shownQ(q) {
  if (!Number.isFinite(q)) return "–";
  return q < 0.001 ? "< 0.001" : q.toFixed(3);
}
