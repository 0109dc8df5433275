// Two runs: at every cell the first minus the other, as Python computed it, and the pairs at the chosen cell, one run
// against the other.
const points = (value) => (Number.isFinite(value) ? `${signed(100 * value, ".0f")} points` : "–");
const signed = (value, format) => (Number.isFinite(value) && Number(value.toFixed(Number(/\d/.exec(format)[0]))) > 0 ? `+${shown(value, format)}` : shown(value, format));

// What both runs have of the experiment, direction and hook point that are looked at; null where they share none.
function betweenHere(view) {
  const between = betweenOf(view.study, view.state.against);
  if (!between) return null;
  const found = between.grids.find((each) => ["hook", "experiment", "direction"].every((key) => each[key] === view.state[key]));
  if (!found) return { between, grid: null };
  const grid = { ...found, structural: new Set(found.structural), absent: new Set(found.absent) };
  const metric = found.metrics[view.state.metric] ? view.state.metric : "switched";
  return { between, grid, metric, table: found.metrics[metric], cell: cellNamed(grid, view.state.cell), names: [between.a, between.b].map((at) => DATA.studies[at].name) };
}

function differenceWords({ grid, metric, table }, direction, cell) {
  const place = capital(placeWords(grid, cell));
  if (grid.structural.has(cell)) return `${place}: ${CONSTRUCTED}`;
  if (grid.absent.has(cell)) return `${place}: not run in both`;
  const value = (name) => read(table[name])[cell];
  if (!value("n")) return `${place}: no pair that both runs can use`;
  const words = metricWords(metric, direction);
  const share = SHARES.includes(metric);
  const form = share ? points : (number) => signed(number, `.${Number(/\.(\d)/.exec(words.format)[1]) + 1}f`);
  const limits = Number.isFinite(value("low")) ? `, 95 % interval ${form(value("low"))} to ${form(value("high"))}` : "";
  return `${place}: ${words.label} A ${valueWords(value("a"), metric, words, 1)}, B ${valueWords(value("b"), metric, words, 1)}, A − B ${form(value("mean"))}${limits}, ${value("n")} pairs, q ${shownQ(value("q"))}${value("clear") ? ", clear" : ""}`;
}

function DifferenceFigure({ view, here, number }) {
  const { state, study } = view;
  const [place, width] = useWidth();
  const { grid, metric, table, names } = here;
  const words = metricWords(metric, state.direction);
  const share = SHARES.includes(metric);
  const values = read(table.mean);
  const reach = share ? 1 : Math.max(words.smallest_limit, ...[...values].filter((value, cell) => Number.isFinite(value) && !grid.structural.has(cell)).map(Math.abs)) || 1;
  const looks = {
    values, reach, signed: true, said: (cell) => differenceWords(here, state.direction, cell), bold: (cell) => read(table.clear)[cell] === 1, tick: () => null,
    text: (value) => (share ? signed(100 * value, ".0f") : signed(value, words.format)),
  };
  const select = (index, moved) => go({ cell: cellName(grid, index) }, moved);
  const most = Math.max(0, ...[...read(table.n)].filter(Number.isFinite));
  const caption = `${kindWords(state.experiment).label}${state.hook === "resid_post" ? "" : `, ${hookWords(state.hook)}`}, ${WORDS.directions[state.direction] ?? state.direction}: ${words.label}, A (${names[0]}) minus B (${names[1]}), pair by pair, over ${most} pairs that both can use${share ? ", in percentage points; full colour is 100" : `, ${words.unit}; full colour is ${shown(reach, words.format, 1)}`}. Blue: more in A; orange to red: more in B. Bold: the difference is clear.${grid.structural.size ? " Hatched: cannot move in either, by construction." : ""} Click a cell, or use the arrow keys.`;
  const rows = () => [["layer", "site", "step", "head", "structural", "a", "b", "a minus b", "low", "high", "n", "q", "clear"], ...runOf(grid).map((cell) => [layerOf(grid, cell), columnOf(grid, cell).site, columnOf(grid, cell).step, columnOf(grid, cell).head ?? "", grid.structural.has(cell), ...["a", "b", "mean", "low", "high", "n", "q", "clear"].map((name) => read(table[name])[cell])])];
  return html`<${Figure} number=${number} name=${`difference-${state.experiment}-${state.direction}-${metric}`} caption=${caption} methods=${methodsOf(view, metric, state.experiment, true)} rows=${rows}>
    <div ref=${place}>${width ? html`<${Map_} ...${{ grid, ...looks, selected: here.cell ?? 0, chosen: here.cell !== null, onSelect: select, width, id: `A minus B: ${words.label}` }} />` : null}</div><//>`;
}

