/** Texts: similarity of sentences, what hybrid vectors hold, reranking. */

import { element, roving } from "../lib/dom.js";
import { hybrid } from "./text_hybrid.js";
import { rerank } from "./text_rerank.js";
import { similarity } from "./text_similarity.js";

/** What follows `#text/` in the address -> title, what makes its element. */
const MODES = {
  similarity: ["Similarity", similarity],
  hybrid: ["Hybrid", hybrid],
  rerank: ["Rerank", rerank],
};

export function mount(panel) {
  const names = Object.keys(MODES);
  const tabs = names.map((name) => element("a", {
    role: "tab", id: `tab-text-${name}`, href: `#text/${name}`,
    "aria-controls": `text-${name}`, "aria-selected": "false",
  }, MODES[name][0]));
  const parts = names.map((name) => element("div", {
    role: "tabpanel", id: `text-${name}`, class: "stack", "aria-labelledby": `tab-text-${name}`, hidden: true,
  }, MODES[name][1]()));
  const list = element("div", { class: "modes", role: "tablist", "aria-label": "What to do with texts" }, ...tabs);
  const { select } = roving(list, tabs);
  panel.append(
    element("p", { class: "lead" }, "How alike are two texts to a model? Compare sentences, look inside hybrid vectors, or rerank."),
    list, ...parts);

  // All three stay in the page, so that texts and results are still there on the way back.
  function open() {
    const [place, mode] = location.hash.slice(1).split("/");
    if (place !== "text") return;
    // The panel's own tab leads back to where one was.
    if (!mode && parts.some((part) => !part.hidden)) return;
    const at = Math.max(names.indexOf(mode), 0);
    tabs.forEach((tab, index) => tab.setAttribute("aria-selected", String(index === at)));
    parts.forEach((part, index) => { part.hidden = index !== at; });
    select(at);
  }
  addEventListener("hashchange", open);
  open();
}
