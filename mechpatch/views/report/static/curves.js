// Curves: effects over layers, chains over steps, and experiments against each other.
function lineAxis(title, extra = {}) {
  return axis({ title: { text: title, standoff: 6 }, ...extra });
}

function zeroLine(layout, xref = "x", yref = "y") {
  layout.shapes.push({ type: "line", xref: `${xref} domain`, x0: 0, x1: 1, yref, y0: 0, y1: 0, line: { color: THEME.rule, width: 1 }, layer: "below" });
}

function shade(layout, from, to, xref = "x", yref = "y") {
  layout.shapes.push({
    type: "rect", xref, x0: from, x1: to, yref: `${yref} domain`, y0: 0, y1: 1, fillcolor: THEME.structural, line: { width: 0 }, layer: "below",
  });
}

function legendBelow(layout, items, width) {
  const across = Math.max(1, Math.floor((width - 70) / 290));
  const rows = Math.ceil(items / across);
  layout.margin.b += 22 * rows + 12;
  layout.height += 22 * rows + 12;
  const inside = layout.height - layout.margin.t - layout.margin.b;
  layout.legend = { orientation: "h", x: 0, xanchor: "left", y: -50 / inside, yanchor: "top", font: { size: 12 }, itemclick: "toggle" };
}

// Few layers need no wide figure.
function curveWidth(width, layers) {
  return Math.min(width, Math.max(680, 60 * layers.length + 120));
}

function curveLayout(width, title, notes) {
  const note = notes.join(width < NARROW ? "<br>" : "; ");
  const layout = baseLayout(width, 360);
  layout.margin = { l: 62, r: 16, t: 52 + (width < NARROW ? 14 * notes.length : 14), b: 50 };
  layout.annotations.push(
    heading(`<b>${title}</b><br><span style="font-size:11px;color:${THEME.muted}">${note}</span>`, 0, 1, { yshift: 10 }),
  );
  return layout;
}

function band(x, low, high, colour, group) {
  return {
    type: "scatter", mode: "lines", x: [...x, ...[...x].reverse()], y: [...low, ...[...high].reverse()], fill: "toself",
    fillcolor: colour, line: { width: 0 }, hoverinfo: "skip", name: "95 % interval", legendgroup: group, showlegend: true,
  };
}

function reach(values, words) {
  const finite = values.filter(Number.isFinite);
  const low = Math.min(0, ...finite, -words.smallest_limit / 4);
  const high = Math.max(0, ...finite, words.smallest_limit);
  const room = 0.06 * (high - low || 1);
  return [low - (low < 0 ? room : 0), high + room];
}

function movable(grid, values) {
  const structural = new Set(grid.structural);
  return [...values].map((value, cell) => (structural.has(cell) || !Number.isFinite(value) ? null : value));
}

// Layer-wise: the effect with its interval and the null donors; or one line for each part of a split.
function profileFigure(study, state, width) {
  const words = metricWords(state.metric, state.direction);
  const grids = study.grids.filter(
    (grid) => grid.experiment === "layer" && grid.direction === state.direction && hasMetric(grid, state.metric, false),
  );
  const field = fieldOf(study, state);
  const paired = grids.find((grid) => grid.donor === "paired");
  if (!paired) return nothing(width);
  const whole = tableOf(study, paired, state.metric, state.pairs);
  const layout = curveLayout(
    curveWidth(width, paired.layers),
    `Layer-wise patching: ${words.label}`,
    [WORDS.directions[state.direction] || state.direction, `mean over ${pairsWords(paired, whole)}`],
  );
  const traces = [];
  const seen = [];
  const add = (grid, table, style) => {
    const y = movable(grid, table.mean);
    traces.push({
      type: "scatter", mode: "lines+markers", x: grid.layers, y, hoverinfo: "text", connectgaps: false,
      hovertext: grid.layers.map((_, at) => hoverOf(grid, table, at, state.metric, words)), ...style,
    });
    seen.push(...y);
  };
  if (field) {
    field.groups.forEach((label, group) => {
      const subset = new Set([...field.of.keys()].filter((at) => field.of[at] === group));
      const table = tableOf(study, paired, state.metric, state.pairs, subset, `${field.name}\u0000${group}`);
      const colour = PALETTE[group % PALETTE.length];
      const nudge = 0.05 * (group - (field.groups.length - 1) / 2);
      add(paired, table, {
        x: paired.layers.map((layer) => layer + nudge),
        name: `${plain(field.name, 20)}: ${plain(label, 20)} (${pairsWords(paired, table)})`,
        line: { color: colour, width: 2 }, marker: { color: colour, size: 7, symbol: SYMBOLS[group % SYMBOLS.length] },
        error_y: bars(table, paired, colour),
      });
      seen.push(...movable(paired, table.low), ...movable(paired, table.high));
    });
  } else {
    const [low, high] = [movable(paired, whole.low), movable(paired, whole.high)];
    const kept = paired.layers.map((_, at) => at).filter((at) => low[at] !== null && high[at] !== null);
    traces.push(band(kept.map((at) => paired.layers[at]), kept.map((at) => low[at]), kept.map((at) => high[at]), "rgba(0,114,178,0.18)", "effect"));
    seen.push(...low, ...high);
    grids.filter((grid) => grid.donor !== "paired").forEach((grid, at) => {
      const table = tableOf(study, grid, state.metric, state.pairs);
      add(grid, table, { mode: "lines", name: roleWords(grid.donor), line: { color: THEME.muted, width: 1.6, dash: DASHES[at % DASHES.length] } });
    });
    add(paired, whole, { name: donorWords("paired"), line: { color: THEME.blue, width: 2.4 }, marker: { color: THEME.blue, size: 7 } });
  }
  for (const cell of paired.structural) shade(layout, paired.layers[cell] - 0.5, paired.layers[cell] + 0.5);
  zeroLine(layout);
  layout.xaxis = lineAxis("Layer", layerTicks(paired.layers));
  layout.yaxis = lineAxis(words.axis, { range: reach(seen.filter((value) => value !== null), words) });
  legendBelow(layout, traces.length, layout.width);
  return { traces, layout };
}

