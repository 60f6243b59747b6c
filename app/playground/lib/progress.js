/** A bar for work that goes on in many small requests, and a button that stops it. */

import { element } from "./dom.js";

/** Hidden until `show(done, all)` has more than `from` to count; `onStop` is called by the button. */
export function progressBar(label, onStop, { from = 0 } = {}) {
  const bar = element("progress", { "aria-label": label, value: 0, max: 1 });
  const node = element("div", { class: "progress", hidden: true },
    bar, element("button", { type: "button", on: { click: () => {
      onStop();
      hide();
    } } }, "Stop"));
  const hide = () => { node.hidden = true; };

  function show(done, all) {
    bar.max = all;
    bar.value = done;
    node.hidden = all <= from;
  }
  return { node, show, hide };
}
