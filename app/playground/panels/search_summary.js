/** What a search found, in a sentence, and what its scores mean. */

import { element } from "../lib/dom.js";

const MEANING = "The score is MaxSim: of each row of the query the best match on the page, summed up. "
  + "Bars reach from the lowest score to the highest.";

/** `best(name or null, n)` says which page is the best of n, `compared({n, milliseconds} or null)` how long it took. */
export function searchSummary() {
  const best = element("p", { role: "status", class: "best" });
  const hint = element("p", { class: "hint number" }, MEANING);
  const node = element("div", { class: "summary", hidden: true }, best, hint);
  let n = 0;
  let compared = null;

  /** Pages that came later had their scores as they came. */
  function draw() {
    hint.textContent = compared?.n && compared.n === n
      ? `${MEANING} Comparing ${count(n)} took ${Math.ceil(compared.milliseconds)} ms in this browser.`
      : MEANING;
  }
  return {
    node,
    best(name, all) {
      n = all;
      draw();
      const said = name ? `Best of ${count(all)}: ${name}` : "";
      node.hidden = !name;
      // Written only when it is another, so that a screen reader does not say it again and again.
      if (best.textContent !== said) best.textContent = said;
    },
    compared(what) {
      compared = what;
      draw();
    },
  };
}

const count = (n) => `${n} page${n === 1 ? "" : "s"}`;
