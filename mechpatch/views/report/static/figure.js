// A figure with its number and caption, which saves itself as SVG or PNG, and its numbers as CSV.
const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "font-family", "font-size", "font-weight", "text-anchor", "opacity"];
const NARROWEST = 60;
const SCALE = 3; // pixels of a PNG for each of the page's

// The width of a place; 0 where there is none to draw in.
function useWidth() {
  const place = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const measure = () => {
      const found = Math.floor(place.current.getBoundingClientRect().width);
      setWidth(found < NARROWEST ? 0 : found);
    };
    const observer = new ResizeObserver(measure);
    observer.observe(place.current);
    measure();
    return () => observer.disconnect();
  }, []);
  return [place, width];
}

// A button that copies a text and says so.
function Copy({ text, children }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text());
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<button type="button" class="quiet copy" onClick=${copy} aria-live="polite">${copied ? "copied" : children}</button>`;
}

// The methods of a figure: what was written in its experiment (or its experiments), how its metric was measured, and the rest.
function methodsOf({ study, state }, metric, experiment = state.experiment, compared = false) {
  const { written, measured, rest, compared: how } = study.methods;
  const sentences = [...[experiment].flat().map((name) => written[[state.hook, name, state.direction].join(" ")]), measured[metric] ?? measured.effect, compared ? how : "", rest];
  return { text: sentences.filter(Boolean).join(" "), cite: study.methods.cite };
}

// rows: () => [heads, ...rows], the data of the figure; methods: see methodsOf.
function Figure({ number, name, caption, rows, methods, children }) {
  const place = useRef(null);
  const title = `Figure ${number}.`;
  const words = `${title} ${caption}`;
  const picture = (format) => () => savePicture(place.current, format, words, name);
  return html`<figure class="figure" data-figure=${name} data-number=${number}>
    <div ref=${place}>${children}</div>
    <figcaption><strong>${title}</strong> ${caption}</figcaption>
    <div class="actions" role="group" aria-label=${`Save figure ${number}`}>
      <button type="button" class="quiet" onClick=${picture("svg")}>SVG</button>
      <button type="button" class="quiet" onClick=${picture("png")}>PNG</button>
      <button type="button" class="quiet" onClick=${() => saveTable(name, ...split(rows()))}>CSV</button>
    </div>
    <details class="methods"><summary>Methods and citation of figure ${number}</summary>
      <p>${methods.text}</p><${Copy} text=${() => methods.text}>Copy methods<//>
      <pre tabindex="0" role="region" aria-label=${`BibTeX of figure ${number}`}>${methods.cite}</pre><${Copy} text=${() => methods.cite}>Copy BibTeX<//>
    </details>
  </figure>`;
}

const split = ([heads, ...rows]) => [heads, rows];

// A drawing of Observable Plot, made anew when `by` changes.
function Drawing({ options, by, label }) {
  const place = useRef(null);
  useLayoutEffect(() => {
    const drawn = Plot.plot({ ...options(), ariaLabel: label, style: { fontSize: "12px", background: "none", overflow: "visible" } });
    // Only the whole has a name for a screen reader: those of its parts are none that it may have.
    for (const part of drawn.querySelectorAll("[aria-label], [aria-description]")) ["aria-label", "aria-description"].forEach((name) => part.removeAttribute(name));
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", label); // where there is a legend, the whole is a figure around the drawing
    place.current.replaceChildren(drawn);
  }, by);
  return html`<div ref=${place} class="drawing"></div>`;
}

function saveAs(url, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// All drawings of a figure where they stand, in the colours of paper, with the caption below.
function pictureOf(place, caption) {
  const root = document.documentElement;
  root.style.colorScheme = "light";
  const box = place.getBoundingClientRect();
  const width = Math.ceil(box.width);
  const whole = svgOf("svg", { xmlns: "http://www.w3.org/2000/svg", width, "font-family": getComputedStyle(document.body).fontFamily });
  whole.append(svgOf("rect", { width: "100%", height: "100%", fill: "#fff" }));
  for (const title of place.querySelectorAll("[data-title]")) {
    const at = title.getBoundingClientRect();
    whole.append(svgOf("text", { x: at.left - box.left, y: at.top - box.top + 14, "font-size": 12, "font-weight": 600 }, title.textContent));
  }
  for (const svg of place.querySelectorAll("svg")) {
    const at = svg.getBoundingClientRect();
    const copy = svg.cloneNode(true);
    inlineStyles(svg, copy);
    for (const [key, value] of Object.entries({ x: at.left - box.left, y: at.top - box.top, width: at.width, height: at.height })) copy.setAttribute(key, value);
    whole.append(copy);
  }
  root.style.colorScheme = "";
  const lines = wrapped(caption, Math.max(40, Math.floor(width / 6.2)));
  lines.forEach((line, at) => whole.append(svgOf("text", { x: 0, y: box.height + 18 + 16 * at, "font-size": 12, fill: "#1a1a1a" }, line)));
  const height = Math.ceil(box.height + 26 + 16 * lines.length);
  whole.setAttribute("height", height);
  whole.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { text: new XMLSerializer().serializeToString(whole), width, height };
}

function inlineStyles(element, copy) {
  const style = getComputedStyle(element);
  for (const name of STYLED) if (style.getPropertyValue(name)) copy.setAttribute(name, style.getPropertyValue(name));
  copy.removeAttribute("style");
  copy.removeAttribute("class");
  [...element.children].forEach((child, at) => inlineStyles(child, copy.children[at]));
}

function svgOf(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

function wrapped(text, longest) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1).length + word.length + 1 > longest) lines.push(word);
    else lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines;
}

// The browser draws the picture itself, and a link hands it over: nothing is asked of any server.
async function savePicture(place, format, caption, name) {
  const { text, width, height } = pictureOf(place, caption);
  const vector = new Blob([text], { type: "image/svg+xml" });
  if (format === "svg") return saveAs(URL.createObjectURL(vector), `mechpatch-${name}.svg`);
  const url = URL.createObjectURL(vector);
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: SCALE * width, height: SCALE * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => saveAs(URL.createObjectURL(blob), `mechpatch-${name}.png`), "image/png");
}
