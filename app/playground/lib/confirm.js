/** A button that asks before it does what cannot be undone. */

import { element } from "./dom.js";

/** The question takes the button's place; Escape, or the other button, takes it back. */
export function confirmButton(label, question, onYes) {
  const button = element("button", { type: "button", on: { click: () => ask(true) } }, label);
  const yes = element("button", { type: "button", class: "danger", on: { click: () => {
    ask(false);
    onYes();
  } } }, label);
  const no = element("button", { type: "button", on: { click: () => ask(false) } }, "Keep it");
  const asking = element("span", { class: "asking", role: "group", "aria-label": question, hidden: true, on: {
    keydown: (event) => { if (event.key === "Escape") ask(false); },
  } }, element("span", {}, question), yes, no);
  const node = element("span", { class: "confirm" }, button, asking);

  function ask(open) {
    button.hidden = open;
    asking.hidden = !open;
    // Whoever came by keyboard goes on from here, and does no harm with a second Enter.
    (open ? no : button).focus();
  }
  return node;
}
