/** Training pairs: dropped, pasted or typed, and what will be understood of them. */

import { element, field } from "../lib/dom.js";
import { exampleFile, fileZone } from "../lib/files.js";
import { hasNegatives, readPairs } from "../lib/pairs.js";
import { status } from "../lib/status.js";
import { counted } from "../lib/units.js";

const SHOWN = 3;

/** `onExample()` is called when the example pairs have come. */
export function pairsInput({ onExample }) {
  const reading = status();
  const text = element("textarea", {
    class: "code", rows: "6", wrap: "off", spellcheck: "false", placeholder: "query \u21e5 passage that answers it", on: { input: () => taken() },
  });
  const negatives = element("input", { type: "checkbox", on: { change: preview } });
  const count = element("p", { role: "status" });
  const table = element("tbody");
  const ignored = element("ul", { class: "hint ignored" });
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "First pairs", hidden: true },
    element("table", { class: "preview" }, table));
  const node = element("div", { class: "stack tight" },
    fileZone("Pairs: a file with a tab between the columns", ([file]) => read(() => file.text()), { accept: ".tsv,.txt,text/plain,text/tab-separated-values" }),
    field("Or paste them here, a line each", text),
    element("div", { class: "bar" }, element("button", { type: "button", on: { click: example } }, "Take the example pairs")),
    reading.node, count, scroll, ignored,
    element("label", { class: "tick" }, negatives, " A third column: passages that look right and are not"));

  async function read(open) {
    const content = await reading.run("Reading ...", open);
    if (content === undefined) return false;
    text.value = content;
    taken();
    return true;
  }

  async function example() {
    if (await read(async () => (await exampleFile("nicknames.tsv")).text())) onExample();
  }

  function taken() {
    negatives.checked = hasNegatives(text.value);
    preview();
  }

  function preview() {
    const { pairs, ignored: lines } = readPairs(text.value, nParts());
    count.textContent = text.value.trim()
      ? `${counted(pairs.length, negatives.checked ? "triple" : "pair")}${lines.length ? `, ${counted(lines.length, "line")} ignored` : ""}`
      : "";
    scroll.hidden = !pairs.length;
    table.replaceChildren(...pairs.slice(0, SHOWN).map((parts) => element("tr", {}, ...parts.map((part) => element("td", {}, part)))));
    ignored.replaceChildren(...lines.slice(0, SHOWN).map(({ number, nParts: found, empty }) => element("li", {},
      `Line ${number} is ignored: ${found !== nParts() ? `${counted(found, "column")}, not ${nParts()}` : empty ? "a column is empty" : ""}.`)));
  }

  const nParts = () => (negatives.checked ? 3 : 2);
  return {
    node, text: () => text.value, negatives: () => negatives.checked, pairs: () => readPairs(text.value, nParts()).pairs,
  };
}
