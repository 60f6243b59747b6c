/** The call of /interpret, and the maps in its answer. */

import { formCall } from "./call.js";
import { pageFields } from "./files.js";

/** The call whose answer has a map for each token of `text` over a page of files.js. */
export const interpretCall = (page, { model, text }) => formCall(
  "interpret", [...pageFields(page), ["query", text], ["model", model]],
);

/** The maps of its answer as heatmap.js draws them: they come column by column. */
export const mapsOf = ({ similarity_maps: maps }) => maps.map(({ similarity_map: columns }) => {
  const [width, height] = [columns.length, columns[0].length];
  const values = new Float32Array(width * height);
  columns.forEach((column, x) => column.forEach((value, y) => { values[y * width + x] = value; }));
  return { width, height, values };
});