// Each pair as a dot: its value in A across, in B upwards; filled with the colour of what it gives in A, ringed with B's.
function scatterPoints({ between, names }, state) {
  const sides = [between.a, between.b].map((at) => {
    const study = DATA.studies[at];
    const grid = gridOf(study, state);
    return { study, grid, cell: cellNamed(grid, state.cell) };
  });
  const metric = sides.every(({ grid }) => grid.values[spreadMetric(grid, state.metric)]) ? spreadMetric(sides[0].grid, state.metric) : "effect";
  const found = between.pairs.map((id) => {
    const [a, b] = sides.map(({ study, grid, cell }) => ({ value: valueOf(grid, metric, study.byId.get(id), cell), gives: outcomeOf(grid, study.byId.get(id), cell) }));
    return { id, a, b };
  });
  return { metric, names, dots: found.filter(({ a, b }) => Number.isFinite(a.value) && Number.isFinite(b.value)), missing: found.filter(({ a, b }) => !Number.isFinite(a.value) || !Number.isFinite(b.value)).length };
}

function ScatterFigure({ view, here, number }) {
  const { state } = view;
  const [place, width] = useWidth();
  const { metric, names, dots, missing } = useMemo(() => scatterPoints(here, state), [state.run, state.against, state.hook, state.experiment, state.direction, state.metric, state.cell]);
  const words = metricWords(metric, state.direction);
  const caption = `${capital(words.axis)} of every pair at ${placeWords(here.grid, here.cell)}, in A (${names[0]}) across and in B (${names[1]}) upwards; filled with the colour of its greedy answer in A, ringed with that in B: blue the clean, orange the corrupted, grey another one. On the line both runs agree${missing ? `; ${missing} pairs without a value are left out` : ""}. Values far outside stand at the edge. Click a dot, or use the arrow keys.`;
  const rows = () => [["pair", `A ${metric}`, `B ${metric}`, "A gives", "B gives"], ...dots.map(({ id, a, b }) => [id, a.value, b.value, a.gives ?? "", b.gives ?? ""])];
  return html`<${Figure} number=${number} name=${`scatter-${state.experiment}-${state.cell.replaceAll(":", "-")}`} caption=${caption} methods=${methodsOf(view, metric, state.experiment, true)} rows=${rows}>
    <div ref=${place}>${width && dots.length ? html`<${Dots} ...${{ state, names, dots, metric, words, width: Math.min(width, 520) }} />` : null}</div><//>`;
}

const ROOM = { left: 52, bottom: 44, top: 8, right: 12 };

