// Tables that sort by any column and save themselves as CSV, as long as they are shown or longer.
const ROWS_SHOWN = 25;

// rows: {values, cells: () => array of nodes or texts}; a limit hides the rest until asked for.
function dataTable(place, name, heads, rows, limit = ROWS_SHOWN) {
  let order = [...rows];
  let all = rows.length <= limit + 5;
  const body = make("tbody");
  const buttons = heads.map((head, column) => {
    const button = make("button", { type: "button", onclick: () => sortBy(column) }, head);
    return make("th", { scope: "col", "aria-sort": "none" }, button);
  });
  const more = make("button", { type: "button", class: "quiet", onclick: () => { all = true; fill(); } }, `Show all ${rows.length} rows`);
  function fill() {
    body.replaceChildren(
      ...order.slice(0, all ? undefined : limit).map((row) => make("tr", {}, ...row.cells().map(cellOf))),
    );
    more.hidden = all;
  }
  function sortBy(column) {
    const rising = buttons[column].getAttribute("aria-sort") !== "descending" && buttons[column].getAttribute("aria-sort") !== "none";
    // Numbers first fall, texts first rise.
    const numeric = rows.some((row) => typeof row.values[column] === "number");
    const current = buttons[column].getAttribute("aria-sort");
    const next = current === "none" ? (numeric ? "descending" : "ascending") : rising ? "descending" : "ascending";
    buttons.forEach((button, at) => button.setAttribute("aria-sort", at === column ? next : "none"));
    order.sort((a, b) => compare(a.values[column], b.values[column], next === "ascending" ? 1 : -1));
    fill();
  }
  fill();
  const save = make("button", { type: "button", class: "quiet", onclick: () => saveTable(name, heads, order) }, "Download CSV");
  place.replaceChildren(
    make("div", { class: "scroll" }, make("table", { "data-name": name }, make("thead", {}, make("tr", {}, ...buttons)), body)),
    make("div", { class: "actions" }, more, save),
  );
}

// Short texts stay on one line; the table scrolls sideways in its place where there is no room.
function cellOf(content) {
  const cell = content instanceof HTMLTableCellElement ? content : make("td", {}, content);
  cell.classList.toggle("short", cell.textContent.length <= 36);
  return cell;
}

// What is missing stands last whichever way.
function compare(a, b, sign) {
  const [left, right] = [a, b].map((value) => value === null || value === undefined || value === "" || Number.isNaN(value));
  if (left || right) return left - right;
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function csvOf(heads, rows) {
  const field = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    if (typeof value === "number") return String(value);
    // A spreadsheet would run text that begins like a formula.
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [heads, ...rows.map((row) => row.values)].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
}

function saveTable(name, heads, rows) {
  const url = URL.createObjectURL(new Blob(["\ufeff", csvOf(heads, rows)], { type: "text/csv;charset=utf-8" }));
  saveAs(url, `mechpatch-${name}.csv`);
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// A table that is already in the page.
function adopt(place) {
  const table = place.querySelector("table");
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = [...table.tBodies[0].rows].map((row) => {
    const cells = [...row.cells];
    const values = cells.map((cell) => {
      const value = cell.dataset.value;
      return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
    });
    return { values, cells: () => cells };
  });
  dataTable(place, table.dataset.name, heads, rows);
}

// Every cell of the experiments in one direction, as the figures show them.
function cellTable(study, state, place) {
  const heads = ["Experiment", "Donor", "Layer", "Site", "Step", "Effect", "Low", "High", "n", "q", "KL (nats)", "Switched", "Note"];
  const rows = [];
  for (const grid of study.grids) {
    if (grid.direction !== state.direction) continue;
    const read = (metric) => (hasMetric(grid, metric, false) ? tableOf(study, grid, metric, state.pairs) : null);
    const [effect, divergence, switched] = ["effect", "kl_divergence", "switched"].map(read);
    const structural = new Set(grid.structural);
    for (let cell = 0; cell < cellsIn(grid); cell++) {
      const [site, step] = grid.columns[cell % grid.columns.length];
      const layer = grid.layers[Math.floor(cell / grid.columns.length)];
      const number = (table, name = "mean") => (table && Number.isFinite(table[name][cell]) ? table[name][cell] : null);
      const values = [
        experimentWords(grid.experiment), donorWords(grid.donor), layer, site, step,
        number(effect), number(effect, "low"), number(effect, "high"), number(effect, "n"), number(effect, "q"),
        number(divergence), number(switched), structural.has(cell) ? "zero by construction" : "",
      ];
      rows.push({
        values,
        cells: () => values.map((value, at) => {
          if (at < 2 || at === 12 || at === 3) return value;
          if (at === 9) return shownQ(value ?? NaN);
          if (at === 2 || at === 4 || at === 8) return value === null ? "–" : String(value);
          return shown(value, at < 8 ? ".3f" : ".2f");
        }),
      });
    }
  }
  rows.sort((a, b) => (a.values[12] !== "") - (b.values[12] !== "") || (a.values[1] !== donorWords("paired")) - (b.values[1] !== donorWords("paired")) || Math.abs(b.values[5]) - Math.abs(a.values[5]));
  dataTable(place, `cells-${state.direction}`, heads, rows);
}
