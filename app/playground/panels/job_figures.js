/** How well the model finds what was held out, before and after. */

import { element } from "../lib/dom.js";
import { short } from "../lib/units.js";

const ROWS = [
  ["recall@1", "recall@1", "the right passage comes first"],
  ["ndcg@10", "nDCG@10", "how high it is among the first ten"],
  ["loss", "loss", "lower is better"],
];

export function jobFigures() {
  const body = element("tbody");
  const caption = element("caption");
  const node = element("div", { class: "scroll", hidden: true, tabindex: "0", role: "group", "aria-label": "Figures" },
    element("table", { class: "before-after" }, caption,
      element("thead", {}, element("tr", {}, element("td"), ...["Before", "After"].map((when) =>
        element("th", { scope: "col", class: "number" }, when)))), body));

  function show({ before, after }) {
    const any = before ?? after;
    node.hidden = !any;
    if (!any) return;
    caption.textContent = `On ${any.n_pairs} pairs held out`
      + (any.n_candidates ? `, among ${any.n_candidates} passages` : "");
    body.replaceChildren(...ROWS.filter(([key]) => key in any).map(([key, name, meaning]) => element("tr", {},
      element("th", { scope: "row" }, name, element("small", { class: "hint" }, meaning)),
      cell(before?.[key]), cell(after?.[key], "after"))));
  }
  return { node, show };
}

const cell = (value, kind = null) =>
  element("td", { class: `number ${kind ?? ""}` }, value === undefined ? "..." : value < 10 && value >= 0.001 ? value.toFixed(2) : short(value));
