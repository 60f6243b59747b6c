/** All pages as cards, the best ones first once they have scores. */

import { element } from "../lib/dom.js";

const AT_ONCE = 24;
/** More cards are shown on demand. */

/**
 * `add(page)`, with {id, name, thumbnail}; `rank(scores)` with a Map of ids to scores puts the cards in order;
 * `choose(id)` marks one, `focus(id)` takes the focus there. `onOpen(page)` and `onRemove(page)` are called by a card's buttons.
 */
export function searchResults({ onOpen, onRemove }) {
  const list = element("ol", { class: "results", "aria-label": "Pages, best first" });
  const more = element("button", { type: "button", hidden: true, on: { click: showMore } });
  const node = element("div", { class: "stack" }, list, more);
  /** Ids to cards, in the order in which the pages came. */
  const cards = new Map();
  let shown = AT_ONCE;

  function add(page) {
    const card = resultCard(page, onOpen, onRemove);
    cards.set(page.id, card);
    list.append(card.node);
    limit();
  }

  function rank(scores) {
    const order = [...cards.keys()].sort((one, other) => (scores.get(other) ?? -Infinity) - (scores.get(one) ?? -Infinity) || one - other);
    const [low, high] = [Math.min(...scores.values()), Math.max(...scores.values())];
    order.forEach((id, place) => {
      const score = scores.get(id);
      cards.get(id).show(place + 1, score, high > low ? (score - low) / (high - low) : 1);
    });
    arrange(order.map((id) => cards.get(id).node));
    limit();
    return order;
  }

  /** Moving an element takes the focus from it. */
  function arrange(nodes) {
    if (nodes.every((card, place) => list.children[place] === card)) return;
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    list.replaceChildren(...nodes);
    focused?.focus({ preventScroll: true });
  }

  function limit() {
    [...list.children].forEach((card, place) => { card.hidden = place >= shown; });
    more.hidden = cards.size <= shown;
    more.textContent = `Show more of the ${cards.size} pages`;
  }

  function showMore() {
    const first = list.children[shown];
    shown += AT_ONCE;
    limit();
    first.querySelector("button").focus();
  }

  function remove(id) {
    const { node: card } = cards.get(id);
    const next = card.nextElementSibling ?? card.previousElementSibling;
    if (card.contains(document.activeElement)) next?.querySelector("button").focus();
    card.remove();
    cards.delete(id);
    limit();
  }

  function choose(id) {
    for (const [each, card] of cards) card.choose(each === id);
  }
  const focus = (id) => cards.get(id)?.node.querySelector("button").focus();
  return { node, add, rank, remove, choose, focus };
}

function resultCard(page, onOpen, onRemove) {
  const rank = element("span", { class: "rank number", hidden: true });
  const score = element("span", { class: "number" }, "no score yet");
  const bar = element("span", { class: "share", "aria-hidden": "true" });
  const open = element("button", { type: "button", class: "result", "aria-pressed": "false", on: { click: () => onOpen(page) } },
    rank, element("img", { src: page.thumbnail, alt: "", loading: "lazy" }),
    element("span", { class: "name" }, page.name), score, bar);
  const remove = element("button", {
    type: "button", class: "remove", "aria-label": `Remove ${page.name}`, title: "Remove", on: { click: () => onRemove(page) },
  }, "×");
  return {
    node: element("li", {}, open, remove),
    show(place, value, share) {
      rank.hidden = value === undefined;
      rank.textContent = place;
      score.textContent = value === undefined ? "no score yet" : value.toFixed(3);
      bar.style.setProperty("--share", value === undefined ? 0 : Math.max(share, 0.02));
    },
    choose: (chosen) => open.setAttribute("aria-pressed", String(chosen)),
  };
}
