/** What the server made of texts, and which of them it did not read to their end. */

import { send } from "../lib/api.js";
import { element } from "../lib/dom.js";

/** For each text {value: its part of the answer's list `name`, cut: whether its end was left out}. Throws ApiError. */
export async function readTexts(call, name, signal) {
  const response = await send(call, { signal });
  const cut = new Set((response.headers.get("X-Truncated") ?? "").split(","));
  const values = (await response.json())[name];
  return values.map((value, index) => ({ value, cut: cut.has(String(index)) }));
}

/** A line that counts the texts that were cut; null if there are none. */
export function cutNote(texts) {
  const count = texts.filter(({ cut }) => cut).length;
  if (!count) return null;
  const [subject, rest] = count === 1 ? ["1 text is", "its end was"] : [`${count} texts are`, "their ends were"];
  return element("p", { class: "hint" }, `${subject} longer than the model reads; ${rest} left out.`);
}
