// The distribution over pairs at the chosen cell, for the effect and every other donor: one small box for each pair,
// coloured by the answer that it gives. A click chooses the pair.
const BOX = { height: 58, gap: 30, left: 8 };

// What is drawn along the axis: the share of the gap, unless another metric with values of single pairs was asked for.
function spreadMetric(grid, metric) {
  return !SHARES.includes(metric) && grid.values[metric] ? metric : "effect";
}

function spreadRows(view) {
  const { study, state, cell, grid } = view;
  const metric = spreadMetric(grid, state.metric);
  const field = fieldAt(study, state);
  const place = cellName(grid, cell);
  const found = [];
  for (const other of gridsOf(study, state)) {
    const there = cellNamed(other, place);
    if (there === null || (field !== null && other.donor !== "paired") || !other.values[metric]) continue;
    const groups = field === null ? [[capital(other.donor === "paired" ? donorLabel("paired") : donorLabel(other.donor)), null]] : study.fields[field].groups.map((label, group) => [`${clip(state.split, 24)} = ${clip(label, 24)}`, group]);
    for (const [label, group] of groups) {
      const pairs = chosenPairs(study, state).filter((at) => group === null || study.fields[field].of[at] === group);
      const values = pairs.map((at) => ({ at, value: valueOf(other, metric, at, there), gives: outcomeOf(other, at, there) }));
      const table = tableOf(study, other, state.pairs, field, group);
      found.push({ label, donor: other.donor, table, mean: read(table.metrics[metric].mean)[there], pairs: values.filter(({ value }) => Number.isFinite(value)), missing: values.filter(({ value }) => !Number.isFinite(value)).length });
    }
  }
  return { metric, rows: found };
}

// Limits of the axis: room for none and all of the gap; what lies far outside stands at the edge.
function spreadLimits(rows, metric) {
  const values = rows.flatMap((row) => row.pairs.map(({ value }) => value)).sort(d3.ascending);
  if (!values.length) return [0, 1];
  const [low, high] = [d3.quantileSorted(values, 0.02), d3.quantileSorted(values, 0.98)];
  if (metric === "effect") return [Math.max(-1, Math.min(-0.2, low)), Math.min(2, Math.max(1.2, high))];
  const room = 0.05 * (high - low) || 1;
  return [Math.min(0, low - room), Math.max(0, high + room)];
}

function Distribution({ view, number }) {
  const [place, width] = useWidth();
  const { study, state, grid, cell, pair } = view;
  const { metric, rows } = useMemo(() => spreadRows(view), [state.run, state.hook, state.experiment, state.direction, state.metric, state.pairs, state.split, state.cell]);
  const words = metricWords(metric, state.direction);
  const structural = grid.structural.has(cell);
  const caption = structural
    ? `${capital(placeWords(grid, cell))} cannot move, by construction: there is no distribution to show.`
    : `${capital(words.axis)} of every pair at ${placeWords(grid, cell)}; one box for each pair, coloured by its greedy answer after the write: blue the clean, orange the corrupted, grey another one. The upright bar is the mean, the triangle the chosen pair${rows.some((row) => row.missing) ? "; pairs without a value are left out" : ""}. Values far outside stand at the edge. Click a box, or use the arrow keys.`;
  const data = () => [["row", "donor", "pair", metric, "gives"], ...rows.flatMap((row) => row.pairs.map(({ at, value, gives }) => [row.label, row.donor, study.pairs[at].id, value, gives ?? ""]))];
  return html`<${Figure} number=${number} name=${`pairs-${state.experiment}-${state.cell.replaceAll(":", "-")}`} caption=${caption} methods=${methodsOf(view, metric)} rows=${data}>
    <div ref=${place}>${width && !structural && rows.some((row) => row.pairs.length) ? html`<${Boxes} ...${{ study, state, rows, metric, words, pair, width }} />` : null}</div>
  <//>`;
}

