/** Numbers over steps, as a line. */

import { element } from "./dom.js";
import { short } from "./units.js";

const SIZE = 1000;
/** Side of the drawing; it is stretched to the room that there is, with strokes that keep their width. */
const INTERVALS = 4;

/**
 * `show(points, {end})` draws [[x, y], ...] in the order of x; the axis goes from 0 to `end`, which is the last x unless
 * more points are to come.
 */
export function lineChart({ label, xName, yName }) {
  const area = shape("path", { class: "area" });
  const line = shape("path", { class: "line" });
  const dot = shape("path", { class: "dot" });
  const marks = Array.from({ length: INTERVALS + 1 }, (_, index) =>
    shape("path", { class: "grid", d: `M0 ${(index / INTERVALS) * SIZE}H${SIZE}` }));
  const svg = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, preserveAspectRatio: "none", role: "img" }, ...marks, area, line, dot);
  const ticks = marks.map(() => element("span"));
  const [last, said] = [element("span"), element("figcaption", { class: "hint number" })];
  const node = element("figure", { class: "chart", hidden: true },
    element("div", { class: "y number", "aria-hidden": "true" }, ...ticks), svg,
    element("div", { class: "x number", "aria-hidden": "true" }, element("span", {}, "0"), element("span", {}, xName), last), said);
  let [points, width, height] = [[], 1, 1];

  function show(list, { end = 0 } = {}) {
    points = list;
    node.hidden = points.length < 2;
    if (node.hidden) return;
    width = Math.max(end, points.at(-1)[0]);
    height = niceAbove(Math.max(...points.map(([, y]) => y)));
    const path = points.map((point) => place(point).join(" ")).join("L");
    line.setAttribute("d", `M${path}`);
    area.setAttribute("d", `M${place(points[0])[0]} ${SIZE}L${path}V${SIZE}Z`);
    ticks.forEach((tick, index) => { tick.textContent = short(height * (1 - index / INTERVALS)); });
    last.textContent = width;
    svg.setAttribute("aria-label", `${label}: ${summary()}`);
    point(points.at(-1));
  }

  const place = ([x, y]) => [((x / width) * SIZE).toFixed(1), ((1 - y / height) * SIZE).toFixed(1)];
  const summary = () => `from ${short(points[0][1])} at ${xName} ${points[0][0]} to ${short(points.at(-1)[1])} at ${xName} ${points.at(-1)[0]}`;

  /** A path without length and with round ends is a dot that the stretching leaves round. */
  function point(one) {
    dot.setAttribute("d", `M${place(one).join(" ")}h0.01`);
    said.textContent = `${xName} ${one[0]}: ${yName} ${short(one[1])}`;
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    point(points.reduce((best, one) => (Math.abs(one[0] - x) < Math.abs(best[0] - x) ? one : best)));
  });
  svg.addEventListener("pointerleave", () => point(points.at(-1)));
  return { node, show };
}

/** The next of 1, 2, 4 or 8 times a power of ten: its quarters are short to write. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 4, 8, 10].map((digit) => digit * power).find((nice) => nice >= value * 0.999);
}

function shape(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
