/** A chip for each token of a query, and one for all of them. */

import { element, roving } from "./dom.js";

/**
 * `onShow(index or null)` is called when another token is to be shown: the one under the pointer or with the focus, else
 * the one that was clicked last; null is all of them. `show(tokens, scores)` sets them.
 */
export function tokenChips(onShow) {
  const node = element("div", { class: "chips", role: "radiogroup", "aria-label": "Tokens of the query" });
  let pinned = null;
  let shown = null;

  function preview(index) {
    if (index === shown) return;
    shown = index;
    onShow(index);
  }

  function show(tokens, scores) {
    [pinned, shown] = [null, null];
    const chips = [null, ...tokens.keys()].map((index) => element("button", {
      type: "button", role: "radio", "aria-checked": String(index === null),
      on: {
        click: () => pin(index),
        pointerenter: () => preview(index),
        pointerleave: () => preview(pinned),
      },
    }, index === null ? "All tokens" : visible(tokens[index]), index === null ? null : small(scores[index])));
    const pin = (index) => {
      pinned = index;
      chips.forEach((chip, place) => chip.setAttribute("aria-checked", String(place - 1 === (index ?? -1))));
      preview(index);
    };
    const fresh = element("div", { class: "chips" }, ...chips);
    node.replaceChildren(fresh);
    roving(fresh, chips, { onMove: (place) => pin(place === 0 ? null : place - 1) });
  }
  return { node, show };
}

const small = (score) => element("small", { class: "number" }, ` ${score.toFixed(2)}`);
/** White space in a token is visible. */
const visible = (token) => token.replaceAll(/[\s\u2581\u0120]/g, "\u00b7") || "\u00b7";