function Boxes({ study, state, rows, metric, words, pair, width }) {
  const limits = spreadLimits(rows, metric);
  const x = d3.scaleLinear(limits, [BOX.left, width - BOX.left]);
  const bins = Math.max(16, Math.min(56, Math.floor(width / 14)));
  const step = (width - 2 * BOX.left) / bins;
  const stacked = useMemo(() => rows.map((row) => stackOf(row, x, step, bins)), [rows, width]);
  const tallest = Math.max(1, ...stacked.flatMap((row) => row.counts));
  const unit = Math.min(10, BOX.height / tallest);
  const height = rows.length * (BOX.height + BOX.gap) + 40;
  // Boxes of other donors are the same whichever pair is chosen: they are made once.
  const boxesOf = (row, base, selected) =>
    row.boxes.map(({ at: place, bin, rank, gives, value }) => {
      const said = `${study.pairs[place].id}: gives ${GIVES[gives] ?? "no known answer"}, ${words.label} ${shown(value, words.format)}`;
      const role = selected === null ? { "aria-hidden": "true" } : { role: "option", id: `box-${place}`, "aria-selected": place === selected, "aria-label": said };
      return html`<rect key=${place} ...${role} data-pair=${place} x=${BOX.left + bin * step + 0.5} y=${base - (rank + 1) * unit} width=${step - 1} height=${Math.max(0.6, unit - (unit > 3 ? 0.7 : 0))} class=${`box ${gives ?? "unknown"}`}><title>${said}</title></rect>`;
    });
  const baseOf = (at) => (at + 1) * (BOX.height + BOX.gap);
  const others = useMemo(() => stacked.map((row, at) => (at ? boxesOf(row, baseOf(at), null) : null)), [stacked]);
  const choose = (event) => {
    const box = event.target.closest("[data-pair]");
    if (box) go({ pair: study.pairs[Number(box.dataset.pair)].id });
  };
  const ordered = rows[0] ? [...rows[0].pairs].sort((a, b) => a.value - b.value).map(({ at }) => at) : [];
  const move = (event) => {
    const next = stepped(event, ordered, ordered.indexOf(pair));
    if (next !== undefined) go({ pair: study.pairs[next].id }, true);
  };
  const active = ordered.includes(pair) ? `box-${pair}` : null;
  return html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} class="boxes" onClick=${choose}>
    <g aria-hidden="true">${x.ticks(Math.max(3, Math.floor(width / 90))).map((tick) => html`<g key=${tick}><line x1=${x(tick)} x2=${x(tick)} y1=${BOX.gap - 4} y2=${height - 36} class=${metric === "effect" && (tick === 0 || tick === 1) ? "zero" : "rule"} />
      <text x=${x(tick)} y=${height - 22} text-anchor="middle" class="muted">${x.tickFormat(5)(tick).replace("-", "−")}</text></g>`)}
      <text x=${width - BOX.left} y=${height - 6} text-anchor="end" class="muted">${words.axis} →</text></g>
    ${stacked.map((row, at) => {
      const base = baseOf(at);
      const first = at === 0;
      const boxes = first ? boxesOf(row, base, pair) : others[at];
      const chosen = row.boxes.find(({ at: place }) => place === pair);
      const share = row.pairs.length ? row.pairs.filter(({ gives }) => gives === (state.direction === "noise" ? "corrupted" : "clean")).length : 0;
      return html`<g key=${row.label}>
        <text x=${BOX.left} y=${base - BOX.height - 6} class="row-label">${clip(row.label, Math.max(14, Math.floor(width / 9)))}<tspan class="muted"> ${share} of ${row.pairs.length}</tspan></text>
        ${first ? html`<g role="listbox" tabindex="0" aria-label=${`Pairs by ${words.label}`} aria-activedescendant=${active} onKeyDown=${move}>${boxes}</g>` : html`<g aria-hidden="true">${boxes}</g>`}
        ${Number.isFinite(row.mean) ? html`<line x1=${x(clamp(row.mean, limits))} x2=${x(clamp(row.mean, limits))} y1=${base - BOX.height} y2=${base} class="mean" aria-hidden="true" />` : null}
        <line x1=${BOX.left} x2=${width - BOX.left} y1=${base} y2=${base} class="rule" aria-hidden="true" />
        ${chosen ? html`<path d=${`M${BOX.left + (chosen.bin + 0.5) * step},${base + 1}l-5,9h10z`} class="pointer" aria-hidden="true" />` : null}
      </g>`;
    })}
  </svg>`;
}

// Where a key of a list leads from a place in it; undefined for other keys.
function stepped(event, items, at) {
  const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: items.length - 1 }[event.key];
  if (to === undefined) return undefined;
  event.preventDefault();
  return items[clamp(to, [0, items.length - 1])];
}

const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));

function stackOf(row, x, step, bins) {
  const counts = Array(bins).fill(0);
  const order = (gives) => (OUTCOMES.includes(gives) ? OUTCOMES.indexOf(gives) : OUTCOMES.length);
  const boxes = [...row.pairs].sort((a, b) => order(a.gives) - order(b.gives) || a.value - b.value).map((each) => {
    const bin = Math.min(bins - 1, Math.max(0, Math.floor((x(each.value) - BOX.left) / step)));
    return { ...each, bin, rank: counts[bin]++ };
  });
  return { ...row, boxes, counts };
}

// The chosen cell in numbers: each donor's switches, and the effect minus that of each null donor.
function CellNumbers({ view }) {
  const { study, state, grid, cell } = view;
  const place = cellName(grid, cell);
  const own = tableOf(study, grid, state.pairs);
  const rows = gridsOf(study, state).flatMap((other) => {
    const there = cellNamed(other, place);
    if (there === null) return [];
    const metrics = tableOf(study, other, state.pairs).metrics;
    const value = (metric, name = "mean") => read(metrics[metric][name])[there];
    const test = own.beyond[other.donor];
    const over = test?.difference;
    const interval = over ? `${shown(read(over.mean)[cell])} (${shown(read(over.low)[cell])} to ${shown(read(over.high)[cell])})` : "";
    const values = [donorLabel(other.donor), value("switched"), value("neither"), test ? read(test.p)[cell] : "", test ? read(test.q)[cell] : "", value("effect"), over ? read(over.mean)[cell] : "", over ? read(over.q)[cell] : ""];
    return [{ values, cells: () => [capital(values[0]), `${percent(values[1])} of ${value("switched", "n") || 0}`, percent(values[2]), test ? shownQ(values[3]) : "", test ? shownQ(values[4]) : "", shown(values[5]), interval, over ? shownQ(values[7]) : ""] }];
  });
  const heads = ["Donor", "Switched", "Neither", "p (McNemar)", "q", "Mean effect", "Effect − null (95 % interval)", "q of it"];
  return html`<h4>The same cell in numbers</h4><${DataTable} name=${`cell-${place.replaceAll(":", "-")}`} heads=${heads} rows=${rows} />`;
}
