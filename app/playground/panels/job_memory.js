/** What this tab knows of jobs and the server does not tell: the loss at each step, and the pairs that were sent. */

const KEY = "manyvec-job-";
const MOST_PAIRS = 1000;

/** Kept over a reload where the browser has the room. */
function keep(job, part, value) {
  memory.set(job + part, value);
  try {
    sessionStorage.setItem(KEY + job + part, JSON.stringify(value));
  } catch {
    // Full: then for as long as the page is open.
  }
}

const memory = new Map();
const known = (job, part) => memory.get(job + part) ?? JSON.parse(sessionStorage.getItem(KEY + job + part) ?? "null");

/** [[step, loss], ...] */
export const lossesOf = (job) => known(job, "losses") ?? [];

/** Note where a job is. A job that goes on from a checkpoint makes some steps again. */
export function noteLoss({ id, steps, loss }) {
  if (loss === null) return;
  const before = lossesOf(id);
  const [step, last] = before.at(-1) ?? [];
  if (step === steps && last === loss) return;
  keep(id, "losses", [...before.filter(([earlier]) => earlier < steps), [steps, loss]]);
}

/** [[query, passage, ...], ...], or null if the job was not started here. */
export const pairsOf = (job) => known(job, "pairs");

export const keepPairs = (job, pairs) => keep(job, "pairs", pairs.slice(0, MOST_PAIRS));

export function forget(job) {
  for (const part of ["losses", "pairs"]) {
    memory.delete(job + part);
    sessionStorage.removeItem(KEY + job + part);
  }
}
