"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const FILL = { input: "#d9ead3", shared: "#cfe2f3", constant: "#eeeeee", output: "#fff2cc" };

// ---- numbers as text -------------------------------------------------------------------

function scaled(value, step, units, digits = 4) {
  let k = 0;
  while (Math.abs(value) >= step && k < units.length - 1) { value /= step; k++; }
  return `${Number(value.toPrecision(digits))} ${units[k]}`;
}
const FORMAT = {
  time: (s) => s === 0 ? "0" : scaled(s * 1e9, 1000, ["ns", "us", "ms", "s"]),
  bytes: (n) => scaled(n, 1024, ["B", "KiB", "MiB", "GiB"]),
  rate: (n) => n === 0 ? "-" : scaled(n, 1000, ["B/s", "kB/s", "MB/s", "GB/s"], 3),
  flops: (n) => n === 0 ? "-" : scaled(n, 1000, ["FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s"], 3),
  share: (x) => `${(100 * x).toFixed(1)} %`,
  int: (n) => String(n),
  text: (s) => String(s),
  source: (s) => s.slice(Math.max(s.lastIndexOf("/"), s.lastIndexOf("\\")) + 1),
};
const isText = (column) => column.kind === "text" || column.kind === "source";
const collator = new Intl.Collator();
function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join("\n");
  if (value !== null && typeof value === "object") {
    const [kind, inner] = Object.entries(value)[0];
    return FORMAT[kind](inner);
  }
  return String(value);
}
function heat(weight) {
  const w = Math.sqrt(Math.max(0, Math.min(1, weight)));
  return `hsl(${55 - 45 * w} ${40 + 55 * w}% ${97 - 37 * w}%)`;
}
function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(element);
  return element;
}
function html(name, text, parent, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  if (parent) parent.appendChild(element);
  return element;
}

// ---- the picture -----------------------------------------------------------------------

const hint = html("p", data.tables.length
  ? "Click an Apply to see its types, shapes, rates and source line."
  : "Click an Apply to see its types and source line.", undefined, "hint");
let graph = null;          // the one that is shown
let drawn = [];            // its nodes' elements
let lines = [];            // its edges' elements
let bars = new Map();      // position -> bar
let picked = -1;
let view = { x: 0, y: 0, scale: 1 };

