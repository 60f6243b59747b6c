/** Pages that were read, each once, with a number and a thumbnail. */

import { thumbnailUrl } from "./thumbnail.js";

export function pageSet() {
  const pages = new Map();
  let last = 0;

  /** The page of files.js with its `id` and `thumbnail`, or null if the same page of the same file is here already. */
  async function add(page, signal) {
    const { name, size, lastModified } = page.file;
    const key = JSON.stringify([name, size, lastModified, page.number]);
    if ([...pages.values()].some((other) => other.key === key)) {
      URL.revokeObjectURL(page.url);
      return null;
    }
    const thumbnail = await thumbnailUrl(page);
    signal.throwIfAborted();
    last += 1;
    pages.set(last, { ...page, id: last, key, thumbnail });
    return pages.get(last);
  }

  function remove({ id, url, thumbnail }) {
    pages.delete(id);
    URL.revokeObjectURL(url);
    URL.revokeObjectURL(thumbnail);
  }

  return {
    add,
    remove,
    has: (id) => pages.has(id),
    get: (id) => pages.get(id),
    all: () => [...pages.values()],
    /** The files that they came in. */
    files: () => [...new Set([...pages.values()].map(({ file }) => file))],
  };
}
