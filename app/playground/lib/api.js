/** Sends calls and reads what comes back. */

import { address, request } from "./call.js";

/** What the server said, in its own words. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

const KEY = "manyvec-api-key";

/** The API key; kept for this tab only. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

/** The answer of a call, a Response with a good status. Throws ApiError. */
export async function send(call, { signal } = {}) {
  let response;
  try {
    response = await fetch(address(call), { ...request(call, apiKey.get()), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached. Is it still running?", 0);
  }
  if (response.ok) return response;
  if (response.status === 401) document.dispatchEvent(new CustomEvent("key-wanted"));
  throw new ApiError(await message(response), response.status);
}

/** The answer's JSON. Throws ApiError. */
export async function sendForJson(call, options) {
  return (await send(call, options)).json();
}

/** The JSON of each line of the answer, as it comes. Throws ApiError. */
export async function* sendForLines(call, options) {
  for await (const line of lines(await send(call, options))) if (line) yield JSON.parse(line);
}

/** The JSON of each server-sent event, as it comes. Throws ApiError. */
export async function* sendForEvents(call, options) {
  for await (const line of lines(await send(call, options))) {
    if (line.startsWith("data:")) yield JSON.parse(line.slice("data:".length));
  }
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield part.trimEnd();
  }
  if (rest) yield rest;
}

/** `detail` is a sentence, or for 422 a list of problems with their places. */
async function message(response) {
  const body = await response.json().catch(() => null);
  const detail = body?.detail ?? body?.error;
  if (typeof detail === "string") return detail;
  if (!Array.isArray(detail)) return `The server answered ${response.status} ${response.statusText}.`;
  return detail.map(({ loc, msg }) => `${loc.slice(1).join(".") || loc.join(".")}: ${msg}`).join("\n");
}
