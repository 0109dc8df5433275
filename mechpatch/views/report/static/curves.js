// Curves: effects over layers, chains over steps, and experiments against each other. Lines carry their names.
const SERIES = ["#0072b2", "#d55e00", "#009e73", "#b5629a", "#b07a00", "#3d8fc4", "#808080"];
const DASHES = ["2,3", "6,3", "6,3,2,3", "10,4"];
const layerColour = (share) => d3.piecewise(d3.interpolateLab, ["#7a55c7", "#1f8c8c", "#c07d00"])(share);

function CurveFigure({ number, name, caption, methods, points, options, by, label }) {
  const [place, width] = useWidth();
  const keys = points.length ? Object.keys(points[0]) : [];
  return html`<${Figure} number=${number} name=${name} caption=${caption} methods=${methods} rows=${() => [keys, ...points.map((point) => keys.map((key) => point[key]))]}>
    <div ref=${place}>${width && points.length ? html`<${Drawing} label=${caption} by=${[width, ...by]} options=${() => options(Math.min(width, 900))} />` : html`<p class="lead">Not measured in this direction.</p>`}</div><//>`;
}

// Mean, low and high of each cell that can move, as records for Plot.
function pointsOf(grid, table, metric, series) {
  const found = table.metrics[metric];
  const scale = SHARES.includes(metric) ? 100 : 1;
  return [...Array(cellsIn(grid)).keys()].filter((cell) => !grid.structural.has(cell) && Number.isFinite(read(found.mean)[cell])).map((cell) => {
    const [mean, low, high] = ["mean", "low", "high"].map((key) => scale * read(found[key])[cell]);
    const { site, step } = columnOf(grid, cell);
    return { series, layer: layerOf(grid, cell), site, step, mean, low, high, n: read(found.n)[cell] };
  });
}

const tip = (point) => `${point.series}\nlayer ${point.layer}${point.step === undefined ? "" : `, ${point.site}`}: ${shown(point.mean)} (${shown(point.low)} to ${shown(point.high)}), n = ${point.n}`;

function yAxis(words, metric) {
  return { label: words.axis, grid: true, zero: true, nice: true, ...(SHARES.includes(metric) ? { domain: [0, 100] } : {}) };
}

// With room at the right for the names of the lines.
const frame = (width, names) => ({ width, height: 320, marginLeft: 52, marginRight: width < 620 ? 16 : 20 + 6.6 * Math.max(4, ...names.map((name) => Math.min(41, name.length))), marginTop: 28, marginBottom: 40 });

function ProfileFigure({ view, number }) {
  const { study, state } = view;
  const field = fieldAt(study, state);
  const grids = gridsOf(study, { ...state, experiment: "layer" });
  const paired = grids.find((grid) => grid.donor === "paired");
  const table = (grid, group = null) => tableOf(study, grid, state.pairs, group === null ? null : field, group);
  const metric = paired && table(paired).metrics[state.metric] ? state.metric : "effect";
  const words = metricWords(metric, state.direction);
  const lines = field === null ? grids.map((grid) => ({ grid, table: table(grid), name: roleWords(grid.donor) })) : study.fields[field].groups.map((label, group) => ({ grid: paired, table: table(paired, group), name: `${clip(state.split, 20)} = ${clip(label, 20)}` }));
  const drawn = lines.filter((line) => line.grid && line.table.metrics[metric]);
  const points = drawn.flatMap((line) => pointsOf(line.grid, line.table, metric, line.name));
  const names = drawn.map((line) => line.name);
  const colour = (point) => (field === null ? (point.series === "effect" ? SERIES[0] : "currentColor") : SERIES[names.indexOf(point.series) % SERIES.length]);
  const caption = `All thoughts of one layer written at once, ${WORDS.directions[state.direction] ?? state.direction}: ${words.axis}. Bars: 95 % intervals.${field === null ? " Grey dashes: other donors." : ""}`;
  return html`<${CurveFigure} number=${number} name=${`layer-${state.direction}-${metric}`} methods=${methodsOf(view, metric, "layer")} caption=${caption} label=${caption} points=${points} by=${looked(state)} options=${(width) => ({
    ...frame(width, names), x: { label: paired?.width > 1 ? "First layer" : "Layer", ticks: paired.layers, tickFormat: String }, y: yAxis(words, metric),
    marks: [Plot.ruleY([0], { strokeOpacity: 0.5 }),
      Plot.ruleX(points.filter((point) => field !== null || point.series === "effect"), { x: "layer", y1: "low", y2: "high", stroke: colour }),
      ...drawn.map((line, at) => Plot.lineY(points.filter((point) => point.series === line.name), { x: "layer", y: "mean", stroke: colour({ series: line.name }), strokeOpacity: field === null && line.name !== "effect" ? 0.6 : 1, strokeDasharray: field === null && line.name !== "effect" ? DASHES[at % DASHES.length] : null })),
      Plot.dot(points.filter((point) => field !== null || point.series === "effect"), { x: "layer", y: "mean", fill: colour, r: 4 }), ...named(points, "layer", width, colour), Plot.tip(points, Plot.pointer({ x: "layer", y: "mean", title: tip }))],
  })} />`;
}

