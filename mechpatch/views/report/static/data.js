// What the page was given: words, colours, and the numbers of every study, decoded when they are first looked at.
// A grid is one experiment, direction and donor: pair × layer × column; a cell is layer * columns + column.
const { html, render, useState, useEffect, useLayoutEffect, useMemo, useRef } = htmPreact;
const DATA = JSON.parse(await unpacked("payload"));
const WORDS = DATA.words;
const THEME = DATA.theme;
const OUTCOMES = ["clean", "corrupted", "other", "expected"]; // by the number that a grid holds
const GIVES = { clean: "the clean answer", corrupted: "the corrupted answer", other: "another answer", expected: "the expected answer" };
const SHARES = ["switched", "neither"];
const hookWords = (name) => {
  const label = WORDS.hooks[name];
  return !label ? name : label.endsWith(`(${name})`) ? capital(label) : `${capital(label)} (${name})`;
};
const LEFT_OUT = "not run, the screen left it out";
const CONSTRUCTED = "cannot move, by construction: no finding";

function bytesOf(text) {
  const signs = atob(text);
  const bytes = new Uint8Array(signs.length);
  for (let at = 0; at < signs.length; at++) bytes[at] = signs.charCodeAt(at);
  return bytes;
}

// What an element of the page carries compressed.
function unpacked(id) {
  const stream = new Blob([bytesOf(document.getElementById(id).textContent)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("deflate"))).text();
}

// An array made by arrays.py, as Float64Array; undefined values are NaN. Its bytes are in the order of every machine
// that a browser runs on.
function decode(array) {
  if (array.kind === "constant") return new Float64Array(array.size).fill(array.value === null ? NaN : array.value);
  const bytes = bytesOf(array.data);
  if (array.kind === "f32") return new Float64Array(new Float32Array(bytes.buffer));
  const steps = array.kind === "u8" ? bytes : new Int16Array(bytes.buffer);
  const [missing, low, step] = array.kind === "u8" ? [255, 0, 1] : [-32768, array.low + 32500 * array.step, array.step];
  const values = new Float64Array(steps.length);
  for (let at = 0; at < steps.length; at++) values[at] = steps[at] === missing ? NaN : low + steps[at] * step;
  return values;
}

const decoded = new Map();
function read(array) {
  if (!decoded.has(array)) decoded.set(array, decode(array));
  return decoded.get(array);
}

for (const [number, study] of DATA.studies.entries()) {
  study.number = number;
  study.at = new Map(study.pairs.map((pair, at) => [pair.index, at]));
  study.byId = new Map(study.pairs.map((pair, at) => [pair.id, at]));
  study.grids.forEach((grid, at) => {
    Object.assign(grid, { at, structural: new Set(grid.structural), absent: new Set(grid.absent), hook: grid.hook ?? "resid_post" });
    grid.rowOf = new Map(grid.pairs.map((index, row) => [study.at.get(index), row]));
  });
}

const cellsIn = (grid) => grid.layers.length * grid.columns.length;
const runOf = (grid) => [...Array(cellsIn(grid)).keys()].filter((cell) => !grid.absent.has(cell)); // a screen leaves cells out
const layerOf = (grid, cell) => grid.layers[Math.floor(cell / grid.columns.length)];
const columnOf = (grid, cell) => grid.columns[cell % grid.columns.length];

function gridsOf(study, state) {
  return study.grids.filter((grid) => grid.hook === state.hook && grid.experiment === state.experiment && grid.direction === state.direction);
}

function gridOf(study, state, donor = "paired") {
  return gridsOf(study, state).find((grid) => grid.donor === donor);
}

// The statistics of a grid, for all pairs of a choice or for one group of a field; computed before the page was made.
function tableOf(study, grid, pairs, field = null, group = null) {
  const choices = study.tables.filter((each) => each.field === field && each.group === group);
  return (choices.find((each) => each.pairs === pairs) ?? choices[0]).grids[grid.at];
}

// Value of one pair at one cell; NaN where it has none.
function valueOf(grid, metric, at, cell) {
  const row = grid.rowOf.get(at);
  return row === undefined || !grid.values[metric] ? NaN : read(grid.values[metric])[row * cellsIn(grid) + cell];
}

