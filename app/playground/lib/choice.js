/** A few choices as buttons, one of which holds. */

import { element, roving } from "./dom.js";

/** `options` are [[value, text], ...]; `onChange(value)` is called when the user takes another. `set(value)` takes one. */
export function choice(label, options, onChange) {
  const buttons = options.map(([value, text]) => element("button", {
    type: "button", role: "radio", on: { click: () => take(value) },
  }, text));
  const node = element("div", { class: "chips", role: "radiogroup", "aria-label": label }, ...buttons);
  const { select } = roving(node, buttons, { onMove: (place) => take(options[place][0]) });
  let [[held]] = options;
  set(held);

  function take(value) {
    if (value === held) return;
    set(value);
    onChange(value);
  }

  function set(value) {
    held = value;
    const place = options.findIndex(([each]) => each === value);
    buttons.forEach((button, at) => button.setAttribute("aria-checked", String(at === place)));
    select(place);
  }
  return { node, set, get value() { return held; } };
}
