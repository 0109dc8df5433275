// Maps: layers upwards, positions along the sequence across. Shares of pairs have one hue on a fixed scale from 0 to 100 %.
const DARK = { sequential: ["#1b2430", "#8cc8ff"], diverging: ["#f0a35e", "#20262e", "#8cc8ff"] };
const CELL = { widest: 76, highest: 44, header: 30, left: 44 };

// The colour of a share of a scale's reach, on paper and on a dark screen, with an ink that can be read on each.
function shades(signed, share) {
  const samples = signed ? THEME.diverging : THEME.sequential;
  const at = signed ? (share + 1) / 2 : share;
  const light = samples[Math.round(Math.min(1, Math.max(0, at)) * (samples.length - 1))];
  const dark = d3.piecewise(d3.interpolateLab, signed ? DARK.diverging : DARK.sequential)(Math.min(1, Math.max(0, at)));
  const ink = (colour) => (d3.lab(colour).l < 58 ? "#ffffff" : "#101418");
  return { fill: light, style: `fill: light-dark(${light}, ${dark})`, ink: ink(light), inkStyle: `fill: light-dark(${ink(light)}, ${ink(dark)})` };
}

const shareText = (value) => String(Math.round(100 * value));

// Largest absolute value that any panel shows: 1 for shares.
function reachOf(panels, metric, words) {
  if (SHARES.includes(metric)) return 1;
  const values = panels.flatMap(({ grid, table }) => [...read(table.metrics[metric].mean)].filter((value, cell) => Number.isFinite(value) && !grid.structural.has(cell)));
  return Math.max(words.smallest_limit, ...values.map(Math.abs)) || 1;
}

// The control with which most pairs do it, at one cell: {donor, share}.
function bestControl(table, cell) {
  const found = Object.entries(table.beyond).filter(([donor]) => isControl(donor)).map(([donor, test]) => ({ donor, share: read(test.share)[cell] }));
  return found.filter(({ share }) => Number.isFinite(share)).sort((a, b) => b.share - a.share)[0] ?? null;
}

function cellLabel(grid, table, metric, words, cell) {
  const place = capital(placeWords(grid, cell));
  if (grid.structural.has(cell)) return `${place}: ${CONSTRUCTED}`;
  if (grid.absent.has(cell)) return `${place}: ${LEFT_OUT}`;
  const found = table.metrics[metric];
  const n = read(found.n)[cell];
  if (!n) return `${place}: not run, or undefined for every pair`;
  const limits = Number.isFinite(read(found.low)[cell]) ? `, 95 % interval ${valueWords(read(found.low)[cell], metric, words, 1)} to ${valueWords(read(found.high)[cell], metric, words, 1)}` : "";
  const control = SHARES.includes(metric) ? bestControl(table, cell) : null;
  const beside = control ? `; best control ${percent(control.share)}, ${donorLabel(control.donor)}` : "";
  return `${place}: ${words.label} ${valueWords(read(found.mean)[cell], metric, words, 1)}${limits}, ${n} pairs${beside}`;
}

const isClear = (table, metric, cell) => read(table.clear[SHARES.includes(metric) ? "switched" : "effect"])[cell] === 1 && metric !== "neither";

