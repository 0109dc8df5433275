// Maps: layers upwards, sites along the sequence or steps of a chain across. Several panels share one colour scale.
const BAR = 84; // pixels for the colour bar at the right
const LEFT = 46;
const GAP = 22;
const LARGEST_CELL = 56;
const SMALLEST_CELL = 34; // under it, fewer panels stand in a row
const CONSTRUCTED = "zero by construction: no finding";

// The panels that a state of the toolbar asks for: {title, grid, table}.
function panelsOf(study, state) {
  const parts = state.pair !== "" || state.split !== "";
  const grids = study.grids.filter(
    (grid) => grid.experiment === state.experiment && grid.direction === state.direction && hasMetric(grid, state.metric, parts),
  );
  const donors = grids.filter((grid) => grid.donor === "paired" || state.nulls === "beside");
  const field = fieldOf(study, state);
  if (state.pair !== "") {
    const subset = new Set([Number(state.pair)]);
    return donors.map((grid) => ({
      title: [donorTitle(grid)],
      grid,
      table: tableOf(study, grid, state.metric, "all", subset, `pair ${state.pair}`),
    }));
  }
  if (!field) {
    return donors.map((grid) => {
      const table = tableOf(study, grid, state.metric, state.pairs);
      return { title: [donorTitle(grid), pairsWords(grid, table)], grid, table };
    });
  }
  return field.groups.flatMap((label, group) => {
    const subset = new Set([...field.of.keys()].filter((at) => field.of[at] === group));
    return donors.map((grid) => {
      const table = tableOf(study, grid, state.metric, state.pairs, subset, `${field.name}\u0000${group}`);
      const second = `${pairsWords(grid, table)}${donors.length > 1 ? `; ${donorWords(grid.donor)}` : ""}`;
      return { title: [`${plain(field.name, 30)}: ${plain(label, 30)}`, second], grid, table };
    });
  });
}

function donorTitle(grid) {
  return grid.donor === "paired" ? "Effect: the pair’s other side" : capital(roleWords(grid.donor));
}

function pairsWords(grid, table) {
  const structural = new Set(grid.structural);
  const counts = [...table.n].filter((_, cell) => !structural.has(cell));
  const most = counts.length ? Math.max(...counts) : 0;
  const least = counts.length ? Math.min(...counts) : 0;
  if (!most) return "no pair";
  return least === most ? `${most} pair${most > 1 ? "s" : ""}` : `${least} to ${most} pairs`;
}

function hoverOf(grid, table, cell, metric, words) {
  const column = grid.columns[cell % grid.columns.length];
  const lines = [
    `<b>${plain(capital(placeWords(grid, grid.layers[Math.floor(cell / grid.columns.length)], column)))}</b>`,
  ];
  if (grid.structural.includes(cell)) return [...lines, CONSTRUCTED].join("<br>");
  const unit = words.unit ? ` ${words.unit}` : "";
  const format = words.format;
  lines.push(`${words.label}: <b>${shown(table.mean[cell], format, 1)}</b>${unit}`);
  if (!Number.isFinite(table.mean[cell])) {
    lines.pop();
    lines.push("not run, or undefined for every pair");
  } else if (Number.isFinite(table.low[cell])) {
    lines.push(`95 % interval ${shown(table.low[cell], format, 1)} to ${shown(table.high[cell], format, 1)}`);
    lines.push(`n = ${table.n[cell]} pairs; q = ${shownQ(table.q[cell])}`);
  } else lines.push("one pair: no interval");
  lines.push(grid.donor === "paired" ? "the pair’s other side" : roleWords(grid.donor));
  return lines.join("<br>");
}

// Largest absolute value that any panel shows; cells that are zero by construction are not shown.
function limitOf(panels, words) {
  let largest = words.smallest_limit;
  for (const { grid, table } of panels) {
    const structural = new Set(grid.structural);
    table.mean.forEach((value, cell) => {
      if (Number.isFinite(value) && !structural.has(cell)) largest = Math.max(largest, Math.abs(value));
    });
  }
  return largest || 1;
}

// How many panels stand in a row, and the size of a cell.
function arrange(panels, width, bar) {
  const columns = Math.max(...panels.map((panel) => panel.grid.columns.length));
  const layers = Math.max(...panels.map((panel) => panel.grid.layers.length));
  const fitting = (across) => ((width - bar - 4) / across - LEFT - GAP) / columns;
  let across = Math.min(panels.length, 6);
  while (across > 1 && fitting(across) < Math.min(SMALLEST_CELL, LARGEST_CELL)) across--;
  // Rows of equal length look better than a full one and a rest.
  across = Math.ceil(panels.length / Math.ceil(panels.length / across));
  const cell = Math.min(LARGEST_CELL, Math.max(3, fitting(across)));
  const height = layers <= 10 ? 30 : Math.max(9, Math.min(24, 460 / layers));
  return { across, cell: columns === 1 ? Math.max(cell, 40) : cell, height };
}

