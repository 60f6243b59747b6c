/** Elements in one expression. */

/**
 * `element("button", {class: "plain", disabled: true, on: {click: go}}, "Go")`.
 * `on` holds listeners, `dataset` data attributes, `style` custom properties or styles; null and false are left out.
 */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  const { on = {}, dataset = {}, style = {}, ...rest } = attributes;
  for (const [key, value] of Object.entries(rest)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  for (const [type, listener] of Object.entries(on)) node.addEventListener(type, listener);
  Object.assign(node.dataset, dataset);
  for (const [property, value] of Object.entries(style)) node.style.setProperty(property, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An id that no other element has. */
export function uniqueId(prefix) {
  uniqueId.count = (uniqueId.count ?? 0) + 1;
  return `${prefix}-${uniqueId.count}`;
}

/** A control with its label above it. */
export function field(label, control, hint = null) {
  control.id ||= uniqueId("field");
  const note = hint && element("small", { id: uniqueId("hint"), class: "hint" }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control, note);
}

/** Arrow keys move among these elements, of which one at a time is in the tab order. */
export function roving(container, items, { onMove = () => {} } = {}) {
  const select = (index) => {
    items.forEach((item, place) => { item.tabIndex = place === index ? 0 : -1; });
  };
  select(0);
  container.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    if (at < 0) return;
    // Links answer to Enter alone, tabs to the space bar too.
    if (event.key === " " && items[at].matches("a")) {
      event.preventDefault();
      items[at].click();
      return;
    }
    const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const next = (steps[event.key] + items.length) % items.length;
    select(next);
    items[next].focus();
    onMove(next);
  });
  return { select };
}