// What greedy decoding gives for one pair after the write at one cell.
function outcomeOf(grid, at, cell) {
  return OUTCOMES[valueOf(grid, "outcome", at, cell)];
}

// What the patched run says, where the run was asked to go on; its numbers are rounded to whole ones again.
function saidOf(grid, at, cell) {
  const row = grid.rowOf.get(at);
  return row === undefined || !grid.said ? undefined : grid.texts[Math.round(read(grid.said)[row * cellsIn(grid) + cell])];
}

// Pairs of a choice, as places in study.pairs.
function chosenPairs(study, state) {
  return [...study.pairs.keys()].filter((at) => state.pairs === "all" || study.pairs[at].correct);
}

// Words for a metric as it is shown: what denoise recovers, noise destroys.
function metricWords(metric, direction) {
  const name = metric === "effect" ? (direction === "noise" ? "destruction" : "recovery") : metric;
  const found = WORDS.metrics[name] ?? { label: name, axis: name, unit: "", signed: true, format: ".2f", smallest_limit: 0 };
  return SHARES.includes(metric) ? { ...found, unit: "% of pairs", axis: `${capital(found.label)} (% of pairs)` } : found;
}

const kindWords = (name) => WORDS.experiments[name] ?? { label: capital(name.replaceAll("_", " ")), drawing: "map", across: "Position", up: "Layer" };
const donorLabel = (name) => WORDS.donors[name]?.label ?? name.replaceAll("_", " ");
const isControl = (name) => (WORDS.donors[name]?.role ?? "control") === "control";
const isNull = (name) => WORDS.donors[name]?.null ?? true;
const roleWords = (name) => (name === "paired" ? "effect" : isNull(name) ? `null: ${donorLabel(name)}` : `ablation: ${donorLabel(name)}`);
const isChain = (grid) => new Set(grid.columns.map((column) => column.step)).size > 1;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const clip = (text, longest) => (text.length > longest ? `${text.slice(0, longest)}…` : text);

const hasHeads = (grid) => Number.isInteger(grid.columns[0].head);
const partWord = (grid) => WORDS.parts[grid.hook] ?? "head";
// Of many neurons a page shows the strongest alone.
function partsLeftOut(grid) {
  const shown = new Set(grid.columns.map((column) => column.head)).size;
  const all = (grid.parts ?? 0).toLocaleString("en");
  const here = grid.left_out ? ", as far as they were run here" : "";
  return shown < (grid.parts ?? 0) ? ` (of ${all} ${partWord(grid)}s the ${shown} with the strongest cells${here}; tests are over all ${all}, and where pairs are split none is made)` : "";
}
const columnWords = (grid, column) => (Number.isInteger(column.head) ? `${partWord(grid)} ${column.head}` : column.site);

// The columns of one map: all of them; where the hook point has heads or neurons, those of the position at which a cell stands.
function columnsAt(grid, cell) {
  const { site, step } = columnOf(grid, cell);
  return [...grid.columns.keys()].filter((at) => !hasHeads(grid) || (grid.columns[at].site === site && grid.columns[at].step === step));
}

function placeWords(grid, cell) {
  const column = columnOf(grid, cell);
  return `layer ${layerOf(grid, cell)}, ${isChain(grid) ? `step ${column.step} (${column.site})` : column.site}${hasHeads(grid) ? `, ${partWord(grid)} ${column.head}` : ""}`;
}

// Digits after the point from a Python format, true minus, no minus on a rounded zero.
function shown(value, format = ".2f", more = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toFixed(Number(/\.(\d)f/.exec(format)?.[1] ?? 2) + more);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

// A share as mechpatch.formats writes it: no share is written as 0 % or 100 % that is not.
function percent(value) {
  if (!Number.isFinite(value)) return "–";
  if (value > 0 && value < 0.0005) return "< 0.1 %";
  if (value > 0.99 && value < 1) return "> 99 %";
  return `${(100 * value).toFixed(value < 0.0995 ? 1 : 0).replace(/\.0$/, "")} %`;
}

const valueWords = (value, metric, words, more = 0) => (SHARES.includes(metric) ? percent(value) : shown(value, words.format, more));
const shownQ = (q) => (!Number.isFinite(q) ? "–" : q < 0.001 ? "< 0.001" : q.toFixed(3));
