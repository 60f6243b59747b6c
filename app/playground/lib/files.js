/** Files dropped, pasted or chosen, and the pages in them. */

import { sendForLines } from "./api.js";
import { formCall } from "./call.js";
import { element, uniqueId } from "./dom.js";
import { droppedFiles } from "./folders.js";
import { UserError } from "./status.js";

/**
 * A zone for files. `onFiles(files)` gets a list of File. Files that are pasted anywhere go to the zone that is visible;
 * where there are several, `takesPaste()` says which one wants them.
 */
export function fileZone(
  label, onFiles, { accept = "image/*,application/pdf", multiple = false, takesPaste = () => true } = {},
) {
  const input = element("input", { type: "file", id: uniqueId("file"), accept, multiple, on: { change: () => {
    take([...input.files]);
    input.value = "";
  } } });
  const zone = element("div", { class: "zone" },
    element("label", { for: input.id }, label), input,
    element("small", { class: "hint" }, "or drop or paste it here"));
  const take = (files) => { if (files.length) onFiles(multiple ? files : files.slice(0, 1)); };

  for (const type of ["dragenter", "dragover"]) zone.addEventListener(type, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    droppedFiles(event.dataTransfer).then(take);
  });
  document.addEventListener("paste", (event) => {
    if (!zone.checkVisibility() || !takesPaste()) return;
    const files = [...event.clipboardData.files];
    if (files.length) event.preventDefault();
    take(files);
  });
  return zone;
}

/** An example that comes with the server, as a File. */
export async function exampleFile(name) {
  const response = await fetch(`playground/examples/${name}`);
  if (!response.ok) throw new UserError(`This server has no example ${name}.`);
  return new File([await response.blob()], name.split("/").at(-1), {
    type: response.headers.get("Content-Type"), lastModified: Date.parse(response.headers.get("Last-Modified")) || 0,
  });
}

/**
 * The pages of a picture or a PDF, one by one as the server renders them; a picture that the browser knows stays here.
 *
 * Yields {name, file: File that was given, number, nPages, image: File to send, url, width, height} or, for a page that
 * cannot be rendered, {name, file, number, nPages, error}. Throws ApiError, UserError.
 */
export async function* pagesOf(file, { signal, maxSide = null } = {}) {
  const bitmap = file.type.startsWith("image/") ? await createImageBitmap(file).catch(() => null) : null;
  signal?.throwIfAborted();
  if (bitmap) {
    const { width, height } = bitmap;
    bitmap.close();
    yield { name: file.name, file, number: 1, nPages: 1, image: file, url: URL.createObjectURL(file), width, height };
    return;
  }
  const call = formCall("pages", [["file", file], ["max_side", maxSide]]);
  for await (const { page: number, n_pages: nPages, width, height, image, error } of sendForLines(call, { signal })) {
    const page = { name: nPages > 1 ? `${file.name}, page ${number}` : file.name, file, number, nPages };
    if (error) {
      yield { ...page, error };
      continue;
    }
    const png = new File([bytes(image)], `${stem(file.name)}-${number}.png`, { type: "image/png" });
    yield { ...page, image: png, url: URL.createObjectURL(png), width, height };
  }
}

/** Form fields that send this page: a PDF goes as it is, with the page's number. */
export function pageFields(page) {
  return page.file === page.image || page.nPages === 1
    ? [["file", page.file]]
    : [["file", page.file], ["page", page.number]];
}

const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const stem = (name) => name.replace(/\.[^.]*$/, "");
