// The chosen pair: its questions, its answers before and after the write, its own map, its views; and the table of all.
const CLAMPED = 400; // characters of a question, until the reader asks for the rest

function Marked({ parts }) {
  const [whole, setWhole] = useState(false);
  if (!parts.length) return html`<p class="question">the question was not stored</p>`;
  const total = parts.reduce((sum, [text]) => sum + text.length, 0);
  let left = whole ? Infinity : CLAMPED;
  const shownParts = [];
  for (const [text, differs] of parts) {
    if (left <= 0) break;
    shownParts.push(differs ? html`<mark>${clip(text, left)}</mark>` : clip(text, left));
    left -= text.length;
  }
  return html`<p class="question"><bdi dir="auto">${shownParts}</bdi>${total > CLAMPED ? html` <button type="button" class="quiet" onClick=${() => setWhole(!whole)}>${whole ? "show less" : `show all ${total.toLocaleString("en")} characters`}</button>` : null}</p>`;
}

function Side({ side, name }) {
  return html`<div class="side"><h4>${name}</h4><${Marked} parts=${side.question} />
    <p>Answer <strong><bdi dir="auto">${side.answer}</bdi></strong>; unpatched, greedy decoding gives <strong>${GIVES[side.greedy]}</strong>, log-probability difference ${shown(side.logprob_diff)} nats.</p>
    ${side.cot ? html`<p class="cot">Chain of thought: <bdi dir="auto">${clip(side.cot, 2000)}</bdi></p>` : null}
    ${side.tokens.length ? html`<details class="tokens"><summary>${side.n_tokens} tokens</summary><p>${side.tokens.map(([text, differs]) => (differs ? html`<mark class="token"><bdi>${text}</bdi></mark>` : html`<span class="token"><bdi>${text}</bdi></span>`))}</p></details>` : null}</div>`;
}

function PairPanel({ view }) {
  const { study, state, grid, cell, pair } = view;
  const about = study.pairs[pair];
  const [clean, corrupted] = about.sides;
  const after = gridsOf(study, state).map((other) => {
    const there = cellNamed(other, cellName(grid, cell));
    const gives = there === null ? undefined : outcomeOf(other, pair, there);
    const said = there === null ? undefined : saidOf(other, pair, there);
    return gives === undefined ? null : html`<li>${other.donor === "paired" ? "Written" : capital(donorLabel(other.donor))}: gives <strong class=${`gives ${gives}`}>${GIVES[gives]}</strong>${said === undefined ? "" : html`, says <q class="said"><bdi dir="auto">${clip(said, 200)}</bdi></q>`}, ${metricWords("effect", state.direction).label} ${shown(valueOf(other, "effect", pair, there))}</li>`;
  });
  return html`<div class="pair" data-pair=${about.id}>
    <h3 id=${`s${study.number}-pair`}>Pair <bdi class="pair-id">${about.id}</bdi>: <bdi dir="auto">${clean.answer}</bdi> against <bdi dir="auto">${corrupted.answer}</bdi></h3>
    <${Typical} view=${view} />
    ${about.correct ? null : html`<p class="bad">Not answered right on both sides by the unpatched model.</p>`}
    <div class="sides"><${Side} side=${clean} name="Clean" /><${Side} side=${corrupted} name="Corrupted" /></div>
    ${about.fields.length ? html`<p class="fields">${about.fields.map(([name, value]) => html`<span><bdi>${name}</bdi>: <bdi dir="auto">${clip(String(value), 200)}</bdi></span>`)}</p>` : null}
    <h4>At ${placeWords(grid, cell)}</h4><ul class="after">${after}</ul>
  </div>`;
}

// Why this pair is shown where nobody chose one, and which other one to see beside it.
function Typical({ view: { study, state } }) {
  const found = study.typical[state.direction] ?? [];
  const here = found.find(({ pair }) => pair === state.pair);
  const links = found.filter(({ pair }) => pair !== state.pair).map(({ pair, why }) => html`<br /><button type="button" class="quiet" data-typical=${pair} onClick=${() => go({ pair })}><bdi>${clip(pair, 40)}</bdi></button>: ${why}.`);
  if (!found.length) return null;
  return html`<p class="lead">${here ? `Shown as ${here.why}. ` : ""}See also${links}</p>`;
}

// Which answer the pair gives after each write, with the share of its gap.
const SIGNS = { clean: "✓", corrupted: "✗", other: "·" };

