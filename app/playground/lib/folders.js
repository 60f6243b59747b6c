/** Files that were dropped, those in folders too. */

const SUITED = /^image\/|^application\/pdf$/;

/** What was dropped as it is, and the pictures and PDFs in folders, in the order of their names. */
export async function droppedFiles(transfer) {
  // Both lists are empty once the event is over, that is after the first await.
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return files;
  const found = await Promise.all(entries.map(async (entry) => (entry.isDirectory ? filesIn(entry) : [await fileOf(entry)])));
  return found.flat();
}

async function filesIn(folder) {
  const entries = await allEntries(folder.createReader());
  entries.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  const found = await Promise.all(entries.map(async (entry) => {
    if (entry.isDirectory) return filesIn(entry);
    const file = await fileOf(entry);
    return SUITED.test(file.type) ? [file] : [];
  }));
  return found.flat();
}

/** A reader gives a hundred at most at a time. */
async function allEntries(reader) {
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return all;
    all.push(...some);
  }
}

const fileOf = (entry) => new Promise((resolve, reject) => { entry.file(resolve, reject); });