// values: one for each cell of the grid, as are what is said of it, whether it is bold and where its tick stands.
function Map_({ grid, values, said, bold, tick, text, signed, reach, selected, chosen = true, onSelect, title, width, id }) {
  const across = columnsAt(grid, selected);
  const heads = across.map((column) => grid.columns[column]);
  const columns = across.length;
  const rows = grid.layers.length;
  const upright = columnsCrowd(grid, heads, (width - CELL.left) / columns);
  const cell = Math.max(4, Math.min(CELL.widest, (width - CELL.left - 2) / columns));
  const high = rows <= 8 ? Math.min(CELL.highest, Math.max(26, cell)) : Math.max(13, Math.min(30, 460 / rows));
  const head = upright ? 8 + 6.4 * Math.min(16, Math.max(...heads.map((column) => columnWords(grid, column).length))) : CELL.header;
  const numbers = [...values].map(text);
  const numbered = high >= 13 && cell >= 3 + 7.4 * Math.max(...numbers.map((number) => number.length));
  const cellAt = (row, column) => row * grid.columns.length + across[column];
  const at = (index) => ({ x: CELL.left + across.indexOf(index % grid.columns.length) * cell, y: head + (rows - 1 - Math.floor(index / grid.columns.length)) * high });
  const move = (event) => {
    const [column, row] = [across.indexOf(selected % grid.columns.length), Math.floor(selected / grid.columns.length)];
    const next = { ArrowLeft: [column - 1, row], ArrowRight: [column + 1, row], ArrowUp: [column, row + 1], ArrowDown: [column, row - 1], Home: [0, row], End: [columns - 1, row] }[event.key];
    if (!next) return;
    event.preventDefault();
    if (next[0] < 0 || next[0] >= columns || next[1] < 0 || next[1] >= rows) return;
    const target = cellAt(next[1], next[0]);
    onSelect(target, true);
    event.currentTarget.querySelector(`[data-cell="${target}"]`).focus();
  };
  const drawCell = (index) => {
    const { x, y } = at(index);
    const value = values[index];
    const structural = grid.structural.has(index);
    const known = Number.isFinite(value) && !structural;
    const shade = shades(signed, known ? value / reach : 0);
    const share = known ? tick(index) : null;
    const label = said(index);
    return html`<g role="gridcell" key=${index} class="cell" data-cell=${index} data-label=${label} tabindex=${index === selected ? 0 : -1} aria-selected=${chosen && index === selected} onClick=${() => onSelect(index, false)}>
      <title>${label}</title>
      <rect x=${x + 0.75} y=${y + 0.75} width=${cell - 1.5} height=${high - 1.5} fill=${structural ? "url(#hatch)" : known ? shade.fill : "none"} style=${known ? shade.style : ""} class=${known ? "" : grid.absent.has(index) ? "absent" : "unknown"} />
      ${share !== null && cell >= 12 ? html`<rect x=${x + 2 + share * (cell - 5)} y=${y + high - 8} width="2" height="6.5" fill=${shade.ink} style=${shade.inkStyle} />` : null}
      ${numbered && known ? html`<text x=${x + cell / 2} y=${y + high / 2 + 4} text-anchor="middle" aria-hidden="true" class="number" font-weight=${bold(index) ? 700 : 400} fill=${shade.ink} style=${shade.inkStyle}>${numbers[index]}</text>` : null}
      ${numbered && !known && !structural && !grid.absent.has(index) ? html`<text x=${x + cell / 2} y=${y + high / 2 + 4} text-anchor="middle" aria-hidden="true" class="muted">–</text>` : null}
    </g>`;
  };
  const corner = at(selected);
  const whole = { width: CELL.left + columns * cell + 2, height: head + rows * high + 4 };
  const every = Math.ceil(13 / high);
  return html`<div class="panel">
    ${title ? html`<p class="panel-title" data-title>${title}</p>` : null}
    <svg width=${whole.width} height=${whole.height} viewBox=${`0 0 ${whole.width} ${whole.height}`}>
      <defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" class="hatch-ground" /><line x1="0" x2="0" y1="0" y2="7" class="hatch-line" /></pattern></defs>
      <g aria-hidden="true" class="heads">${heads.map((column, index) => columnHead(grid, column, index, cell, head, upright))}
        ${grid.layers.map((layer, row) => (row % every ? null : html`<text x=${CELL.left - 8} y=${head + (rows - 1 - row) * high + high / 2 + 4} text-anchor="end">${layer}</text>`))}
        <text transform=${`translate(11,${head + (rows * high) / 2}) rotate(-90)`} text-anchor="middle" class="muted">${grid.width > 1 ? "First layer" : kindWords(grid.experiment).up}</text></g>
      <g role="grid" aria-label=${`${id}, layers by ${hasHeads(grid) ? `${partWord(grid)}s` : isChain(grid) ? "steps" : "positions"}`} onKeyDown=${move}>
        ${grid.layers.map((_, row) => html`<g role="row" key=${row}>${across.map((_, column) => drawCell(cellAt(row, column)))}</g>`).reverse()}</g>
      ${chosen ? html`<rect x=${corner.x + 1} y=${corner.y + 1} width=${cell - 2} height=${high - 2} class="chosen" aria-hidden="true" />` : null}
    </svg></div>`;
}