function place() {
  $("scene").setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  // From afar names cannot be read, and lines as thin as the scale makes them not be seen.
  $("scene").classList.toggle("far", view.scale < 0.2);
}
function zoom(factor, cx, cy) {
  const scale = Math.min(6, Math.max(0.01, view.scale * factor));
  const real = scale / view.scale;
  view.x = cx - (cx - view.x) * real;
  view.y = cy - (cy - view.y) * real;
  view.scale = scale;
  place();
}
const SMALLEST = 0.35;       // below it names cannot be read
const READABLE = 0.7;
function fit() {
  const box = $("picture").getBoundingClientRect();
  const scale = Math.min(box.width / graph.width, box.height / graph.height, 1.4) * 0.97;
  if (scale >= SMALLEST || !graph.nodes.length) { overview(); return; }
  // A graph that would be unreadable as a whole is opened at its hottest Apply, or at its top.
  let hottest = 0;
  graph.nodes.forEach((node, k) => { if (node.weight > graph.nodes[hottest].weight) hottest = k; });
  const { x, y } = graph.nodes[hottest];
  view.scale = READABLE;
  view.x = within(box.width, graph.width, x);
  view.y = within(box.height, graph.height, y);
  place();
}
// Where the picture starts if `at` is to be in the middle, without more margin than there must be.
function within(room, size, at) {
  const whole = size * view.scale;
  if (whole <= room) return (room - whole) / 2;
  return Math.min(8, Math.max(room - whole - 8, room / 2 - at * view.scale));
}
function overview() {
  const box = $("picture").getBoundingClientRect();
  const scale = Math.min(box.width / graph.width, box.height / graph.height, 1.4) * 0.97;
  view = { scale, x: (box.width - graph.width * scale) / 2, y: (box.height - graph.height * scale) / 2 };
  place();
}
function centre(k) {
  const box = $("picture").getBoundingClientRect();
  const node = graph.nodes[k];
  view.scale = Math.max(view.scale, 0.8);
  view.x = box.width / 2 - node.x * view.scale;
  view.y = box.height / 2 - node.y * view.scale;
  place();
}
function curve(points) {
  let [x, y] = points[0];
  let path = `M${x} ${y}`;
  for (const [u, v] of points.slice(1)) {
    const middle = (y + v) / 2;
    path += `C${x} ${middle} ${u} ${middle} ${u} ${v}`;
    x = u; y = v;
  }
  return path;
}
function draw(which) {
  graph = data.graphs[which];
  picked = -1;
  $("details").replaceChildren(hint);
  $("edges").replaceChildren();
  $("nodes").replaceChildren();
  lines = graph.edges.map((edge) => {
    const a = graph.nodes[edge.from], b = graph.nodes[edge.to];
    const points = [[a.x, a.y + a.h / 2], ...edge.via, [b.x, b.y - b.h / 2]];
    const line = make("path", { d: curve(points) }, $("edges"));
    if (!edge.via.length && b.y - a.y > 500) line.classList.add("long");
    return line;
  });
  drawn = graph.nodes.map((node, k) => {
    const group = make("g", { class: `node ${node.kind}`, "data-node": k }, $("nodes"));
    if (node.impl === "py") group.classList.add("py");
    const applied = node.kind === "apply";
    if (applied && node.weight > 0.25) group.classList.add("hot");
    make("rect", {
      x: node.x - node.w / 2, y: node.y - node.h / 2, width: node.w, height: node.h,
      rx: applied ? 4 : node.h / 2, fill: applied ? heat(node.weight) : FILL[node.kind],
    }, group);
    make("text", { x: node.x, y: node.y + 4 }, group).textContent = node.text;
    return group;
  });
  timeline();
  fit();
  search();
}
function pick(k, move) {
  if (picked >= 0) {
    drawn[picked].classList.remove("picked");
    for (const line of lines) line.classList.remove("near");
  }
  for (const bar of bars.values()) bar.classList.remove("picked");
  picked = k;
  const node = graph.nodes[k];
  drawn[k].classList.add("picked");
  graph.edges.forEach((edge, e) => {
    if (edge.from === k || edge.to === k) lines[e].classList.add("near");
  });
  const bar = bars.get(node.position);
  if (bar) { bar.classList.add("picked"); bar.parentNode.appendChild(bar); }
  if (move) centre(k);
  const panel = $("details");
  panel.replaceChildren();
  html("h2", node.label, panel);
  const what = node.kind === "apply"
    ? `Apply ${node.position}` + (node.impl ? `, implementation: ${node.impl}` : "")
    : node.kind;
  html("p", what, panel, "hint");
  const list = html("dl", undefined, panel);
  for (const [name, value] of Object.entries(node.details)) {
    html("dt", name, list);
    html("dd", shown(value), list).style.whiteSpace = "pre-wrap";
  }
  if (!markRow() && data.tables.length) table();
}

// ---- one call --------------------------------------------------------------------------

function timeline() {
  bars = new Map();
  $("bars").replaceChildren();
  const steps = graph.timeline || [];
  $("timeline").hidden = !steps.length;
  if (!steps.length) return;
  const end = Math.max(...steps.map((step) => step[2]));
  $("span").textContent = `the latest, ${FORMAT.time(end)} from the first Apply to the last`;
  $("bars").setAttribute("viewBox", "0 0 1000 46");
  $("bars").setAttribute("preserveAspectRatio", "none");
  $("bars").classList.toggle("many", steps.length > 150);
  const longest = Math.max(...steps.map((step) => step[2] - step[1]), 1e-12);
  for (const [k, from, to] of steps) {
    const bar = make("rect", {
      x: 1000 * from / end, y: 4, width: Math.max(1000 * (to - from) / end, 0.3), height: 38,
      fill: heat((to - from) / longest), "data-node": k, "vector-effect": "non-scaling-stroke",
    }, $("bars"));
    bars.set(k, bar);
  }
}

