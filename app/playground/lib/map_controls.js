/** How maps over pictures are drawn; several pictures may share one set of controls. */

import { element } from "./dom.js";

/**
 * `node` sends "input" when something is changed, `drawing()` is what drawMap wants to know, `grid()` whether the patches
 * are to be told apart, and `showColors({low, high})` says what the colours stand for; null when they stand for no number.
 */
export function mapControls() {
  const opacity = element("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0.7" });
  const grid = element("input", { type: "checkbox" });
  const smooth = element("input", { type: "checkbox", checked: true });
  const low = element("span", { class: "number" });
  const high = element("span", { class: "number" });
  const legend = element("div", { class: "legend", "aria-hidden": "true" }, low, element("span"), high);
  const node = element("div", { class: "bar" },
    element("label", {}, "Opacity ", opacity),
    element("label", {}, grid, " Patch grid"),
    element("label", {}, smooth, " Smooth"),
    legend);

  function showColors(colors) {
    legend.hidden = !colors;
    if (colors) [low.textContent, high.textContent] = [colors.low.toFixed(3), colors.high.toFixed(3)];
  }
  return {
    node,
    drawing: () => ({ opacity: Number(opacity.value), smooth: smooth.checked }),
    grid: () => grid.checked,
    showColors,
  };
}