function layerTicks(layers) {
  const every = Math.ceil(layers.length / 17);
  return {
    range: [layers[0] - 0.5, layers[layers.length - 1] + 0.5],
    tickvals: layers.filter((_, at) => at % every === 0),
  };
}

function bars(table, grid, colour) {
  const [mean, low, high] = [table.mean, table.low, table.high];
  return {
    type: "data", symmetric: false, color: colour, thickness: 1, width: 0,
    array: [...mean].map((value, at) => (Number.isFinite(high[at]) ? high[at] - value : 0)),
    arrayminus: [...mean].map((value, at) => (Number.isFinite(low[at]) ? value - low[at] : 0)),
  };
}

// Chained runs: a line for each layer over the steps; what the written vectors resemble, where it was recorded.
function chainFigure(study, state, width) {
  const grid = gridOf(study, state.mode, state.direction);
  if (!grid) return nothing(width);
  const metric = hasMetric(grid, state.metric, false) ? state.metric : "effect";
  const wanted = [metric, ...["similarity_clean", "similarity_corrupted"].filter((name) => grid.values[name] && name !== metric)];
  const narrow = width < NARROW;
  const legend = narrow ? 0 : 78;
  const tall = 300;
  const layout = baseLayout(width, narrow ? wanted.length * (tall + 96) + 24 * Math.ceil(grid.layers.length / 4) : tall + 110);
  const shares = wanted.length === 1 ? [1] : [1.5, ...wanted.slice(1).map(() => 1)];
  const inside = width - legend - 16;
  const sum = shares.reduce((a, b) => a + b, 0);
  const traces = [];
  const stepsOf = grid.columns.map((column) => column[1]);
  const similar = wanted.slice(1).flatMap((name) => movable(grid, tableOf(study, grid, name, state.pairs).mean)).filter((value) => value !== null);
  let left = 0;
  wanted.forEach((name, at) => {
    const suffix = at ? String(at + 1) : "";
    const words = metricWords(name, state.direction);
    const table = tableOf(study, grid, name, state.pairs);
    const room = narrow ? width - 16 : (inside * shares[at]) / sum;
    const from = narrow ? 58 : left + 58;
    const to = narrow ? width - 16 : left + room - 10;
    const top = narrow ? at * (tall + 96) + 54 : 54;
    left += room;
    const columns = grid.columns.length;
    const main = at === 0;
    const seen = [];
    grid.layers.forEach((layer, row) => {
      const share = grid.layers.length > 1 ? row / (grid.layers.length - 1) : 0;
      const colour = colourAt(THEME.layers, share);
      const nudge = main && grid.layers.length > 1 ? 0.24 * (share - 0.5) : 0;
      const slice = (values) => values.slice(row * columns, (row + 1) * columns);
      const mean = movable(grid, table.mean).slice(row * columns, (row + 1) * columns);
      seen.push(...mean, ...(main ? [...slice(movable(grid, table.low)), ...slice(movable(grid, table.high))] : []));
      traces.push({
        type: "scatter", mode: "lines+markers", name: `layer ${layer}`, legendgroup: `layer ${layer}`, showlegend: main,
        x: stepsOf.map((step) => step + nudge), y: mean, xaxis: `x${suffix}`, yaxis: `y${suffix}`,
        line: { color: colour, width: 1.8 }, marker: { color: colour, size: 5.5, symbol: SYMBOLS[row % 6] }, hoverinfo: "text",
        hovertext: mean.map((_, column) => hoverOf(grid, table, row * columns + column, name, words)),
        ...(main ? { error_y: bars({ mean: slice(table.mean), low: slice(table.low), high: slice(table.high) }, grid, colour) } : {}),
      });
    });
    layout[`xaxis${suffix}`] = lineAxis("Step", {
      domain: [from / width, to / width], anchor: `y${suffix}`, range: [Math.min(...stepsOf) - 0.4, Math.max(...stepsOf) + 0.4], tickvals: stepsOf,
    });
    const limits = main
      ? reach(seen.filter((value) => value !== null), words)
      : similar.length ? [Math.min(...similar) - 0.05, Math.max(...similar) + 0.05] : [-1, 1];
    layout[`yaxis${suffix}`] = lineAxis(main ? words.axis : "Cosine", {
      domain: [1 - (top + tall) / layout.height, 1 - top / layout.height], anchor: `x${suffix}`, range: limits,
    });
    if (main) zeroLine(layout);
    for (let column = 0; column < columns; column++) {
      if (grid.layers.every((_, row) => grid.structural.includes(row * columns + column))) {
        shade(layout, stepsOf[column] - 0.4, stepsOf[column] + 0.4, `x${suffix}`, `y${suffix}`);
      }
    }
    const note = main ? `${pairsWords(grid, table)}; bars: 95 % intervals` : "of the vector that is written";
    layout.annotations.push(
      heading(`<b>${main ? `${experimentWords(state.mode)}: ${words.label}` : capital(words.label)}</b><br><span style="font-size:11px;color:${THEME.muted}">${note}</span>`, from / width, 1 - (top - 8) / layout.height),
    );
  });
  layout.legend = narrow
    ? { orientation: "h", x: 0.1, xanchor: "left", y: 0, yanchor: "bottom", font: { size: 11 } }
    : { x: 1, xanchor: "right", y: 1 - 50 / layout.height, yanchor: "top", font: { size: 12 }, tracegroupgap: 0 };
  return { traces, layout };
}