// ---- tables ----------------------------------------------------------------------------

let current = 0;
const sorting = data.tables.map(() => null);
const elements = new Map(); // row -> its element, once it has been shown
const FEW = 200;           // rows that are shown until somebody asks for all
let all = false;

function table() {
  const { columns, rows } = data.tables[current];
  const words = $("search").value.trim().toLowerCase();
  let chosen = rows;
  if (words) {
    const texts = columns.map((c, k) => isText(c) ? k : -1).filter((k) => k >= 0);
    chosen = rows.filter((row) => texts.some((k) => String(row[k]).toLowerCase().includes(words)));
  }
  const by = sorting[current];
  if (by) {
    const { column, up } = by, sign = up ? 1 : -1;
    chosen = [...chosen].sort((a, b) => {
      const p = a[column], q = b[column];
      return sign * (typeof p === "number" ? p - q : collator.compare(p, q));
    });
  }
  const element = html("table");
  const head = html("tr", undefined, html("thead", undefined, element));
  columns.forEach((c, k) => {
    const cell = html("th", c.name, head, isText(c) ? "text" : "");
    if (by && by.column === k) cell.classList.add(by.up ? "up" : "down");
    cell.addEventListener("click", () => {
      const before = sorting[current];
      const up = before && before.column === k ? !before.up : isText(c);
      sorting[current] = { column: k, up };
      table();
    });
  });
  const body = html("tbody", undefined, element);
  const at = columns.findIndex((c) => c.name === "Apply");
  const of = columns.length;    // a row of an Apply ends with the number of its graph
  const count = chosen.length;
  if (!all && count > FEW) {
    const few = chosen.slice(0, FEW);
    // The row of what has been picked is always there.
    if (at >= 0 && picked >= 0) {
      few.push(...chosen.slice(FEW).filter((row) => row[at] === picked && data.graphs[row[of]] === graph));
    }
    chosen = few;
  }
  for (const row of chosen) {
    const before = elements.get(row);
    if (before) { body.appendChild(before); continue; }
    const line = html("tr", undefined, body, "row");
    elements.set(row, line);
    columns.forEach((c, k) => {
      const cell = html("td", FORMAT[c.kind](row[k]), line, c.kind);
      if (isText(c)) cell.title = row[k];
      if (c.kind === "share") cell.style.setProperty("--part", `${Math.min(100, 100 * row[k])}%`);
    });
    if (at >= 0 && data.graphs.length) {
      line.dataset.position = row[at];
      line.dataset.graph = row[of];
      line.addEventListener("click", () => {
        if (data.graphs[row[of]] !== graph) { $("graphs").value = row[of]; draw(row[of]); }
        show();
        pick(row[at], true);
      });
    }
  }
  $("tables").replaceChildren(element);
  if (chosen.length < count) {
    const more = html("button", `show all ${count} rows`, $("tables"));
    more.id = "more";
    more.addEventListener("click", () => { all = true; table(); });
  }
  markRow();
}
function show() {
  const box = $("drawing").getBoundingClientRect();
  if (box.top < 0 || box.bottom > window.innerHeight) {
    document.querySelector("main").scrollIntoView({ block: "start" });
  }
}
function markRow() {
  for (const row of document.querySelectorAll("tr.picked")) row.classList.remove("picked");
  if (picked < 0 || graph.nodes[picked].kind !== "apply") return true;
  let marked = false;
  for (const row of document.querySelectorAll(`tr[data-position="${picked}"]`)) {
    if (data.graphs[row.dataset.graph] === graph) { row.classList.add("picked"); marked = true; }
  }
  return marked;
}
function tabs() {
  $("tabs").hidden = !data.tables.length;
  data.tables.forEach((t, k) => {
    const button = html("button", `${t.title} (${t.rows.length})`, $("tabs"));
    button.addEventListener("click", () => {
      current = k;
      [...$("tabs").children].forEach((b, i) => b.classList.toggle("on", i === k));
      table();
    });
    if (k === 0) button.classList.add("on");
  });
}