function PairMap({ view, number }) {
  const { study, state, grid, cell, pair } = view;
  const [place, width] = useWidth();
  const words = metricWords("effect", state.direction);
  const across = columnsAt(grid, cell);
  const heads = across.map((column) => grid.columns[column]);
  const columns = across.length;
  const rows = grid.layers.length;
  const size = Math.max(5, Math.min(52, (width - CELL.left - 2) / columns));
  const high = Math.max(10, Math.min(28, 360 / rows));
  const crowded = columnsCrowd(grid, heads, size);
  const head = crowded ? 8 + 6.4 * Math.min(16, Math.max(...heads.map((column) => columnWords(grid, column).length))) : CELL.header;
  const drawn = [...Array(rows * columns).keys()].map((place) => {
    const index = Math.floor(place / columns) * grid.columns.length + across[place % columns];
    const [x, y] = [CELL.left + (place % columns) * size, head + (rows - 1 - Math.floor(place / columns)) * high];
    const gives = outcomeOf(grid, pair, index);
    const structural = grid.structural.has(index);
    const value = valueOf(grid, "effect", pair, index);
    const told = saidOf(grid, pair, index);
    const said = `${capital(placeWords(grid, index))}: ${structural ? CONSTRUCTED : grid.absent.has(index) ? LEFT_OUT : `gives ${GIVES[gives] ?? "–"}${told === undefined ? "" : `, says “${clip(told, 80)}”`}, ${words.label} ${shown(value)}`}`;
    return html`<g key=${index} onClick=${() => go({ cell: cellName(grid, index) })}><title>${said}</title>
      <rect x=${x + 0.75} y=${y + 0.75} width=${size - 1.5} height=${high - 1.5} fill=${structural ? "url(#hatch-pair)" : ""} class=${structural ? "" : grid.absent.has(index) ? "absent" : `box ${gives ?? "unknown"}`} />
      ${size > 13 && !structural && gives ? html`<text x=${x + size / 2} y=${y + high / 2 + 4} text-anchor="middle" class="sign">${size > 36 && Number.isFinite(value) ? `${SIGNS[gives]} ${shown(value, ".1f")}` : SIGNS[gives]}</text>` : null}
      ${index === cell ? html`<rect x=${x + 1} y=${y + 1} width=${size - 2} height=${high - 2} class="chosen" />` : null}</g>`;
  });
  const whole = { width: CELL.left + columns * size + 2, height: head + rows * high + 4 };
  const data = () => [["pair", "layer", "site", "step", "gives", ...(grid.said ? ["says"] : []), "effect"], ...runOf(grid).map((index) => [state.pair, layerOf(grid, index), columnOf(grid, index).site, columnOf(grid, index).step, outcomeOf(grid, pair, index) ?? "", ...(grid.said ? [saidOf(grid, pair, index) ?? ""] : []), valueOf(grid, "effect", pair, index)])];
  const caption = `The answer of pair ${state.pair} after each write: ✓ the clean, ✗ the corrupted, · another one; beside it its own ${words.label}.${grid.structural.size ? " Hatched: cannot move, by construction." : ""}${grid.left_out ? " Dotted and empty: not run, a screen left it out." : ""} Click a cell to choose it.`;
  return html`<${Figure} number=${number} name=${`pair-${state.pair}-${state.experiment}`} caption=${caption} methods=${methodsOf(view, "effect")} rows=${data}><div ref=${place}>${width ? html`<svg width=${whole.width} height=${whole.height} viewBox=${`0 0 ${whole.width} ${whole.height}`} role="img" aria-label=${`Answers of pair ${state.pair} after each write`}>
      <defs><pattern id="hatch-pair" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" class="hatch-ground" /><line x1="0" x2="0" y1="0" y2="7" class="hatch-line" /></pattern></defs>
      <g class="heads">${heads.map((column, index) => columnHead(grid, column, index, size, head, crowded))}${grid.layers.map((layer, row) => (row % Math.ceil(13 / high) ? null : html`<text x=${CELL.left - 8} y=${head + (rows - 1 - row) * high + high / 2 + 4} text-anchor="end">${layer}</text>`))}</g>${drawn}</svg>` : null}</div><//>`;
}

// Views that CircuitsVis draws: its script is run once, when the first of them is looked at.
let bundled = null;
async function runBundle() {
  document.body.append(Object.assign(document.createElement("script"), { textContent: await unpacked("bundle") }));
}

// The place of one view, under its heading.
function placeOf(view) {
  const section = document.createElement("section");
  const [title, caption, inner] = ["h4", "p", "div"].map((tag) => document.createElement(tag));
  section.className = view.classes.includes("grid") ? "view wide" : "view";
  title.textContent = view.title;
  caption.textContent = view.caption;
  const frame = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", `${view.title}. ${view.caption}`);
  Object.assign(inner, { id: view.id, className: view.classes });
  inner.setAttribute("role", "group");
  inner.setAttribute("aria-label", view.title);
  frame.append(inner);
  section.append(title, caption, frame);
  return section;
}

async function drawViews(views, place) {
  await (bundled ??= runBundle());
  if (!place.isConnected) return;
  place.replaceChildren(...views.map(placeOf));
  for (const view of views) {
    try {
      EMBEDDED[view.id]();
    } catch (error) {
      document.getElementById(view.id).textContent = `This view could not be drawn: ${error}`;
      console.error(error);
    }
  }
}

