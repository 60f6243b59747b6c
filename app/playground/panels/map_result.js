/** The map itself: a picture of the vectors, the neighbours of a point, and the same as a table. */

import { choice } from "../lib/choice.js";
import { compute } from "../lib/compute.js";
import { element } from "../lib/dom.js";
import { keptShare, nearestRows } from "../lib/neighbours.js";
import { scatter } from "../lib/scatter.js";
import { status, UserError } from "../lib/status.js";
import { symbolIcon } from "../lib/symbols.js";

const N_NEIGHBOURS = 5;
const MOST_FOR_TSNE = 500;
const HONEST = "Cosines are those of the whole vectors: what lies close together in the picture may be far apart in a "
  + "dimension that it does not show, and the other way round.";
const COLUMNS = ["Point", "Group", "x", "y", "Nearest", "Cosine"];
const VIEWS = [["pca", "PCA"], ["tsne", "t-SNE"]];

/** `show(points, rows)`: points of scatter.js, rows of vectors.js at unit length. `hide()` when they are outdated. */
export function mapResult() {
  let [points, rows, neighbours, chosen] = [[], null, [], 0];
  /** Coordinates by projection: each is computed once. */
  let projections = new Map();

  const projecting = status();
  const said = element("p", { role: "status" });
  const view = choice("Projection", VIEWS, () => draw());
  const plane = scatter({ label: "Map of the embeddings", onChoose: choose });
  const legend = element("ul", { class: "groups", "aria-label": "Groups" });
  const heading = element("h3");
  const nearest = element("ol", { class: "nearest" });
  const table = element("table");
  const node = element("div", { class: "stack", hidden: true },
    element("div", { class: "card" }, element("div", { class: "bar" }, view.node, legend), said, projecting.node, plane.node),
    element("div", { class: "card" }, heading, nearest,
      element("p", { class: "hint" }, HONEST)),
    element("details", { class: "card" }, element("summary", {}, "As a table"),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Points of the map" }, table)));

  /** What there is nothing of when a projection fails. */
  const drawn = [said, plane.node, ...[...node.children].slice(1)];
  let turn = 0;

  async function show(newPoints, newRows) {
    const names = [...new Set(newPoints.map(({ groupName }) => groupName))];
    points = newPoints.map((point) => ({ ...point, group: names.indexOf(point.groupName) }));
    [rows, neighbours, chosen, projections] = [newRows, nearestRows(newRows, N_NEIGHBOURS), 0, new Map()];
    legend.replaceChildren(...names.filter(Boolean).map((name) => element("li", {}, symbolIcon(names.indexOf(name)), name)));
    await draw();
  }

  async function draw() {
    turn += 1;
    const mine = turn;
    const found = await projecting.run(view.value === "pca" ? "" : "Computing t-SNE ...", project);
    if (mine !== turn) return;
    node.hidden = false;
    for (const part of drawn) part.hidden = !found;
    if (!found) return;
    plane.show(points, found.coordinates);
    said.textContent = `${meaning(found)} Of each point's ${neighbours[0].length} nearest neighbours, `
      + `${percent(keptShare(neighbours, found.coordinates))} are the nearest here too.`;
    fillTable(found.coordinates);
    choose(chosen);
  }

  function hide() {
    turn += 1;
    projecting.abort();
    node.hidden = true;
  }

  async function project(signal) {
    if (view.value === "tsne" && rows.n > MOST_FOR_TSNE) {
      throw new UserError(`t-SNE compares all with all: it is drawn for up to ${MOST_FOR_TSNE} points, these are ${rows.n}.`);
    }
    const onProgress = (share) => projecting.say(`Computing t-SNE: ${percent(share)} ...`);
    const name = view.value;
    if (!projections.has(name)) projections.set(name, await compute(name, { rows, k: 2 }, { signal, onProgress }));
    return projections.get(name);
  }

  function choose(index) {
    chosen = index;
    const near = neighbours[index];
    plane.choose(index, near.map(({ row }) => row));
    heading.replaceChildren("Nearest to ", element("q", {}, points[index].label));
    nearest.replaceChildren(...near.map(({ row, cosine }) => element("li", {},
      points[row].url ? element("img", { src: points[row].url, alt: "" }) : null,
      element("span", { class: "number" }, cosine.toFixed(3)), symbolIcon(points[row].group),
      element("span", {}, points[row].label),
      points[row].groupName ? element("small", { class: "hint" }, points[row].groupName) : null)));
  }

  function fillTable(coordinates) {
    table.replaceChildren(
      element("thead", {}, element("tr", {}, ...COLUMNS.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...points.map((point, row) => {
        const [best] = neighbours[row];
        return element("tr", {}, element("th", { scope: "row" }, point.label), element("td", {}, point.groupName),
          ...[0, 1].map((axis) => element("td", { class: "number" }, coordinates[2 * row + axis].toFixed(3))),
          element("td", {}, points[best.row].label), element("td", { class: "number" }, best.cosine.toFixed(3)));
      })));
  }
  return { node, show, hide };
}

const meaning = ({ shares }) => (shares
  ? `The two axes hold ${percent(shares[0] + shares[1])} of the variance (${percent(shares[0])} and ${percent(shares[1])}).`
  : "Neighbours are kept together; axes and long distances mean nothing.");

const percent = (share) => `${(100 * share).toFixed(0)} %`;
