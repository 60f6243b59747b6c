/** A picture with a map over it: opacity, grid, the value under the pointer or the arrow keys, hotspots, PNG. */

import { element } from "./dom.js";
import { colorsOf, drawGrid, drawMap, hotspots } from "./heatmap.js";
import { mapControls } from "./map_controls.js";

const LARGEST_SIDE = 1600;
/** Pixels of the canvas on the page; the PNG has the picture's own size. */

/**
 * `show(page, map)` with {url, width, height, name} and a map of heatmap.js, or null for the picture alone;
 * `onPatch(x, y)` is called when a patch is clicked, or Enter is pressed on it. `shared` are controls that stand elsewhere.
 */
export function pictureWithMap({ label, onPatch = null, withHotspots = true, shared = null }) {
  let page = null;
  let map = null;
  let at = null;

  const image = element("img", { alt: "" });
  const canvas = element("canvas", { tabindex: "0", role: onPatch ? "application" : "img", "aria-label": label });
  const stage = element("div", { class: "stage" }, image, canvas);
  const value = element("output", { class: "number", "aria-live": "polite" });
  const spots = element("ol", { class: "spots", "aria-label": "Highest patches" });
  const save = element("button", { type: "button", on: { click: download } }, "Download PNG");
  const controls = shared ?? mapControls();
  const bar = shared ? element("div", { class: "bar" }) : controls.node;
  bar.append(save);
  controls.node.addEventListener("input", draw);
  const node = element("div", { class: "card", hidden: true }, shared ? null : bar,
    element("div", { class: "picture" }, stage, element("div", { class: "stack" }, value, withHotspots ? spots : null)),
    shared ? bar : null);

  function show(newPage, newMap) {
    if (page?.url !== newPage.url) image.src = newPage.url;
    image.alt = newPage.name;
    if (map && newMap && (map.width !== newMap.width || map.height !== newMap.height)) at = null;
    [page, map] = [newPage, newMap];
    const scale = Math.min(1, LARGEST_SIDE / Math.max(page.width, page.height));
    [image.width, image.height] = [page.width, page.height];
    [canvas.width, canvas.height] = [Math.round(page.width * scale), Math.round(page.height * scale)];
    node.hidden = false;
    for (const part of [bar, value, spots]) part.hidden = !map;
    if (map) {
      controls.showColors(colorsOf(map));
      spots.replaceChildren(...hotspots(map).map((spot, index) => element("li", {}, element("button", {
        type: "button", on: { click: () => look(spot.x, spot.y) },
      "aria-label": `Number ${index + 1}: column ${spot.x + 1}, row ${spot.y + 1}, ${spot.value.toFixed(3)}`,
      }, `${index + 1}: `, element("span", { class: "number" }, spot.value.toFixed(3))))));
    }
    draw();
  }

  function draw() {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!map) return;
    drawMap(context, map, controls.drawing());
    if (controls.grid()) drawGrid(context, map);
    if (withHotspots) hotspots(map).forEach((spot, index) => mark(context, spot, index + 1));
    for (const spot of map.marks ?? []) mark(context, spot, spot.label);
    if (at) frame(context, at);
    value.textContent = at
      ? `Column ${at.x + 1}, row ${at.y + 1}: ${read(map, at.y * map.width + at.x)}`
      : `Point at the picture, or move with the arrow keys, to read values${onPatch ? "; click or press Enter to choose" : ""}.`;
  }

  const read = ({ values, describe }, index) => describe?.(index) ?? values[index].toFixed(4);

  const patch = () => [canvas.width / map.width, canvas.height / map.height];

  /** A ring around the patch, so that what is on it can be read, and its number or sign beside it. */
  function mark(context, { x, y }, sign) {
    const [width, height] = patch();
    const [middleX, middleY] = [(x + 0.5) * width, (y + 0.5) * height];
    const radius = 0.62 * Math.max(width, height);
    for (const [color, line] of [["#14141c", 4], ["#fff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.beginPath();
      context.arc(middleX, middleY, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    const badge = Math.max(9, canvas.width / 80);
    const [badgeX, badgeY] = [middleX + radius, Math.max(middleY - radius, badge)];
    context.fillStyle = "#14141c";
    context.beginPath();
    context.arc(badgeX, badgeY, badge, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = "#fff";
    context.font = `bold ${Math.round(1.3 * badge)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(String(sign), badgeX, badgeY + 1);
  }

  function frame(context, { x, y }) {
    const [width, height] = patch();
    for (const [color, line] of [["#fff", 5], ["#14141c", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.strokeRect(x * width, y * height, width, height);
    }
  }

  function look(x, y) {
    if (!map) return;
    at = { x: Math.min(Math.max(x, 0), map.width - 1), y: Math.min(Math.max(y, 0), map.height - 1) };
    draw();
  }

  function pointAt(event) {
    const box = canvas.getBoundingClientRect();
    look(Math.floor(((event.clientX - box.left) / box.width) * map.width), Math.floor(((event.clientY - box.top) / box.height) * map.height));
  }

  canvas.addEventListener("pointermove", (event) => map && pointAt(event));
  canvas.addEventListener("click", (event) => {
    if (!map) return;
    pointAt(event);
    onPatch?.(at.x, at.y);
  });
  canvas.addEventListener("keydown", (event) => {
    if (!map) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      event.preventDefault();
      at ? look(at.x + step[0], at.y + step[1]) : look(0, 0);
    } else if (event.key === "Enter" && at) onPatch?.(at.x, at.y);
  });

  async function download() {
    const full = new OffscreenCanvas(page.width, page.height);
    const context = full.getContext("2d");
    context.drawImage(image, 0, 0, page.width, page.height);
    drawMap(context, map, controls.drawing());
    if (controls.grid()) drawGrid(context, map);
    const url = URL.createObjectURL(await full.convertToBlob({ type: "image/png" }));
    element("a", { href: url, download: `${page.name.replace(/\W+/g, "-")}-heatmap.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  return { node, show, clear: () => { node.hidden = true; } };
}
