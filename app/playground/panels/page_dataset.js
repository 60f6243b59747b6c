/** A file of queries and pages; the server reads it. */

import { element } from "../lib/dom.js";
import { fileZone } from "../lib/files.js";
import { bytes } from "../lib/units.js";

export function pageDataset() {
  let file = null;

  const chosen = element("p", { role: "status" });
  const node = element("div", { class: "stack tight" },
    fileZone("Queries and pages: JSON lines or Parquet", ([given]) => {
      file = given;
      chosen.textContent = `${file.name}, ${bytes(file.size)}`;
    }, { accept: ".jsonl,.json,.parquet" }),
    element("p", { class: "hint" }, "A line each: ", element("code", {}, '{"query": "...", "image": "base64"}'), ". At least two queries and two pages."),
    chosen);
  return { node, file: () => file };
}
