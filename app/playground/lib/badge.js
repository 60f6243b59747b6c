/** A state in a word, with a sign and a colour of its own. */

import { element } from "./dom.js";

const SIGNS = {
  ready: "●", completed: "✓", loading: "◐", unloading: "◐", running: "◐", pending: "…",
  unloaded: "○", cancelled: "○", interrupted: "‖", failed: "✕", stuck: "✕",
};

export function badge() {
  const sign = element("span", { "aria-hidden": "true" });
  const word = element("span");
  const node = element("span", { class: "state" }, sign, " ", word);
  return { node, show(state) {
    sign.textContent = SIGNS[state] ?? "·";
    word.textContent = state;
    node.dataset.state = state;
  } };
}
