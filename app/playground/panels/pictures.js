/** One or two pictures: where a patch of one is found again, and the principal components of all patches as colours. */

import { choice } from "../lib/choice.js";
import { element, field } from "../lib/dom.js";
import { exampleFile, fileZone } from "../lib/files.js";
import { mapControls } from "../lib/map_controls.js";
import { modelSelect } from "../lib/models.js";
import { featureCalls, patchFeatures } from "../lib/patch_features.js";
import { componentMaps, cosineMaps } from "../lib/patch_maps.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { products } from "../lib/vectors.js";
import { pictureSide } from "./pictures_side.js";

const SEES_PATCHES = ["image:dense", "image:multi_vector"];
const SIZES = [["", "own size, in whole patches"], ...[224, 448, 896].map((side) => [side, `square of ${side} pixels`])];
const VIEWS = [["cosines", "Cosines with a patch"], ["components", "Principal components"]];
const KEEP = [["0", "all patches"], ["1", "patches with the first component above 0"], ["-1", "patches with it below 0"]];
const EXAMPLES = ["picture.png", "lighthouse.png"];
/** The sail of the first, as shares of width and height. */
const SAIL = { side: 0, x: 0.34, y: 0.5 };
const MIDDLE = { side: 0, x: 0.5, y: 0.5 };

export function mount(panel) {
  /** A place and not a patch, so that it stays when the grid changes. */
  let chosen = MIDDLE;
  /** Features by picture, model and size, so that going back asks nothing. */
  const known = new Map();

  const working = status();
  const drawing = status();
  const curl = snippet();
  const controls = mapControls();
  const said = element("p", { role: "status" });
  const alike = element("p", { class: "number" });
  const model = modelSelect(SEES_PATCHES, { onChange: () => read() });
  const size = select(SIZES, () => read());
  const keep = select(KEEP, () => draw());
  const keeping = field("Compute and colour", keep);
  const view = choice("Colours show", VIEWS, () => draw());
  const sides = ["First picture", "Second picture"].map((title, place) => pictureSide(title, {
    controls, removable: place > 0, onPage: (page) => take(place, page), onPatch: (x, y) => choose({ side: place, x, y }),
  }));

  const form = element("div", { class: "card" },
    fileZone("One or two pictures, or PDFs", open, { multiple: true, takesPaste: () => !sides[0].page }),
    sides[0].reading,
    fileZone("A second one, to compare", ([file]) => sides[1].open(file), { takesPaste: () => Boolean(sides[0].page) }),
    sides[1].reading,
    element("button", { type: "button", on: { click: example } }, "Take the example pictures"),
    field("Model", model), field("Read as", size), working.node, curl.node);
  const result = element("div", { class: "card", hidden: true }, view.node, keeping, controls.node, said, alike, drawing.node);
  panel.append(
    element("p", { class: "lead" },
      "What does a vision model take for the same thing? Click a patch: all others light up, the more the model finds them alike."),
    element("div", { class: "beside" }, form,
      element("div", { class: "stack" }, result, element("div", { class: "columns" }, ...sides.map(({ node }) => node)))));

  async function open([first, second]) {
    await sides[0].open(first);
    if (second) await sides[1].open(second);
  }

  async function example() {
    const files = await working.run("Fetching the examples ...", () => Promise.all(EXAMPLES.map(exampleFile)));
    if (!files) return;
    await open(files);
    choose(SAIL);
  }

  function take(place, page) {
    sides[place].features = null;
    if (place === chosen.side) chosen = MIDDLE;
    return read();
  }

  function choose(place) {
    chosen = place;
    view.set("cosines");
    draw();
  }

  async function read() {
    drawing.abort();
    const how = { model: model.value, imageSize: Number(size.value) || null };
    const wanted = sides.filter(({ page }) => page);
    if (!wanted.length || !how.model) return;
    for (const side of wanted) side.features = null;
    await working.run("Reading the patches ...", async (signal) => {
      curl.show(...(await Promise.all(wanted.map(({ page }) => featureCalls(page, how)))).flat());
      for (const side of wanted) {
        const found = await features(side.page, how);
        signal.throwIfAborted();
        side.features = found;
      }
    });
    await draw();
  }

  /** Once begun it goes on, even if something else is wanted meanwhile: nothing is asked twice. */
  function features(page, how) {
    const key = JSON.stringify([page.url, how]);
    if (!known.has(key)) {
      known.set(key, patchFeatures(page, how));
      known.get(key).catch(() => known.delete(key));
    }
    return known.get(key);
  }

  async function draw() {
    const present = sides.filter((side) => side.features);
    const pictures = present.map((side) => side.features);
    for (const side of sides) if (!side.features) side.show(null);
    result.hidden = !present.length;
    keeping.hidden = view.value !== "components";
    if (!present.length) return;
    alike.textContent = pictures.length === 2 ? `The pictures as wholes (CLS vectors): cosine ${wholes(...pictures)}.` : "";
    const show = (maps) => present.forEach((side, place) => side.show(maps[place]));
    if (view.value === "cosines") {
      drawing.abort();
      show(cosines(present, pictures));
      return;
    }
    const found = await drawing.run("Computing ...", (signal) => componentMaps(pictures, Number(keep.value), { signal }));
    if (!found) return;
    show(found.maps);
    said.textContent = `Red, green and blue are the first three principal components of these patches, `
      + `${pictures.length === 2 ? "computed over both pictures, " : ""}with ${percent(found.shares)} of the variance.`;
  }

  function cosines(present, pictures) {
    const picture = Math.max(present.indexOf(sides[chosen.side]), 0);
    const { width, height } = pictures[picture];
    const [x, y] = [Math.floor(chosen.x * width), Math.floor(chosen.y * height)];
    const maps = cosineMaps(pictures, { picture, x, y });
    said.textContent = sentence(present, maps, picture, { x, y });
    return maps;
  }
}

/** What the marks stand for, in words. */
function sentence(present, maps, picture, { x, y }) {
  const start = `\u25cf ${present[picture].title}, column ${x + 1}, row ${y + 1}`;
  const other = maps[1 - picture];
  if (!other) return `${start}.`;
  const [{ x: column, y: row, value }] = other.marks;
  return `${start}; most like it in the other picture, mark 1: column ${column + 1}, row ${row + 1}, cosine ${value.toFixed(3)}.`;
}

const wholes = (one, other) => products(one.whole, 0, other.whole)[0].toFixed(3);

const percent = (shares) => `${shares.map((share) => (100 * share).toFixed(0)).join(", ").replace(/, (?=\d+$)/, " and ")} %`;

const select = (options, onChange) => element("select", { on: { change: onChange } },
  ...options.map(([value, text]) => element("option", { value }, text)));
