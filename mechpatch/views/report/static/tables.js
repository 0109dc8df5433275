// Tables that sort by any column and save themselves as CSV, as long as they are shown or longer.
const ROWS_SHOWN = 25;

// rows: {key, values, cells: () => what is shown, chosen}; a limit hides the rest until asked for.
function DataTable({ name, heads, rows, limit = ROWS_SHOWN }) {
  const [order, setOrder] = useState(null);
  const [all, setAll] = useState(false);
  useEffect(() => {
    const whole = () => setAll(true); // paper has no button
    addEventListener("beforeprint", whole);
    return () => removeEventListener("beforeprint", whole);
  }, []);
  const sorted = useMemo(() => {
    if (!order || order.column >= heads.length) return rows;
    return [...rows].sort((a, b) => compare(a.values[order.column], b.values[order.column], order.sign));
  }, [rows, order]);
  const sortBy = (column) => {
    // Numbers first fall, texts first rise.
    const first = rows.some((row) => typeof row.values[column] === "number") ? -1 : 1;
    setOrder({ column, sign: order?.column === column ? -order.sign : first });
  };
  const whole = all || rows.length <= limit + 5;
  const sort = (column) => (order?.column === column ? (order.sign > 0 ? "ascending" : "descending") : "none");
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`Table ${name}`}><table data-name=${name}>
      <thead><tr>${heads.map((head, column) => html`<th scope="col" key=${head} aria-sort=${sort(column)}><button type="button" onClick=${() => sortBy(column)}>${head}</button></th>`)}</tr></thead>
      <tbody>${sorted.slice(0, whole ? undefined : limit).map((row, at) => html`<tr key=${row.key ?? at} class=${row.chosen ? "chosen-row" : ""}>${row.cells().map((cell) => html`<td class=${typeof cell === "string" && cell.length > 36 ? "" : "short"}>${cell}</td>`)}</tr>`)}</tbody>
    </table></div>
    <div class="actions">${whole ? null : html`<button type="button" class="quiet" onClick=${() => setAll(true)}>Show all ${rows.length} rows</button>`}
      <button type="button" class="quiet" onClick=${() => saveTable(name, heads, sorted.map((row) => row.values))}>Download CSV</button></div>`;
}

// What is missing stands last whichever way.
function compare(a, b, sign) {
  const [left, right] = [a, b].map((value) => value === null || value === undefined || value === "" || Number.isNaN(value));
  if (left || right) return left - right;
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function csvOf(rows) {
  const field = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    if (typeof value === "number") return String(value);
    // A spreadsheet would run text that begins like a formula.
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;
}

function saveTable(name, heads, rows) {
  const blob = new Blob(["\ufeff", csvOf([heads, ...rows])], { type: "text/csv;charset=utf-8" });
  saveAs(URL.createObjectURL(blob), `mechpatch-${name}.csv`);
}

// A table that is already in the page: its rows are sorted where they stand.
function adopt(table) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = row.cells[column].dataset.value;
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  heads.forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((each) => each.setAttribute("aria-sort", each === head ? (sign > 0 ? "ascending" : "descending") : "none"));
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => compare(value(a, column), value(b, column), sign)));
    });
    head.setAttribute("aria-sort", "none");
    head.replaceChildren(button);
  });
  const save = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Download CSV" });
  save.addEventListener("click", () => saveTable(table.dataset.name, heads.map((head) => head.textContent), [...table.tBodies[0].rows].map((row) => heads.map((_, column) => value(row, column)))));
  table.closest(".table").append(save);
}

// Every cell of the experiments in one direction.
function CellTable({ view }) {
  const { study, state } = view;
  const rows = useMemo(() => cellRows(study, state), [state.run, state.hook, state.direction, state.pairs]);
  const heads = ["Experiment", "Donor", "Layer", "Site", "Step", "Switched", "Neither", "Effect", "Low", "High", "n", "q", "KL (nats)", "Clear", "Note"];
  return html`<${DataTable} name=${`cells-${state.direction}`} heads=${heads} rows=${rows} />`;
}

function cellRows(study, state) {
  const rows = [];
  for (const grid of study.grids) {
    if (grid.direction !== state.direction || grid.hook !== state.hook) continue;
    const table = tableOf(study, grid, state.pairs);
    for (const cell of runOf(grid)) {
      const column = columnOf(grid, cell);
      const site = hasHeads(grid) ? `${column.site}, ${partWord(grid)} ${column.head}` : column.site;
      const number = (metric, name = "mean") => (Number.isFinite(read(table.metrics[metric][name])[cell]) ? read(table.metrics[metric][name])[cell] : null);
      const q = read(table.q)[cell];
      const clear = grid.donor === "paired" ? (read(table.clear.switched)[cell] ? "switch" : read(table.clear.effect)[cell] ? "effect" : "") : "";
      const values = [
        kindWords(grid.experiment).label, donorLabel(grid.donor), layerOf(grid, cell), site, column.step, number("switched"), number("neither"),
        number("effect"), number("effect", "low"), number("effect", "high"), number("effect", "n"), Number.isFinite(q) ? q : null, number("kl_divergence"), clear,
        grid.structural.has(cell) ? "cannot move, by construction" : "",
      ];
      rows.push({ values, key: `${grid.at} ${cell}`, cells: () => values.map((value, at) => cellText(value, at)) });
    }
  }
  const later = (row) => [row.values[14] !== "", row.values[1] !== donorLabel("paired")];
  return rows.sort((a, b) => later(a)[0] - later(b)[0] || later(a)[1] - later(b)[1] || (b.values[5] ?? -1) - (a.values[5] ?? -1) || Math.abs(b.values[7]) - Math.abs(a.values[7]));
}

function cellText(value, column) {
  if (typeof value !== "number") return value ?? "–";
  if ([2, 4, 10].includes(column)) return String(value);
  if (column === 5 || column === 6) return percent(value);
  return column === 11 ? shownQ(value) : shown(value, column < 10 ? ".3f" : ".2f");
}
