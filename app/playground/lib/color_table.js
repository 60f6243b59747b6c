/** A table of numbers as colours, with the highest of each row marked. */

import { viridisCss } from "./colors.js";
import { element, uniqueId } from "./dom.js";

export const MOST_CELLS = 20_000;
/** A browser takes seconds to lay out larger tables. */

/**
 * `values` are rows of numbers; `rows` and `columns` the texts of their headers, `corner` what these are.
 * `most` adds a column with each row's highest number under that title, `foot` {title, value} a line below it.
 */
export function colorTable({ caption, corner, rows, columns, values, most = null, foot = null, compact = false }) {
  const { low, high } = rangeOf(values);
  const title = element("p", { class: "hint", id: uniqueId("colors") }, caption);
  const cell = (value, best) => {
    const { background, color } = viridisCss(high > low ? (value - low) / (high - low) : 0.5);
    return element("td", { class: best ? "number best" : "number", style: { background, color } },
      best ? element("span", { role: "img", "aria-label": "highest of the row" }, "\u2605") : null, written(value));
  };
  const line = (name, row) => {
    const best = Math.max(...row);
    return element("tr", {}, header("row", name), row.map((value) => cell(value, value === best)),
      most && element("td", { class: "number most" }, written(best)));
  };
  const table = element("table", { class: compact ? "colors compact" : "colors", "aria-labelledby": title.id },
    element("thead", {}, element("tr", {},
      element("td", { class: "hint" }, corner), columns.map((name) => header("col", name)), most && header("col", most))),
    element("tbody", {}, values.map((row, index) => line(rows[index], row))),
    foot && element("tfoot", {}, element("tr", {},
      element("th", { scope: "row", colspan: columns.length + 1 }, foot.title),
      element("td", { class: "number most" }, written(foot.value)))));
  // The title stays in sight while a wide table is scrolled.
  return [title, legend(low, high),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": title.id }, table)];
}

/** With a real minus, and none before a zero. */
const written = (value) => value.toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "\u2212");
const header = (scope, text) => element("th", { scope }, text);

/** The colours from the lowest number to the highest. */
function legend(low, high) {
  return element("p", { class: "legend scale number" },
    element("span", {}, written(low)), element("span"), element("span", {}, written(high)));
}

function rangeOf(values) {
  const all = values.flat();
  return { low: all.reduce((one, other) => Math.min(one, other)), high: all.reduce((one, other) => Math.max(one, other)) };
}