function mapFigure(panels, words, metric, width, barred = true) {
  if (!panels.length) return nothing(width);
  const narrow = width < NARROW;
  const bar = narrow || !barred ? 8 : BAR;
  const { across, cell, height } = arrange(panels, width, bar);
  const down = Math.ceil(panels.length / across);
  const rows = Math.max(...panels.map((panel) => panel.grid.layers.length));
  const titles = 44;
  const upright = panels.some(({ grid }) => crowded(columnNames(grid), cell));
  const below = upright ? 34 + 6.5 * Math.min(12, Math.max(...panels.map(({ grid }) => longest(columnNames(grid))))) : 42;
  const outer = titles + rows * height + below;
  const total = down * outer + (narrow && barred ? 66 : 2);
  const layout = baseLayout(width, total);
  const limit = limitOf(panels, words);
  const traces = [];
  const numbered = cell >= 30 && height >= 15;
  panels.forEach((panel, at) => {
    const { grid, table } = panel;
    const suffix = at ? String(at + 1) : "";
    const columns = grid.columns.length;
    const left = LEFT + (at % across) * (((width - bar) / across) | 0);
    const top = Math.floor(at / across) * outer + titles;
    const right = left + columns * cell;
    const bottom = top + grid.layers.length * height;
    const names = columnNames(grid);
    layout[`xaxis${suffix}`] = axis({
      domain: [left / width, Math.min(1, right / width)],
      anchor: `y${suffix}`,
      range: [-0.5, columns - 0.5],
      tickvals: names.map((_, index) => index),
      ticktext: names.map((name) => plain(name, 14)),
      tickangle: upright ? -90 : 0,
      tickfont: { size: 11 },
      ticks: "",
      showline: false,
      title: { text: columns === 1 ? "" : isChain(grid) ? "Step" : "Position", standoff: upright ? 2 : 6, font: { size: 12 } },
    });
    const every = Math.ceil(15 / height);
    layout[`yaxis${suffix}`] = axis({
      domain: [1 - bottom / total, 1 - top / total],
      anchor: `x${suffix}`,
      range: [-0.5, grid.layers.length - 0.5],
      tickvals: grid.layers.map((_, index) => index).filter((index) => index % every === 0),
      ticktext: grid.layers.filter((_, index) => index % every === 0).map(String),
      ticks: "",
      showline: false,
      title: at % across === 0 ? { text: grid.experiment === "window" ? "First layer" : "Layer", standoff: 4, font: { size: 12 } } : { text: "" },
    });
    const [title, note] = panel.title;
    layout.annotations.push(
      heading(`<b>${title}</b>${note ? `<br><span style="font-size:11px;color:${THEME.muted}">${note}</span>` : ""}`, left / width, 1 - (top - 6) / total),
    );
    traces.push(...mapTraces(panel, words, metric, suffix, numbered, cell));
    hatch(layout, grid, suffix);
  });
  layout.coloraxis = {
    colorscale: scaleOf(words.signed ? THEME.diverging : THEME.sequential),
    cmin: words.signed ? -limit : 0,
    cmax: limit,
    colorbar: {
      title: { text: narrow ? words.axis : colourTitle(words), side: narrow ? "top" : "right", font: { size: 12 } },
      thickness: 12,
      outlinewidth: 0,
      tickfont: { size: 11 },
      nticks: 5,
      ...(narrow
        ? { orientation: "h", x: 0.5, xanchor: "center", y: 0, yanchor: "bottom", len: 0.8, xpad: 0, ypad: 4 }
        : {
            x: 1 - (BAR - 12) / width,
            xanchor: "left",
            xpad: 0,
            y: 1 - (titles - 4) / total,
            yanchor: "top",
            lenmode: "pixels",
            len: Math.max(90, Math.min(320, rows * height + 8)),
            ypad: 4,
          }),
    },
  };
  return { traces, layout };
}

