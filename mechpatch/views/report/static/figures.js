// What all figures share: fonts, the buttons that save them, text that is safe in them, and drawing at the right size.
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif';
const NARROW = 620; // pixels; under it, panels are stacked and legends stand below
const PRINTED = 680;
const PALETTE = [THEME.blue, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", THEME.ink, THEME.muted];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "circle-open"];
const DASHES = ["dot", "dash", "dashdot", "longdash", "longdashdot"];

let printing = false;
const figures = new Map(); // element -> function that draws it at a width

// Text of a user for a figure, whose library reads some markup: escaped, isolated, cut.
function plain(text, longest = 48) {
  const cut = [...String(text)].slice(0, longest).join("") + ([...String(text)].length > longest ? "…" : "");
  return isolated(cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"));
}

function isolated(text) {
  return `\u2068${text}\u2069`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function scaleOf(samples) {
  return samples.map((colour, at) => [at / (samples.length - 1), colour]);
}

// A colour between samples, for a share in [0, 1].
function colourAt(samples, share) {
  return samples[Math.round(Math.min(1, Math.max(0, share)) * (samples.length - 1))];
}

function baseLayout(width, height) {
  return {
    width,
    height,
    margin: { l: 0, r: 0, t: 0, b: 0 },
    autosize: false,
    font: { family: FONT, size: 12, color: THEME.ink },
    paper_bgcolor: "#ffffff",
    plot_bgcolor: "#ffffff",
    dragmode: false,
    hovermode: "closest",
    hoverlabel: {
      align: "left",
      bgcolor: "#ffffff",
      bordercolor: THEME.muted,
      font: { family: FONT, size: 12, color: THEME.ink },
    },
    annotations: [],
    shapes: [],
  };
}

// A figure of what was not run.
function nothing(width) {
  const layout = { ...baseLayout(width, 60), xaxis: { visible: false }, yaxis: { visible: false } };
  layout.annotations.push(heading("not measured in this direction or experiment", 0, 0.5, { font: { size: 12, color: THEME.muted } }));
  return { traces: [], layout };
}

function axis(extra = {}) {
  return {
    fixedrange: true,
    showgrid: false,
    zeroline: false,
    ticks: "outside",
    ticklen: 4,
    tickcolor: THEME.rule,
    showline: true,
    linecolor: THEME.ink,
    linewidth: 1,
    automargin: false,
    ticklabeloverflow: "allow", // names are cut already, and measuring each takes time
    ...extra,
  };
}

function heading(text, x, y, extra = {}) {
  return {
    text,
    x,
    y,
    xref: "paper",
    yref: "paper",
    xanchor: "left",
    yanchor: "bottom",
    align: "left",
    showarrow: false,
    font: { size: 12 },
    ...extra,
  };
}

function configOf(name) {
  const save = (format) => ({
    name: `save-${format}`,
    title: `Save as ${format.toUpperCase()}`,
    icon: format === "png" ? Plotly.Icons.camera : Plotly.Icons.disk,
    click: (element) => saveFigure(element, format, name),
  });
  return { displaylogo: false, displayModeBar: true, modeBarButtons: [[save("png"), save("svg")]], responsive: false };
}

// The library draws the picture itself, and a link hands it over: nothing is asked of any server.
async function saveFigure(element, format, name) {
  const { width, height } = element.layout;
  const url = await Plotly.toImage(element, { format, width, height, scale: format === "png" ? 3 : 1 });
  saveAs(url, `${name}.${format}`);
}

function saveAs(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

function widthOf(element) {
  const available = Math.floor(element.parentElement.getBoundingClientRect().width);
  return printing ? Math.min(PRINTED, available || PRINTED) : available;
}

// Draw now and whenever the place changes its width. `make(width)` gives {traces, layout}.
function draw(element, name, make) {
  figures.set(element, () => {
    const width = widthOf(element);
    if (width < 50) return; // hidden: drawn when it is shown
    element.dataset.width = String(width);
    const { traces, layout } = make(width);
    element.style.height = `${layout.height}px`;
    Plotly.react(element, traces, layout, configOf(name));
    element.dataset.drawn = "true";
  });
  figures.get(element)();
}

function redraw(force = false) {
  for (const [element, again] of figures) {
    if (!element.isConnected) figures.delete(element);
    else if (force || widthOf(element) !== Number(element.dataset.width)) again();
  }
}

// Elements by hand: text never becomes markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function foreign(text) {
  return make("bdi", { dir: "auto" }, String(text));
}

// A menu with its label; options are [value, label].
function menu(label, options, value, change, extra = {}) {
  const select = make("select", { ...extra, onchange: () => change(select.value) });
  for (const [key, words] of options) {
    const option = make("option", { value: key }, words);
    option.selected = key === value;
    select.append(option);
  }
  return make("label", { class: "menu" }, make("span", {}, label), select);
}