function columnsCrowd(grid, columns, cell) {
  return columns.some((column) => 7.2 * columnWords(grid, column).length + 10 > Math.min(CELL.widest, cell));
}

// A site as a box on the line of the sequence; upright where there is no room.
function columnHead(grid, column, index, cell, head, upright) {
  const x = CELL.left + index * cell;
  const name = clip(columnWords(grid, column), 16);
  if (upright) return html`<text key=${index} transform=${`translate(${x + cell / 2 + 4},${head - 4}) rotate(-90)`}>${name}</text>`;
  return html`<g key=${index}>${index ? html`<line x1=${x - 4} x2=${x + 4} y1="13" y2="13" class="link" />` : null}
    <rect x=${x + 3} y="3" width=${cell - 6} height="20" rx="4" class="site" /><text x=${x + cell / 2} y="17" text-anchor="middle">${name}</text></g>`;
}

// The panels that a state asks for: the effect, and beside it each other donor; or each group of a field.
function panelsOf(study, state) {
  const grids = gridsOf(study, state).filter((grid) => grid.donor === "paired" || state.maps === "controls");
  const field = fieldAt(study, state);
  const has = (table) => table.metrics[state.metric] !== undefined;
  if (field === null) {
    const panels = grids.map((grid) => ({ key: grid.donor, grid, table: tableOf(study, grid, state.pairs), title: grids.length > 1 ? capital(roleWords(grid.donor)) : "" }));
    return panels.filter(({ table }) => has(table));
  }
  return study.fields[field].groups.flatMap((label, group) =>
    grids.filter((grid) => grid.donor === "paired").map((grid) => {
      const table = tableOf(study, grid, state.pairs, field, group);
      return { key: `${group}`, grid, table, title: `${clip(state.split, 30)} = ${clip(label, 30)} (${mostPairs(grid, table, state.metric)} pairs)` };
    }),
  );
}

// Where the map has no number.
function Empty({ view: { study, state } }) {
  const all = state.pairs === "correct" ? html` <button type="button" class="quiet" data-all onClick=${() => go({ pairs: "all" })}>Show all ${study.pairs.length} pairs</button>` : null;
  return html`<p class="lead">No pair has a value here: ${state.pairs === "correct" ? "only pairs that the unpatched model answers right on both sides are used." : "none is defined."}${all}</p>`;
}

function mostPairs(grid, table, metric) {
  return Math.max(0, ...[...read(table.metrics[metric].n)].filter((n, cell) => !grid.structural.has(cell) && Number.isFinite(n)));
}

function MapFigure({ view, number }) {
  const { study, state, grid, cell, pair } = view;
  const [place, width] = useWidth();
  const words = metricWords(state.metric, state.direction);
  const panels = panelsOf(study, state);
  const reach = reachOf(panels, state.metric, words);
  const several = panels.length > 1;
  const sided = !several && width > 900;
  const across = several ? Math.max(1, Math.min(panels.length, Math.floor(width / Math.max(300, 60 + 34 * columnsAt(grid, cell).length)))) : 1;
  const room = several ? width / across - 12 : sided ? Math.min(width - 440, CELL.left + CELL.widest * columnsAt(grid, cell).length + 4) : width;
  const select = (index, moved) => go({ cell: cellName(grid, index) }, moved);
  const drawn = panels.map(({ key, grid, table, title }) => html`<${Map_} key=${key} ...${{ grid, title, reach, signed: words.signed, selected: cell, onSelect: select, width: room, id: `${title || "Effect"}: ${words.label}`, ...looksOf(grid, table, state.metric, words) }} />`);
  return html`<${Figure} number=${number} name=${`map-${state.experiment}-${state.direction}-${state.metric}`} caption=${mapCaption(view, panels, words)} methods=${methodsOf(view, state.metric)} rows=${() => mapRows(panels, state)}>
    <div ref=${place} class=${`maps${sided ? " sided" : ""}`}>
      ${sided ? html`<div class="beside-map question-beside"><${Marked} parts=${study.pairs[pair].sides[state.direction === "noise" ? 0 : 1].question} /><small>${state.direction === "noise" ? "clean" : "corrupted"} question of the chosen pair</small></div>` : null}
      ${width ? html`<div class="panels">${drawn}${panels.every((panel) => !mostPairs(panel.grid, panel.table, state.metric)) ? html`<${Empty} view=${view} />` : null}</div>` : null}
      ${sided ? html`<div class="beside-map"><${Given} view=${view} /></div>` : null}
    </div>
  <//>`;
}

