/** Symbols of groups, told apart by shape as well as by colour. */

import { groupColor } from "./colors.js";

const SVG = "http://www.w3.org/2000/svg";

/** Paths around 0, about 14 wide. */
const SHAPES = [
  "M0-6.5A6.5 6.5 0 1 1 0 6.5A6.5 6.5 0 1 1 0-6.5Z",
  "M-5.8-5.8H5.8V5.8H-5.8Z",
  "M0-7.5L7.2 5.5H-7.2Z",
  "M0-8L8 0L0 8L-8 0Z",
  "M0 7.5L-7.2-5.5H7.2Z",
  "M-2.6-7.5H2.6V-2.6H7.5V2.6H2.6V7.5H-2.6V2.6H-7.5V-2.6H-2.6Z",
  "M0-8.5L2.2-2.9L8.1-2.6L3.5 1.1L5 6.9L0 3.6L-5 6.9L-3.5 1.1L-8.1-2.6L-2.2-2.9Z",
  "M-7.2-3.4L-3.4-7.2L0-3.8L3.4-7.2L7.2-3.4L3.8 0L7.2 3.4L3.4 7.2L0 3.8L-3.4 7.2L-7.2 3.4L-3.8 0Z",
];

/** An SVG element. */
export function drawn(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** The symbol of the group with this index; beyond eight groups colours come again with other shapes. */
export function symbol(index) {
  const path = drawn("path", { class: "symbol", d: SHAPES[(index + Math.floor(index / 8)) % 8] });
  path.style.fill = groupColor(index);
  return path;
}

/** The same, to stand in a line of text. */
export const symbolIcon = (index) =>
  drawn("svg", { viewBox: "-9 -9 18 18", width: 16, height: 16, "aria-hidden": "true" }, symbol(index));
