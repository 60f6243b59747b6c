/** A text with an item on each line. */

import { element, field } from "../lib/dom.js";

/** The lines that are not blank, without the white space around them. */
const linesOf = (text) => text.split(/\r\n|\r|\n/).map((line) => line.trim()).filter(Boolean);

/** A text area for lines; `value` may be a list of them. */
export function lineArea(label, value, { hint = "A line each.", rows = 6 } = {}) {
  const area = element("textarea", { rows, spellcheck: "false" });
  area.value = value.join("\n");
  return { area, node: field(label, area, hint), lines: () => linesOf(area.value) };
}