// The name of each line at its right end, apart from its neighbours; on a narrow screen the tip tells them.
function named(points, x, width, colour) {
  if (width < 620) return [];
  const last = [...d3.rollup(points, (group) => d3.greatest(group, (point) => point[x]), (point) => point.series).values()];
  return [(_, scales, __, { height, marginBottom }) => {
    const labels = last.map((point) => ({ point, y: scales.y(point.mean) })).sort((a, b) => a.y - b.y);
    labels.forEach((label, at) => { if (at) label.y = Math.max(label.y, labels[at - 1].y + 14); });
    labels.toReversed().forEach((label, at) => { label.y = Math.min(label.y, height - marginBottom - 14 * at); });
    const group = svgOf("g", { "aria-hidden": "true", "text-anchor": "start" });
    const right = Math.max(...last.map((point) => scales.x(point[x]))) + 10;
    group.append(...labels.map(({ point, y }) => svgOf("text", { x: right, y: y + 4, fill: colour(point) }, clip(point.series, 40))));
    return group;
  }];
}

const looked = (state) => [state.run, state.hook, state.direction, state.metric, state.pairs, state.split];

function ChainFigure({ view, number, experiment }) {
  const { study, state } = view;
  const grid = gridOf(study, { ...state, experiment });
  const table = grid && tableOf(study, grid, state.pairs);
  const metric = table?.metrics[state.metric] ? state.metric : "effect";
  const words = metricWords(metric, state.direction);
  const points = grid ? pointsOf(grid, table, metric, "") .map((point) => ({ ...point, series: `layer ${point.layer}` })) : [];
  const layers = grid?.layers ?? [];
  const shift = (point) => point.step + (layers.length > 1 ? 0.2 * (layers.indexOf(point.layer) / (layers.length - 1) - 0.5) : 0);
  const colour = (point) => layerColour(layers.length > 1 ? layers.indexOf(point.layer) / (layers.length - 1) : 0);
  const cosine = ["similarity_clean", "similarity_corrupted"].filter((name) => table?.metrics[name]).flatMap((name) => pointsOf(grid, table, name, WORDS.metrics[name].label));
  const caption = `${kindWords(experiment).label}, ${WORDS.directions[state.direction] ?? state.direction}: ${words.axis} after each step, a line for each layer. Bars: 95 % intervals. Steps that cannot move, by construction, have no point.`;
  const marks = (width) => [Plot.ruleY([0], { strokeOpacity: 0.5 }), Plot.ruleX(points, { x: shift, y1: "low", y2: "high", stroke: colour, strokeOpacity: 0.7 }), Plot.lineY(points, { x: shift, y: "mean", z: "series", stroke: colour }), Plot.dot(points, { x: shift, y: "mean", fill: colour, r: 3.5 }), ...named(points.map((point) => ({ ...point, step: shift(point) })), "step", width, colour), Plot.tip(points, Plot.pointer({ x: shift, y: "mean", title: tip }))];
  const steps = [...new Set((grid?.columns ?? []).map((column) => column.step))];
  const axis = { label: "Step", ticks: steps, tickFormat: String, domain: [Math.min(...steps) - 0.3, Math.max(...steps) + 0.3] };
  const likeness = `${kindWords(experiment).label}: cosine of the vector that each step writes to the clean (solid) and to the corrupted (dashed) vector of its site, a line for each layer.`;
  const likenessMarks = [...d3.group(cosine, (point) => `${point.series} ${point.layer}`).values()].map((line) => Plot.lineY(line, { x: "step", y: "mean", stroke: colour(line[0]), strokeDasharray: line[0].series === WORDS.metrics.similarity_clean.label ? null : "4,3" }));
  return html`<${CurveFigure} number=${number} name=${`${experiment}-${state.direction}-${metric}`} methods=${methodsOf(view, metric, experiment)} caption=${caption} label=${caption} points=${points} by=${[...looked(state), experiment]} options=${(width) => ({ ...frame(width, layers.map((layer) => `layer ${layer}`)), x: axis, y: yAxis(words, metric), marks: marks(width) })} />
    ${cosine.length ? html`<${CurveFigure} number=${`${number}b`} name=${`${experiment}-${state.direction}-cosine`} methods=${methodsOf(view, "similarity_clean", experiment)} caption=${likeness} label=${likeness} points=${cosine} by=${[...looked(state), experiment]} options=${(width) => ({ ...frame(width, layers.map((layer) => `layer ${layer}`)), x: axis, y: { label: "Cosine", grid: true, nice: true }, marks: [...likenessMarks, ...named(cosine.filter((point) => point.series === WORDS.metrics.similarity_clean.label).map((point) => ({ ...point, series: `layer ${point.layer}` })), "step", width, colour), Plot.tip(cosine, Plot.pointer({ x: "step", y: "mean", title: tip }))] })} />` : null}`;
}