// One point for each experiment and layer, side by side.
function comparisonFigure(study, state, width) {
  const found =
    study.comparisons.find((each) => each.direction === state.direction && each.metric === state.compared && each.pairs === state.pairs) ||
    study.comparisons.find((each) => each.direction === state.direction && each.metric === state.compared);
  if (!found) return nothing(width);
  const words = metricWords(state.compared, state.direction);
  const most = Math.max(...found.series.flatMap((each) => each.n));
  const layout = curveLayout(curveWidth(width, found.layers), `Experiments by layer: ${words.label}`, [`mean over ${most} pairs`, "bars: 95 % intervals"]);
  const nudges = found.series.map((_, at) => 0.09 * (at - (found.series.length - 1) / 2));
  const seen = [];
  const traces = found.series.map((series, at) => {
    seen.push(...series.low, ...series.high, ...series.mean);
    const colour = PALETTE[at % PALETTE.length];
    return {
      type: "scatter", mode: "lines+markers", name: series.label, x: found.layers.map((layer) => layer + nudges[at]), y: series.mean,
      line: { color: colour, width: 1.4, dash: series.name === "synergy" ? "dot" : "solid" },
      marker: { color: colour, size: 8, symbol: SYMBOLS[at % SYMBOLS.length] }, error_y: bars(series, null, colour), hoverinfo: "text",
      hovertext: found.layers.map((layer, index) =>
        [
          `<b>Layer ${layer}: ${series.label}</b>`,
          `${words.label}: <b>${shown(series.mean[index], words.format, 1)}</b> ${words.unit}`,
          `95 % interval ${shown(series.low[index], words.format, 1)} to ${shown(series.high[index], words.format, 1)}`,
          `n = ${series.n[index]} pairs`,
        ].join("<br>"),
      ),
    };
  });
  zeroLine(layout);
  layout.xaxis = lineAxis("Layer", layerTicks(found.layers));
  layout.yaxis = lineAxis(words.axis, { range: reach(seen.filter((value) => value !== null), words) });
  legendBelow(layout, traces.length, layout.width);
  return { traces, layout };
}