function colourTitle(words) {
  return words.axis.length > 26 ? words.axis.replace(/ \(/, "<br>(") : words.axis;
}

// Whether neighbouring names would touch if they stood level.
function crowded(names, cell) {
  const widths = names.map((name) => 6.3 * Math.min(name.length, 14));
  return widths.some((width, at) => (at ? (width + widths[at - 1]) / 2 > cell - 5 : width > cell + 30));
}

function longest(names) {
  return Math.max(...names.map((name) => Math.min(name.length, 14)));
}

function mapTraces({ grid, table }, words, metric, suffix, numbered, cell) {
  const columns = grid.columns.length;
  const structural = new Set(grid.structural);
  const shape = (value) => grid.layers.map((_, layer) => grid.columns.map((_, column) => value(layer * columns + column)));
  const axes = { xaxis: `x${suffix}`, yaxis: `y${suffix}`, xgap: 1.5, ygap: 1.5, hoverinfo: "text" };
  const text = (at) => {
    if (structural.has(at)) return "";
    const value = shown(table.mean[at], words.format);
    const sure = words.signed && (table.low[at] > 0 || table.high[at] < 0);
    return sure ? `<b>${value}</b>` : value;
  };
  const hover = shape((at) => hoverOf(grid, table, at, metric, words));
  const font = { family: FONT, size: cell < 40 ? 10 : 11.5 };
  const traces = [
    {
      type: "heatmap",
      z: shape((at) => (structural.has(at) || !Number.isFinite(table.mean[at]) ? null : table.mean[at])),
      text: shape(text),
      texttemplate: numbered ? "%{text}" : "",
      textfont: font,
      hovertext: hover,
      coloraxis: "coloraxis",
      hoverongaps: false,
      ...axes,
    },
  ];
  const apart = (at) => structural.has(at) || !Number.isFinite(table.mean[at]);
  if ([...table.mean.keys()].some(apart)) {
    traces.push({
      type: "heatmap",
      z: shape((at) => (apart(at) ? Number(structural.has(at)) : null)),
      zmin: 0,
      zmax: 1,
      colorscale: [[0, "#ffffff"], [1, THEME.structural]],
      showscale: false,
      text: shape((at) => (apart(at) && !structural.has(at) ? "–" : "")),
      texttemplate: numbered ? "%{text}" : "",
      textfont: { ...font, color: THEME.muted },
      hovertext: hover,
      hoverongaps: false,
      ...axes,
    });
  }
  return traces;
}

// Slanted lines on the cells that are zero by construction, as in the printed figures.
function hatch(layout, grid, suffix) {
  const columns = grid.columns.length;
  const lines = [];
  for (const cell of grid.structural) {
    const x = (cell % columns) - 0.47;
    const y = Math.floor(cell / columns) - 0.45;
    const [w, h] = [0.94, 0.9];
    for (const from of [-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]) {
      const [left, right] = [Math.max(0, from), Math.min(1, 1 + from)];
      lines.push(`M${x + w * left},${y + h * (left - from)}L${x + w * right},${y + h * (right - from)}`);
    }
  }
  if (lines.length) {
    layout.shapes.push({
      type: "path",
      path: lines.join(""),
      xref: `x${suffix}`,
      yref: `y${suffix}`,
      line: { color: THEME.hatch, width: 0.8 },
      layer: "above",
    });
  }
}

// Which answer greedy decoding gives after each write into one pair: clean, corrupted, another.
const ANSWERS = [
  ["another answer", "·", "#f3e9c6"],
  ["the corrupted answer", "✗", "#e6a06a"],
  ["the clean answer", "✓", "#8fc1e3"],
];

function answerFigure(study, grid, at, width) {
  const row = grid.pairs.findIndex((index) => study.at.get(index) === at);
  const cells = cellsIn(grid);
  const outcome = valuesOf(grid, "outcome");
  const given = new Float64Array(cells).map((_, cell) => 2 - outcome[row * cells + cell]); // in the order of ANSWERS
  const none = new Float64Array(cells).fill(NaN);
  const panel = { title: ["Greedy answer after the write"], grid, table: { mean: given, low: none, high: none, n: none, q: none } };
  const words = { label: "gives", axis: "", unit: "", signed: false, format: ".0f", smallest_limit: 2 };
  const figure = mapFigure([panel], words, "answers", width, false);
  const columns = grid.columns.length;
  const shape = (value) => grid.layers.map((_, layer) => grid.columns.map((_, column) => value(layer * columns + column)));
  const [trace] = figure.traces;
  trace.text = shape((cell) => ANSWERS[given[cell]]?.[1] ?? "");
  trace.hovertext = shape((cell) => {
    const column = grid.columns[cell % columns];
    const place = capital(placeWords(grid, grid.layers[Math.floor(cell / columns)], column));
    return `<b>${plain(place)}</b><br>${ANSWERS[given[cell]] ? `gives ${ANSWERS[given[cell]][0]}` : "not run"}`;
  });
  trace.textfont = { ...trace.textfont, color: THEME.ink };
  delete trace.coloraxis;
  Object.assign(trace, { zmin: 0, zmax: 2, showscale: false, colorscale: steps(ANSWERS.map((answer) => answer[2])) });
  delete figure.layout.coloraxis;
  return figure;
}

function steps(colours) {
  return colours.flatMap((colour, at) => [[at / colours.length, colour], [(at + 1) / colours.length, colour]]);
}
