/** Reads files to pages, one after the other, also those that come while it reads. */

import { pagesOf } from "./files.js";

/**
 * `read(sources)` takes {name, open: () => File or a promise of it}. `onPage(page, signal)` gets each page of files.js, and
 * may be slow: the next one waits. `onFailed(name, message)` is told of files and pages that cannot be read; the others
 * follow. `status` says what is going on.
 */
export function pageReader({ status, onPage, onFailed }) {
  const waiting = [];
  let reading = false;

  async function read(sources) {
    waiting.push(...sources);
    if (reading) return;
    reading = true;
    // Files may have come after a stop, too.
    while (waiting.length) {
      await status.run("Reading ...", async (signal) => {
        while (waiting.length) await readFile(waiting.shift(), signal);
      });
    }
    reading = false;
  }

  async function readFile({ name, open }, signal) {
    try {
      const file = await open();
      for await (const page of pagesOf(file, { signal })) {
        signal.throwIfAborted();
        const rest = waiting.length ? `, ${waiting.length} more to come` : "";
        status.say(`Reading ${name}${page.nPages > 1 ? `, page ${page.number} of ${page.nPages}` : ""}${rest} ...`);
        if (page.error) onFailed(page.name, page.error);
        else await onPage(page, signal);
      }
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      onFailed(name, problem.message);
    }
  }

  function stop() {
    waiting.length = 0;
    status.abort();
  }
  return { read, stop };
}