// ---- search and pointer ----------------------------------------------------------------

let hits = [];
function search() {
  const words = $("search").value.trim().toLowerCase();
  hits = [];
  graph.nodes.forEach((node, k) => {
    const text = `${node.label} ${node.details.source || ""}`.toLowerCase();
    const hit = words !== "" && text.includes(words);
    if (hit) hits.push(k);
    drawn[k].classList.toggle("found", hit);
    drawn[k].classList.toggle("faded", words !== "" && !hit);
  });
  $("found").textContent = words ? `${hits.length} found` : "";
  if (data.tables.length) table();
}
let hit = -1;
let waiting = 0;
$("search").addEventListener("input", () => {
  hit = -1;
  all = false;
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
});
$("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  clearTimeout(waiting);
  if (hit < 0) search();
  if (!hits.length) return;
  hit = (hit + 1) % hits.length;
  pick(hits[hit], true);
});

let drag = null;
const picture = $("picture");
picture.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = picture.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
picture.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX - view.x, y: event.clientY - view.y, moved: false };
});
window.addEventListener("pointermove", (event) => {
  if (drag) {
    const x = event.clientX - drag.x, y = event.clientY - drag.y;
    if (Math.abs(x - view.x) + Math.abs(y - view.y) > 3) drag.moved = true;
    if (drag.moved) { view.x = x; view.y = y; picture.classList.add("moving"); place(); }
  }
});
window.addEventListener("pointerup", () => {
  picture.classList.remove("moving");
  setTimeout(() => { drag = null; });
});
function nodeAt(event) {
  const element = event.target.closest && event.target.closest("[data-node]");
  return element ? Number(element.dataset.node) : -1;
}
for (const area of [picture, $("bars")]) {
  area.addEventListener("click", (event) => {
    const k = nodeAt(event);
    if (k >= 0 && !(drag && drag.moved)) pick(k, area !== picture);
  });
  area.addEventListener("mousemove", (event) => {
    const k = nodeAt(event), tip = $("tip");
    tip.hidden = k < 0 || (drag !== null && drag.moved);
    if (tip.hidden) return;
    const node = graph.nodes[k];
    const rows = Object.entries(node.details).map(([name, value]) => `${name}: ${shown(value).replaceAll("\n", "; ")}`);
    tip.textContent = node.details.Op ? rows.join("\n") : [node.label, node.kind, ...rows].join("\n");
    tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - 480)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
  });
  area.addEventListener("mouseleave", () => { $("tip").hidden = true; });
}
$("closer").addEventListener("click", () => { const b = picture.getBoundingClientRect(); zoom(1.4, b.width / 2, b.height / 2); });
$("farther").addEventListener("click", () => { const b = picture.getBoundingClientRect(); zoom(1 / 1.4, b.width / 2, b.height / 2); });
$("fit").addEventListener("click", overview);

// ---- start -----------------------------------------------------------------------------

for (const [name, value] of data.facts) {
  const entry = html("div", undefined, $("facts"));
  html("dt", name, entry);
  html("dd", shown(value), entry);
}
data.graphs.forEach((g, k) => { html("option", g.name, $("graphs")).value = k; });
$("graphs").hidden = data.graphs.length < 2;
$("graphs").addEventListener("change", () => draw(Number($("graphs").value)));
function key(colour, text, dashed) {
  const entry = html("span", undefined, $("legend"));
  const box = html("i", undefined, entry);
  box.style.background = colour;
  if (dashed) box.style.border = "2px dashed #8a2be2";
  entry.append(text);
}
if (data.tables.length) {
  key(heat(0), "least time"); key(heat(1), "most time");
} else {
  document.body.classList.add("picture");
  key(heat(0), "Apply");
}
key("#fff", "runs in Python", true);
for (const kind of ["input", "shared", "constant", "output"]) key(FILL[kind], kind);
tabs();
if (data.graphs.length) draw(0);
document.body.dataset.ready = "yes";
