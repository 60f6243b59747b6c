/** One of the pictures that are compared: its file, the page of it, and its map. */

import { element } from "../lib/dom.js";
import { pagesOf } from "../lib/files.js";
import { pagePicker } from "../lib/page_picker.js";
import { pictureWithMap } from "../lib/picture.js";
import { status } from "../lib/status.js";

/**
 * `onPage(page or null)` is called when another page is to be read, `onPatch(x, y)` with the middle of a patch, as shares
 * of width and height, when it is chosen. `features` are those of the page once somebody has set them.
 */
export function pictureSide(title, { controls, removable, onPage, onPatch }) {
  const reading = status();
  const picker = pagePicker((chosen) => take(chosen));
  const name = element("h3");
  const picture = pictureWithMap({
    label: `${title}: its patches`, withHotspots: false, shared: controls,
    // While patches are being read there are none to choose.
    onPatch: (x, y) => side.features && onPatch((x + 0.5) / side.features.width, (y + 0.5) / side.features.height),
  });
  const remove = element("button", { type: "button", hidden: true, on: { click: clear } }, `Remove the ${title.toLowerCase()}`);
  const node = element("div", { class: "stack tight", hidden: true }, name, picture.node);
  const read = element("div", { class: "stack tight" }, reading.node, picker.node, remove);
  const side = { title, node, reading: read, page: null, features: null, open, show };

  /** Resolves once the file has been read and its first page taken. */
  async function open(file) {
    picker.clear();
    await reading.run("Reading the file ...", async (signal) => {
      for await (const page of pagesOf(file, { signal })) picker.add(page);
    });
  }

  function clear() {
    reading.abort();
    picker.clear();
    take(null);
    // The button that was pressed is gone; the zone for another file stands before it.
    read.previousElementSibling?.querySelector("input").focus();
  }

  function take(page) {
    side.page = page;
    node.hidden = !page;
    remove.hidden = !(page && removable);
    return onPage(page);
  }

  function show(map) {
    if (!side.page) return;
    name.textContent = `${title}: ${side.page.name}`;
    picture.show(side.page, map);
  }
  return side;
}