// One point for each experiment and layer, side by side.
function ComparisonFigure({ view, number, metric }) {
  const { study, state } = view;
  const choices = study.comparisons.filter((each) => each.direction === state.direction && each.metric === metric && (each.hook ?? "resid_post") === state.hook);
  const found = choices.find((each) => each.pairs === state.pairs) ?? choices[0];
  const words = metricWords(metric, state.direction);
  const names = found ? found.series.map((each) => each.label) : [];
  const points = found ? found.series.flatMap((series, at) => found.layers.map((layer, index) => ({ series: series.label, layer, place: layer + 0.08 * (at - (found.series.length - 1) / 2), mean: series.mean[index], low: series.low[index], high: series.high[index], n: series.n[index] })).filter((point) => point.mean !== null)) : [];
  const colour = (point) => SERIES[names.indexOf(point.series) % SERIES.length];
  const caption = `Experiments by layer: ${words.axis}, mean over pairs; bars: 95 % intervals. Sums and synergy are taken within a pair before the mean; a sum of shares is no share.`;
  return html`<${CurveFigure} number=${number} name=${`comparison-${state.direction}-${metric}`} methods=${methodsOf(view, metric, ["layer", "position", "relay", "cumulative"])} caption=${caption} label=${caption} points=${points} by=${[...looked(state), metric]} options=${(width) => ({
    ...frame(width, names), x: { label: "Layer", ticks: found.layers, tickFormat: String }, y: yAxis(words, metric), color: width < 620 ? { type: "categorical", domain: names, range: SERIES.slice(0, names.length), legend: true } : undefined,
    marks: [Plot.ruleY([0], { strokeOpacity: 0.5 }), Plot.ruleX(points, { x: "place", y1: "low", y2: "high", stroke: colour }), Plot.lineY(points, { x: "place", y: "mean", z: "series", stroke: colour, strokeOpacity: 0.6 }), Plot.dot(points, { x: "place", y: "mean", fill: colour, r: 4 }), ...named(points, "place", width, colour), Plot.tip(points, Plot.pointer({ x: "place", y: "mean", title: tip }))],
  })} />`;
}
