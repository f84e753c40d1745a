"""The page of a view: markup, style and script. What is shown comes as JSON from `view_html`."""

_STYLE = """
:root { --ink: #23272e; --soft: #6b7280; --line: #e3e6ea; --accent: #2457c5; }
* { box-sizing: border-box; }
html, body { height: 100%; margin: 0; }
body { display: grid; grid-template: auto 1fr / 1fr 270px; background: #fff; color: var(--ink);
  font: 14px/1.4 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { grid-column: 1 / 3; display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center;
  padding: 9px 16px; border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 16px; font-weight: 600; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px; }
button { font: inherit; color: inherit; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; padding: 3px 10px; cursor: pointer; }
button:hover { border-color: var(--accent); }
button[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: #fff; }
#count { color: var(--soft); margin-left: auto; }
main { position: relative; min-width: 0; min-height: 0; }
#plot { position: absolute; inset: 0; }
#legend { position: absolute; left: 14px; top: 12px; display: flex; flex-direction: column;
  gap: 2px; padding: 8px 11px; background: #ffffffe0; border: 1px solid var(--line);
  border-radius: 8px; max-height: calc(100% - 24px); overflow-y: auto; font-size: 13px; }
#legend:empty { display: none; }
#legend span, #list label { display: flex; align-items: center; gap: 7px; }
i { flex: none; width: 12px; height: 12px; border-radius: 3px; border: 1px solid #0002; }
aside { display: flex; flex-direction: column; min-height: 0; border-left: 1px solid var(--line); }
aside section { padding: 10px 14px; border-bottom: 1px solid var(--line); }
aside h2 { margin: 0 0 5px; font-size: 13px; font-weight: 600; }
aside .row { display: flex; gap: 5px; align-items: center; }
aside .row label { flex: 1; color: var(--soft); white-space: nowrap; }
input[type=range] { width: 110px; min-width: 0; accent-color: var(--accent); }
input[type=checkbox] { margin: 0; accent-color: var(--accent); }
output { width: 50px; white-space: nowrap; text-align: right; color: var(--soft); }
#list { overflow-y: auto; padding: 6px 6px 12px; }
#list label { padding: 2px 8px; border-radius: 5px; cursor: pointer; }
#list label:hover { background: #f3f5f8; }
#list .name { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
#list .number, #list .score { color: var(--soft); font-variant-numeric: tabular-nums; }
#list .number { min-width: 20px; text-align: right; }
#errors { grid-column: 1 / 3; padding: 8px 16px; background: #b3261e; color: #fff;
  white-space: pre-wrap; }
#errors:empty { display: none; }
@media (max-width: 600px) { body { grid-template: auto 1fr 35% / 1fr; }
  header, #errors { grid-column: 1; } aside { border: 0; border-top: 1px solid var(--line); } }
"""

_BODY = """
<header><h1></h1><nav aria-label="modes"></nav><span id="count"></span></header>
<main><div id="plot"></div><div id="legend"></div></main>
<aside>
<section>
<div class="row"><label for="top">Cut above</label><input id="top" type="range" min="0" max="1000"
 value="1000"><output></output></div>
<div class="row"><label for="size">Point size</label><input id="size" type="range" min="-10"
 max="10" value="0"><output></output></div>
</section>
<section id="switches"><h2></h2><div class="row"><button id="all">all</button>
<button id="none">none</button><label class="row"><input id="rest" type="checkbox" checked>
<span>the rest</span></label></div></section>
<div id="list"></div>
</aside>
<div id="errors" role="alert"></div>
"""

# Runs first, so that nothing that goes wrong later is missed.
_ERRORS = """
window.addEventListener("error", event => tell(event.message || "a resource failed to load"));
window.addEventListener("unhandledrejection", event => tell(event.reason));
function tell(problem) {
  document.getElementById("errors").textContent += problem + "\\n";
}
"""