function Dots({ state, names, dots, metric, words, width }) {
  const limits = spreadLimits([{ pairs: dots.map(({ a }) => a) }, { pairs: dots.map(({ b }) => b) }], metric);
  const height = width - ROOM.left - ROOM.right + ROOM.top + ROOM.bottom;
  const x = d3.scaleLinear(limits, [ROOM.left, width - ROOM.right]);
  const y = d3.scaleLinear(limits, [height - ROOM.bottom, ROOM.top]);
  const ordered = useMemo(() => [...dots].sort((one, other) => one.a.value - other.a.value), [dots]);
  const choose = (id, moved) => go({ pair: id }, moved);
  const move = (event) => {
    const next = stepped(event, ordered, ordered.findIndex(({ id }) => id === state.pair));
    if (next) choose(next.id, true);
  };
  const radius = dots.length > 200 ? 3.5 : 5;
  const chosen = ordered.findIndex(({ id }) => id === state.pair);
  const ticks = x.ticks(Math.max(3, Math.floor(width / 90)));
  const name = (tick) => x.tickFormat(5)(tick).replace("-", "−");
  return html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} class="boxes" onClick=${(event) => { const dot = event.target.closest("[data-pair]"); if (dot) choose(dot.dataset.pair, false); }}>
    <g aria-hidden="true">
      ${ticks.map((tick) => html`<g key=${tick}><line x1=${x(tick)} x2=${x(tick)} y1=${ROOM.top} y2=${height - ROOM.bottom} class="rule" /><line x1=${ROOM.left} x2=${width - ROOM.right} y1=${y(tick)} y2=${y(tick)} class="rule" />
        <text x=${x(tick)} y=${height - ROOM.bottom + 16} text-anchor="middle" class="muted">${name(tick)}</text><text x=${ROOM.left - 6} y=${y(tick) + 4} text-anchor="end" class="muted">${name(tick)}</text></g>`)}
      <line x1=${x(limits[0])} y1=${y(limits[0])} x2=${x(limits[1])} y2=${y(limits[1])} class="zero" />
      <text x=${width - ROOM.right} y=${height - 6} text-anchor="end">${clip(`A ${names[0]}: ${words.axis}`, Math.floor(width / 7))} →</text>
      <text transform=${`translate(12,${ROOM.top}) rotate(-90)`} text-anchor="end">${clip(`B ${names[1]}: ${words.axis}`, Math.floor(height / 7))} →</text></g>
    <g role="listbox" tabindex="0" aria-label=${`Pairs by ${words.label} in A and in B`} aria-activedescendant=${chosen < 0 ? null : `dot-${chosen}`} onKeyDown=${move}>
      ${ordered.map(({ id, a, b }, at) => {
        const said = `${id}: ${words.label} A ${shown(a.value, words.format)}, gives ${GIVES[a.gives] ?? "no known answer"}; B ${shown(b.value, words.format)}, gives ${GIVES[b.gives] ?? "no known answer"}`;
        return html`<circle key=${id} role="option" id=${`dot-${at}`} aria-selected=${id === state.pair} aria-label=${said} data-pair=${id} cx=${x(clamp(a.value, limits))} cy=${y(clamp(b.value, limits))} r=${id === state.pair ? radius + 3 : radius} class=${`dot ${a.gives ?? "unknown"} ring-${b.gives ?? "unknown"}`}><title>${said}</title></circle>`;
      })}</g></svg>`;
}

function Differences({ view, numbers }) {
  const here = betweenHere(view);
  const { study, state } = view;
  if (!here) return null;
  const others = DATA.differences.filter((each) => each.grids.length && each.a === study.number);
  const menu = others.length > 1 ? html`<div class="toolbar"><${Menu} label="Compared with" name="against" value=${state.against} options=${others.map((each) => [String(each.b), DATA.studies[each.b].name])} onChange=${(value) => go({ against: value })} /></div>` : null;
  if (!here.grid) return html`${menu}<p class="lead">The other run has no such experiment in this direction at this hook point.</p>`;
  return html`${menu}<div class="cell-and-pair"><section aria-label="Map of differences"><${DifferenceFigure} view=${view} here=${here} number=${numbers[0]} /></section>
    <section aria-label="Pairs in both runs">${here.cell === null ? html`<p class="lead">The other run has no cell ${placeWords(view.grid, view.cell)}.</p>` : html`<p aria-live="polite" data-heading="difference">${differenceWords(here, state.direction, here.cell)}.</p>${here.grid.structural.has(here.cell) ? null : html`<${ScatterFigure} view=${view} here=${here} number=${numbers[1]} />`}`}</section></div>`;
}
