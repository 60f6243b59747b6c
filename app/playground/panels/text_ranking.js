/** Candidates in two orders, side by side, with lines from one to the other. */

import { element } from "../lib/dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** Highest score first; candidates of one score keep their order: [{text, score, from, to}], places from 0. */
export function ranked(texts, scores) {
  return texts.map((text, from) => ({ text, score: scores[from], from }))
    .sort((one, other) => other.score - one.score || one.from - other.from)
    .map((item, to) => ({ ...item, to }));
}

export function ranking(texts, scores) {
  const after = ranked(texts, scores);
  const before = after.toSorted((one, other) => one.from - other.from);
  const widest = Math.max(...scores, 1e-9);
  const left = before.map((item) => element("li", { dataset: { item: item.from } }, item.text));
  const right = after.map((item) => element("li", { dataset: { item: item.from } },
    element("span", {}, item.text),
    element("span", { class: "score" },
      element("span", { class: "measure", style: { "--share": Math.max(item.score, 0) / Math.max(widest, 1) } }),
      element("span", { class: "number" }, item.score.toFixed(3)),
      change(item))));
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("aria-hidden", "true");
  const node = element("div", { class: "ranking" },
    element("div", {}, element("h3", {}, "Before"), element("ol", {}, left)),
    lines,
    element("div", {}, element("h3", {}, "After"), element("ol", {}, right)));

  const draw = () => lines.replaceChildren(...after.map((item) => line(lines, left[item.from], right[item.to], item)));
  // The texts wrap as the page gets wider or narrower.
  new ResizeObserver(draw).observe(node);
  for (const type of ["pointerover", "pointerleave"]) node.addEventListener(type, (event) => light(node, event));
  return node;
}

/** How many places a candidate has risen or fallen. */
function change({ from, to }) {
  if (from === to) return element("span", { class: "change" }, hidden("="), heard("unchanged"));
  const places = Math.abs(from - to);
  const rose = to < from;
  return element("span", { class: `change ${rose ? "rose" : "fell"}` },
    hidden(`${rose ? "\u25b2" : "\u25bc"} ${places}`),
    heard(`${rose ? "up" : "down"} ${places} from place ${from + 1}`));
}

const hidden = (sign) => element("span", { "aria-hidden": "true" }, sign);
const heard = (text) => element("span", { class: "heard" }, text);

function line(svg, start, end, { from, to }) {
  const box = svg.getBoundingClientRect();
  const middle = (node) => {
    const { top, height } = node.getBoundingClientRect();
    return top + height / 2 - box.top;
  };
  const [y, toY] = [middle(start), middle(end)];
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", `M0 ${y} C${box.width / 2} ${y} ${box.width / 2} ${toY} ${box.width} ${toY}`);
  path.setAttribute("class", to < from ? "rose" : to > from ? "fell" : "stayed");
  path.dataset.item = from;
  return path;
}

/** What belongs to the candidate under the pointer stands out. */
function light(node, event) {
  const item = event.type === "pointerleave" ? null : event.target.closest("[data-item]")?.dataset.item;
  for (const part of node.querySelectorAll("[data-item]")) part.classList.toggle("lit", part.dataset.item === item);
}
