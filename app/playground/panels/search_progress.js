/** How far embedding is, and a button that stops it or lets it go on. */

import { element } from "../lib/dom.js";

/** `show({embedded, failed, all, running, secondsLeft}, model)`; hidden while there is no page. */
export function embeddingProgress({ onStop, onGo, onRemoveAll }) {
  const bar = element("progress", { "aria-label": "Pages embedded", value: 0, max: 1 });
  const text = element("p", { class: "hint number" });
  const button = element("button", { type: "button", on: { click: () => (running ? onStop() : onGo()) } });
  const node = element("div", { class: "stack embedding", hidden: true }, bar, element("div", { class: "bar" }, text, button,
    element("button", { type: "button", on: { click: onRemoveAll } }, "Remove all")));
  let running = false;

  function show(state, model) {
    running = state.running;
    node.hidden = !state.all;
    const done = state.embedded + state.failed;
    [bar.value, bar.max] = [done, Math.max(state.all, 1)];
    text.textContent = `${state.embedded} of ${state.all} embedded with ${model}${state.failed ? `, ${state.failed} failed` : ""}${left(state)}`;
    button.textContent = running ? "Stop" : "Go on";
    button.hidden = done === state.all;
  }
  return { node, show };
}

function left({ secondsLeft }) {
  if (!secondsLeft) return "";
  return secondsLeft < 90 ? `, about ${Math.ceil(secondsLeft)} s left` : `, about ${Math.ceil(secondsLeft / 60)} minutes left`;
}