function Views({ view: { study, state, pair } }) {
  const place = useRef(null);
  const views = study.views[study.pairs[pair].id] ?? [];
  useEffect(() => {
    if (views.length) drawViews(views, place.current);
  }, [study, pair]);
  const others = Object.keys(study.views).filter((id) => id !== state.pair && study.byId.has(id));
  const links = others.map((id) => html`<button type="button" class="quiet" data-inspected=${id} onClick=${() => go({ pair: id })}><bdi>${id}</bdi></button> `);
  if (!views.length) return others.length ? html`<p class="lead">This pair was not looked into; these were: ${links}</p>` : null;
  return html`<h3>Inside the model: pair <bdi>${study.pairs[pair].id}</bdi></h3>${others.length ? html`<p class="lead">Also looked into: ${links}</p>` : null}<div class="views" key=${study.pairs[pair].id} ref=${place}></div>`;
}

const textOf = (pair) => (pair.text ??= `${pair.id} ${pair.sides.map((side) => `${side.question.map(([text]) => text).join("")} ${side.answer}`).join(" ")} ${pair.fields.map(([, value]) => value).join(" ")}`.toLowerCase());

// The value of a field; one that both sides share stands under the name of each side.
const fieldOf = (pair, name) => (pair.fields.find(([found]) => found === name || found === `clean.${name}`) ?? [])[1];

// What a pair can be picked by, beside words and fields: its answer at the chosen cell, and failures.
const FAILURES = {
  unmoved: ["could switch, and does not", ({ pair, gives, direction }) => pair.correct && gives !== undefined && gives !== (direction === "noise" ? "corrupted" : "clean")],
  wrong: ["unpatched model fails", ({ pair }) => !pair.correct],
};

function PairTable({ view }) {
  const { study, state, grid, cell } = view;
  const [words, setWords] = useState("");
  const [gives, setGives] = useState("");
  const [field, setField] = useState("");
  const [group, setGroup] = useState("");
  const choose = (at) => {
    go({ pair: study.pairs[at].id });
    document.getElementById(`s${study.number}-pair`).scrollIntoView();
  };
  const wanted = words.trim().toLowerCase();
  const kept = [...study.pairs.keys()].filter((at) => {
    const pair = study.pairs[at];
    const answer = outcomeOf(grid, at, cell);
    const fits = !gives || (FAILURES[gives] ? FAILURES[gives][1]({ pair, gives: answer, direction: state.direction }) : answer === gives);
    return fits && (!wanted || textOf(pair).includes(wanted)) && (field === "" || group === "" || study.fields[field].of[at] === Number(group));
  });
  const rows = kept.map((at) => {
    const pair = study.pairs[at];
    const [clean, corrupted] = pair.sides;
    const answer = outcomeOf(grid, at, cell);
    const effect = valueOf(grid, "effect", at, cell);
    const fields = study.fields.map(({ name }) => fieldOf(pair, name) ?? "");
    const views = study.views[pair.id]?.length ?? 0;
    const values = [pair.id, clean.answer, corrupted.answer, pair.correct ? "yes" : "no", answer ?? "", Number.isFinite(effect) ? effect : null, valueOf(grid, "answer_logprob_change", at, cell), ...fields, views];
    const cells = () => [html`<button type="button" class="quiet" data-choose=${pair.id} onClick=${() => choose(at)}><bdi>${clip(pair.id, 40)}</bdi></button>`, ...[clean.answer, corrupted.answer].map((text) => html`<bdi dir="auto">${clip(text, 40)}</bdi>`), values[3], html`<span class=${`gives ${answer ?? ""}`}>${GIVES[answer] ?? "–"}</span>`, shown(effect), shown(values[6]), ...fields.map((value) => html`<bdi dir="auto">${clip(String(value), 40)}</bdi>`), views ? String(views) : ""];
    return { key: pair.id, values, cells, chosen: pair.id === state.pair };
  });
  const effect = capital(metricWords("effect", state.direction).label);
  const heads = ["Pair", "Clean", "Corrupted", "Both right", "Gives", effect, "Change of log-prob. difference (nats)", ...study.fields.map(({ name }) => clip(name, 40)), "Views"];
  const pickField = (value) => { setField(value); setGroup(""); };
  return html`<div class="toolbar">
      <label class="menu"><span>Find</span><input type="search" placeholder="id, words, or a value" value=${words} onInput=${(event) => setWords(event.target.value)} /></label>
      <${Menu} label="After the write" name="gives" value=${gives} options=${[["", "any answer"], ...OUTCOMES.map((name) => [name, `gives ${GIVES[name]}`]), ...Object.entries(FAILURES).map(([name, [label]]) => [name, label])]} onChange=${setGives} />
      ${study.fields.length ? html`<${Menu} label="Field" name="field" value=${field} options=${[["", "any"], ...study.fields.map(({ name }, at) => [String(at), clip(name, 40)])]} onChange=${pickField} />` : null}
      ${field !== "" ? html`<${Menu} label=${clip(study.fields[field].name, 40)} name="group" value=${group} options=${[["", "any value"], ...study.fields[field].groups.map((label, value) => [String(value), clip(label, 40)])]} onChange=${setGroup} />` : null}
      <span class="count" aria-live="polite">${kept.length} of ${study.pairs.length} pairs, at ${placeWords(grid, cell)}</span></div>
    <${DataTable} name="pairs" heads=${heads} rows=${rows} />`;
}
