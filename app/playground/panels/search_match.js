/** One of the pages, with the query's maps over it. */

import { sendForJson } from "../lib/api.js";
import { element } from "../lib/dom.js";
import { range, sum } from "../lib/heatmap.js";
import { interpretCall, mapsOf } from "../lib/interpret.js";
import { pictureWithMap } from "../lib/picture.js";
import { status } from "../lib/status.js";
import { tokenChips } from "../lib/token_chips.js";

/**
 * `vectors` is maxsimPages(). `open(page, search)` shows the page, with maps if there is a search: {model, text,
 * query}, where `query` is the query's embedding; `say(text)` tells how well it matches. `close()` hides it.
 *
 * The maps are drawn from the vectors that are here; the server is asked once a query, for its tokens.
 */
export function searchMatch(vectors, { onClose }) {
  const asking = status();
  const picture = pictureWithMap({ label: "Similarity map over the page" });
  const title = element("h2", { tabindex: "-1" });
  const score = element("p", { class: "number" });
  const chips = tokenChips((index) => picture.show(page, index === null ? sum(maps) : maps[index]));
  const node = element("section", { class: "stack match", "aria-label": "The page that was chosen", hidden: true },
    element("div", { class: "card" },
      element("div", { class: "bar title" }, title, element("button", { type: "button", on: { click: onClose } }, "Close")),
      score, asking.node, chips.node),
    picture.node);
  /** A model and a text -> {tokens, first}: the query's row of the first token, behind which the others stand. */
  const named = new Map();
  let page = null;
  let maps = [];
  let turn = 0;

  async function open(newPage, search) {
    turn += 1;
    const mine = turn;
    const another = page !== newPage;
    page = newPage;
    node.hidden = false;
    title.textContent = page.name;
    asking.abort();
    asking.show("");
    if (another) withoutMaps();
    const rows = search && await vectors.maps(search.model, page.id, search.query);
    if (mine !== turn) return;
    if (!rows) return withoutMaps();
    const tokens = await tokensOf(search, rows);
    if (mine !== turn) return;
    if (!tokens) return withoutMaps();
    maps = rows.slice(tokens.first, tokens.first + tokens.names.length);
    chips.node.hidden = false;
    chips.show(tokens.names, maps.map((map) => range(map).high));
    picture.show(page, sum(maps));
  }

  function withoutMaps() {
    chips.node.hidden = true;
    picture.show(page, null);
  }

  async function tokensOf(search, rows) {
    const key = JSON.stringify([search.model, search.text]);
    if (!named.has(key)) {
      const call = interpretCall({ ...page, file: page.image }, search);
      const answer = await asking.run("Asking for the tokens' names ...", (signal) => sendForJson(call, { signal }));
      if (!answer) return null;
      named.set(key, { names: answer.tokens, first: firstRow(rows, mapsOf(answer)) });
    }
    return named.get(key);
  }

  return {
    node,
    open,
    say: (text) => { score.textContent = text; },
    focus: () => {
      title.focus({ preventScroll: true });
      node.scrollIntoView({ block: "nearest" });
    },
    close() {
      turn += 1;
      page = null;
      asking.abort();
      node.hidden = true;
    },
  };
}

/** Models put rows before and behind those of the tokens; these maps of /interpret tell where the tokens' rows begin. */
function firstRow(rows, answered) {
  const difference = (first) => answered.reduce((total, { values }, token) => (
    values.reduce((sumOfAll, value, at) => sumOfAll + Math.abs(value - rows[first + token].values[at]), total)
  ), 0);
  const differences = Array.from({ length: rows.length - answered.length + 1 }, (_, first) => difference(first));
  return differences.indexOf(Math.min(...differences));
}
