/** Points in a plane that can be pointed at, walked through with the arrow keys, and chosen. */

import { element, roving } from "./dom.js";
import { drawn, symbol } from "./symbols.js";

const [WIDTH, HEIGHT, MARGIN] = [900, 600, 42];
const MOST_PICTURES = 60;
/** With more, thumbnails would hide each other. */
const PICTURE = 64;
const FINGER = 12;
/** Around a symbol, which alone would be hard to hit. */

/**
 * `show(points, coordinates)`: points are {label, group, groupName, url}, coordinates two numbers each. `onChoose(index)` is
 * called for the point that was clicked or reached with the keyboard; `choose(index, neighbours)` marks it, with lines
 * to its neighbours.
 */
export function scatter({ label, onChoose }) {
  const lines = drawn("g", { class: "lines" });
  const dots = drawn("g");
  const svg = drawn("svg", { class: "scatter", viewBox: `0 0 ${WIDTH} ${HEIGHT}` }, lines, dots);
  const tip = element("div", { class: "tip", hidden: true });
  const node = element("div", { class: "plane" }, svg, tip);
  let [nodes, places, walk] = [[], [], null];

  function show(points, coordinates) {
    places = placed(coordinates);
    const withPictures = points.length <= MOST_PICTURES;
    nodes = points.map((point, index) => dot(point, index, withPictures && point.url));
    const fresh = drawn("g", { role: "listbox", "aria-label": label }, ...nodes);
    dots.replaceChildren(fresh);
    lines.replaceChildren();
    tip.hidden = true;
    walk = roving(fresh, nodes, { onMove: onChoose });
  }

  function dot(point, index, url) {
    const [x, y] = places[index];
    const picture = url && drawn("image", { href: url, x: -PICTURE / 2, y: -PICTURE / 2, width: PICTURE, height: PICTURE });
    const corner = url ? PICTURE / 2 - 6 : 0;
    const mark = drawn("g", { transform: `translate(${corner} ${-corner})` }, symbol(point.group));
    const node = drawn("g", {
      class: "point", role: "option", "aria-selected": "false", transform: `translate(${x} ${y})`,
      "aria-label": point.groupName ? `${point.label} (${point.groupName})` : point.label,
    }, picture || drawn("circle", { class: "target", r: FINGER }), mark);
    node.addEventListener("click", () => onChoose(index));
    node.addEventListener("pointerenter", () => showTip(point, index));
    node.addEventListener("focus", () => showTip(point, index));
    for (const type of ["pointerleave", "blur"]) node.addEventListener(type, () => { tip.hidden = true; });
    return node;
  }

  function showTip(point, index) {
    const [x, y] = places[index];
    tip.replaceChildren(...(point.url ? [element("img", { src: point.url, alt: "" })] : []), point.label,
      ...(point.groupName ? [element("small", {}, ` ${point.groupName}`)] : []));
    tip.style.left = `${(100 * x) / WIDTH}%`;
    tip.style.top = `${(100 * y) / HEIGHT}%`;
    // It hangs to the side where there is more room.
    tip.style.setProperty("--side", x > WIDTH / 2 ? "-100%" : "0%");
    tip.style.setProperty("--rise", y > HEIGHT / 2 ? "calc(-100% - 14px)" : "14px");
    tip.hidden = false;
  }

  function choose(index, neighbours) {
    nodes.forEach((each, place) => {
      each.setAttribute("aria-selected", String(place === index));
      each.classList.toggle("near", neighbours.includes(place));
    });
    walk.select(index);
    lines.replaceChildren(...neighbours.map((other) => drawn("line", {
      x1: places[index][0], y1: places[index][1], x2: places[other][0], y2: places[other][1],
    })));
  }
  return { node, show, choose };
}

/** Into the frame, with one scale for both axes, so that distances can be compared. */
function placed(coordinates) {
  const columns = [0, 1].map((axis) => [...coordinates].filter((_, at) => at % 2 === axis));
  const middles = columns.map((all) => (Math.max(...all) + Math.min(...all)) / 2);
  const spans = columns.map((all) => Math.max(...all) - Math.min(...all));
  const scale = Math.min((WIDTH - 2 * MARGIN) / (spans[0] || 1e-9), (HEIGHT - 2 * MARGIN) / (spans[1] || 1e-9));
  // Points that are all one lie in the middle.
  const limited = Math.max(...spans) > 0 ? scale : 0;
  return columns[0].map((x, row) => [
    WIDTH / 2 + limited * (x - middles[0]), HEIGHT / 2 - limited * (columns[1][row] - middles[1]),
  ]);
}