// How a map shows the statistics of a grid.
function looksOf(grid, table, metric, words) {
  const share = SHARES.includes(metric);
  return {
    values: read(table.metrics[metric].mean),
    said: (cell) => cellLabel(grid, table, metric, words, cell),
    bold: (cell) => isClear(table, metric, cell),
    tick: (cell) => (share ? (bestControl(table, cell)?.share ?? null) : null),
    text: (value) => (share ? shareText(value) : shown(value, words.format)),
  };
}

// What the chosen pair answers after the write at the chosen cell.
function Given({ view }) {
  const { study, state, grid, cell, pair } = view;
  const [clean, corrupted] = study.pairs[pair].sides;
  const gives = outcomeOf(grid, pair, cell);
  const answer = { clean: clean.answer, corrupted: corrupted.answer }[gives] ?? (gives && saidOf(grid, pair, cell));
  return html`<p>→ <strong><bdi dir="auto">${answer ? clip(answer, 80) : (gives ? "another answer" : "not run")}</bdi></strong></p>
    <small>after the write at ${placeWords(grid, cell)} (clean <bdi dir="auto">${clean.answer}</bdi>, corrupted <bdi dir="auto">${corrupted.answer}</bdi>)</small>`;
}

function mapCaption({ state, grid, cell }, panels, words) {
  const n = panels.length ? Math.max(...panels.map((panel) => mostPairs(panel.grid, panel.table, state.metric))) : 0;
  const what = { switched: `Per cent of ${n} pairs whose greedy answer becomes the ${state.direction === "noise" ? "corrupted" : "clean"} one after the write`, neither: `Per cent of ${n} pairs whose greedy answer becomes neither side’s after the write` }[state.metric];
  const tick = SHARES.includes(state.metric) && panels.some(({ table }) => bestControl(table, 0) !== null) ? " The tick stands at the best control’s share of the cell’s width." : "";
  const bold = state.metric === "neither" ? "" : " Bold: clear beyond every control that was run.";
  const hatched = grid.structural.size ? " Hatched: cannot move, by construction." : "";
  const absent = grid.left_out ? ` Dotted and empty: not run; a screen left ${grid.left_out.toLocaleString("en")} cells of this map out.` : "";
  const donors = panels.some((panel) => panel.grid.donor !== "paired") ? " Beside the effect stand the other donors, on the same scale." : "";
  const hook = state.hook === "resid_post" ? "" : `, ${hookWords(state.hook)}`;
  return `${kindWords(state.experiment).label}${hook}, ${WORDS.directions[state.direction] ?? state.direction}. ${what ?? `${words.axis}, mean over ${n} pairs`}.${tick}${bold}${hatched}${absent}${donors} Layers upwards, ${hasHeads(grid) ? `${partWord(grid)}s across, at ${columnOf(grid, cell).site}${partsLeftOut(grid)}` : isChain(grid) ? "steps across" : "positions across, as the sequence has them"}. Click a cell, or use the arrow keys.`;
}

function mapRows(panels, state) {
  const heads = ["panel", "donor", "layer", "site", "step", "head", "structural", state.metric, "low", "high", "n", "clear", "best control", "share of the best control"];
  const rows = panels.flatMap(({ grid, table, title }) =>
    runOf(grid).map((cell) => {
      const found = table.metrics[state.metric];
      const control = bestControl(table, cell);
      const { site, step, head } = columnOf(grid, cell);
      return [title || "effect", grid.donor, layerOf(grid, cell), site, step, head ?? "", grid.structural.has(cell), ...["mean", "low", "high", "n"].map((name) => read(found[name])[cell]), isClear(table, state.metric, cell), control?.donor ?? "", control?.share ?? ""];
    }),
  );
  return [heads, ...rows];
}