_SCRIPT = r"""
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const element = id => document.getElementById(id);

function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  if (Kind === Uint8Array) return bytes;
  const view = new DataView(bytes.buffer), size = Kind.BYTES_PER_ELEMENT;
  const values = new Kind(bytes.length / size);
  for (let i = 0; i < values.length; i++)
    values[i] = size === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
  return values;
}
function add(parent, kind, text) {
  const child = parent.appendChild(document.createElement(kind));
  if (text !== undefined) child.textContent = text;  // never as markup
  return child;
}
const css = (rgb, i = 0) => `rgb(${rgb[i]},${rgb[i + 1]},${rgb[i + 2]})`;
// Plotly reads a few tags in texts; names must not become tags.
const plain = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")
  .replace(/\n/g, "<br>");

// Points, colours, texts.
const places = decode(data.points, Uint16Array), count = places.length / 3;
// Seen from the corner of the scene: far from 0 the 32 bits of the drawing would not do.
const axes = [0, 1, 2].map(axis => Float32Array.from({length: count}, (_, i) =>
  places[3 * i + axis] * data.step[axis]));
const low = [0, 0, 0], high = data.step.map(step => 65535 * step);
const texts = data.hover && data.hover.texts.map(plain);
const textOf = data.hover && decode(data.hover.index, Uint32Array);
for (const instance of data.instances) instance.members = decode(instance.members, Uint32Array);
const light = decode(data.light, Uint8Array), steps = 24;
function colorsOf(mode) {  // decoded when first shown
  if (mode.colors) return mode.colors;
  const rgb = decode(mode.rgb || mode.palette, Uint8Array);
  const row = mode.index && decode(mode.index, Uint8Array), names = new Map();
  const isLit = mode.name !== data.unlit;
  mode.colors = Array.from({length: count}, (_, i) => {
    const first = 3 * (row ? row[i] : i);
    const step = isLit ? Math.round(light[i] / 255 * steps) : steps;
    const key = row ? first * 64 + step : -1;
    if (names.has(key)) return names.get(key);
    const lit = [0, 1, 2].map(axis => Math.round(rgb[first + axis] * step / steps));
    if (row) names.set(key, css(lit));
    return css(lit);
  });
  return mode.colors;
}

// What is shown, as in the address.
let mode = data.modes.find(each => each.name === data.opening), queued = false;
const hidden = new Set();
const isRest = new Uint8Array(count).fill(1);
for (const instance of data.instances) for (const i of instance.members) isRest[i] = 0;

function shownPoints() {
  const isShown = new Uint8Array(count);
  if (element("rest").checked) isShown.set(isRest);
  data.instances.forEach((instance, number) => {
    if (!hidden.has(number)) for (const i of instance.members) isShown[i] = 1;
  });
  const ceiling = low[2] + top();
  const rows = [];
  for (let i = 0; i < count; i++)
    if (isShown[i] && (isUncut() || axes[2][i] <= ceiling)) rows.push(i);
  return rows;
}
const isUncut = () => element("top").value === element("top").max;
const top = () => (high[2] - low[2]) * element("top").value / element("top").max;
const zoom = () => 2 ** (element("size").value / 5);

function trace() {
  const rows = shownPoints(), colors = colorsOf(mode);
  const plot = element("plot").getBoundingClientRect();
  const size = data.spacing / largest * plot.height * sizeOfHeight;
  document.body.dataset.points = rows.length;
  return {
    type: "scatter3d", mode: "markers",
    x: rows.map(i => axes[0][i]), y: rows.map(i => axes[1][i]), z: rows.map(i => axes[2][i]),
    text: texts ? rows.map(i => texts[textOf[i]]) : undefined,
    hoverinfo: texts ? "text" : "none",
    marker: {
      color: rows.map(i => colors[i]), symbol: data.voxels ? "square" : "circle",
      size: Math.min(20, Math.max(0.6, size)) * zoom(), opacity: 1, line: {width: 0},
    },
  };
}
// A little wider than the points: Plotly leaves out what lies on the border.
const range = axis => [low[axis] - data.spacing / 2 - 1e-6, high[axis] + data.spacing / 2 + 1e-6];
const extents = [0, 1, 2].map(axis => range(axis)[1] - range(axis)[0]);
// A flat room fills the width, a tower the height; hiding points moves nothing.
const largest = Math.max(extents[0], extents[1], extents[2] * 1.2) / 1.22;
// What closes the surface: a camera at distance 1.8 sees 1.5 units from top to bottom, and Plotly
// draws a marker of size 1 three pixels wide.
const sizeOfHeight = (data.voxels ? 1.8 : 1.9) / 1.5 / 3;
const bare = axis => ({visible: false, showspikes: false, range: range(axis), autorange: false});
const layout = {
  margin: {l: 0, r: 0, t: 0, b: 0}, uirevision: "kept", showlegend: false,
  hoverlabel: {align: "left", bgcolor: "#ffffff", bordercolor: "#9aa3af",
               font: {color: "#23272e", size: 13}},
  scene: {
    aspectmode: "manual", aspectratio: {
      x: extents[0] / largest, y: extents[1] / largest, z: extents[2] / largest},
    dragmode: "orbit", bgcolor: "#ffffff",
    xaxis: bare(0), yaxis: bare(1), zaxis: bare(2),
    camera: {eye: {x: 0.9, y: -1.15, z: 1.05}, center: {x: 0, y: 0, z: -0.16}},
  },
};
const settings = {displaylogo: false, responsive: true, scrollZoom: true,
                  modeBarButtons: [["resetCameraDefault3d", "toImage"]]};
function draw() {
  queued = false;
  document.body.dataset.state = "drawing";
  return Plotly.react("plot", [trace()], layout, settings).then(() => {
    document.body.dataset.state = "drawn";
    document.body.dataset.mode = mode.name;
  }).catch(tell);
}
function update() {
  for (const button of document.querySelectorAll("nav button"))
    button.setAttribute("aria-pressed", button.textContent === mode.name);
  const legend = element("legend");
  legend.replaceChildren();
  for (const [label, rgb] of mode.legend) {
    const row = add(legend, "span");
    add(row, "i").style.background = css(rgb);
    add(row, "b", label).style.fontWeight = 400;
  }
  element("top").nextSibling.textContent = isUncut() ? "off" : top().toFixed(2) + " m";
  element("size").nextSibling.textContent = "\u00d7" + zoom().toFixed(1);
  const state = new URLSearchParams({mode: mode.name});
  if (hidden.size) state.set("hide", [...hidden].map(i => i + 1).sort((a, b) => a - b).join());
  if (!element("rest").checked) state.set("rest", "0");
  if (!isUncut()) state.set("top", top().toFixed(3));
  if (+element("size").value) state.set("size", element("size").value);
  // A click that follows another at once draws once.
  if (!queued) { queued = true; setTimeout(draw); }
  try { history.replaceState(null, "", "#" + state); } catch { /* some pages have no address */ }
}

// Controls.
for (const each of data.modes) {
  const button = add(document.querySelector("nav"), "button", each.name);
  button.onclick = () => { mode = each; update(); };
}
document.querySelector("h1").textContent = document.title;
const number = value => value.toLocaleString("en");
element("count").textContent = count < data.total
  ? `${number(count)} of ${number(data.total)} points shown` : `${number(count)} points`;
document.querySelector("#switches h2").textContent =
  data.instances.length + (data.instances.length === 1 ? " instance" : " instances");
const boxes = data.instances.map((instance, i) => {
  const row = add(element("list"), "label"), box = add(row, "input");
  box.type = "checkbox";
  box.checked = true;
  box.onchange = () => { box.checked ? hidden.delete(i) : hidden.add(i); update(); };
  add(row, "i").style.background = css(instance.color);
  add(row, "span", i + 1).className = "number";
  add(row, "span", instance.name).className = "name";
  if (instance.score !== null) add(row, "span", instance.score.toFixed(2)).className = "score";
  return box;
});
if (!boxes.length) element("switches").hidden = true;
const setAll = shown => boxes.forEach(box => { if (box.checked !== shown) box.click(); });
element("all").onclick = () => setAll(true);
element("none").onclick = () => setAll(false);
for (const id of ["top", "size"]) element(id).oninput = update;
element("rest").onchange = update;

// The address: what it says is done by clicks.
function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("mode") && wanted.get("mode") !== mode.name) {
    const buttons = [...document.querySelectorAll("nav button")];
    const button = buttons.find(each => each.textContent === wanted.get("mode"));
    if (button) button.click(); else tell(`there is no mode '${wanted.get("mode")}' here`);
  }
  const away = new Set((wanted.get("hide") || "").split(",").filter(Boolean).map(Number));
  boxes.forEach((box, i) => { if (box.checked === away.has(i + 1)) box.click(); });
  if (element("rest").checked === (wanted.get("rest") === "0")) element("rest").click();
  if (wanted.has("top"))
    element("top").value = element("top").max * wanted.get("top") / (high[2] - low[2] || 1);
  if (wanted.has("size")) element("size").value = wanted.get("size");
  update();
}
window.addEventListener("hashchange", follow);
follow();
})();
"""


def encode_page(title: str, data: str, plotly_script: str) -> str:
    """Returns the whole page.

    Args:
        title: of the page, escaped for HTML.
        data: JSON in which no `<` occurs.
        plotly_script: the text of plotly.js.
    """
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>{_BODY}",
            f"<script>{_ERRORS}</script>\n",
            f"<script>{plotly_script}</script>\n",
            f'<script type="application/json" id="data">{data}</script>\n',
            f"<script>{_SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )
