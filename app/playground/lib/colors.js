/** Numbers as colours. */

/** Viridis at 17 places; between them it is straight enough. The server's heatmaps have the same colours. */
const VIRIDIS = [
  "440154", "47186a", "472c7b", "424085", "3a528b", "32628d", "2c728e", "26818e", "20908c",
  "1e9f88", "28ae7f", "3ebc73", "5ec961", "83d34b", "addc30", "d7e219", "fde724",
].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/** [r, g, b] of a number from 0 to 1. */
export function viridis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[low].map((value, channel) => value + (VIRIDIS[low + 1][channel] - value) * (place - low));
}

/** The same as CSS, and black or white, whichever is better to read on it. */
export function viridisCss(share) {
  const color = viridis(share);
  const [r, g, b] = color.map((value) => (value / 255) ** 2.2);
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { background: `rgb(${color.map(Math.round).join(" ")})`, color: luminance > 0.18 ? "#000" : "#fff" };
}

/** Colours for groups that are told apart, good on light and on dark: CSS variables of style.css. */
export const groupColor = (index) => `var(--group-${(index % 8) + 1})`;
