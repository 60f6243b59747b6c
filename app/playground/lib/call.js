/**
 * A call of the HTTP API, as data: it can be sent, and be shown as the curl line or the Python that does the same.
 *
 * {method, path, query: {name: value}, json: body} or {..., form: [[name, text or File], ...]}, and `headers` if it needs any;
 * `path` has no leading slash, so that the page works behind a proxy that serves it under another path.
 */

/** The bytes of a file in a JSON body, in base64. */
export class FileContent {
  static async of(file) {
    const content = new FileContent();
    content.name = file.name;
    const bytes = new Uint8Array(await file.arrayBuffer());
    let letters = "";
    // In pieces: a function takes only so many arguments.
    for (let at = 0; at < bytes.length; at += 8192) letters += String.fromCharCode(...bytes.subarray(at, at + 8192));
    content.base64 = btoa(letters);
    return content;
  }

  toJSON() {
    return this.base64;
  }
}

/** POST of a JSON body. */
export const jsonCall = (path, json) => ({ method: "POST", path, json });

/** POST of a form; null and "" are left out. */
export const formCall = (path, fields, query = {}) => ({
  method: "POST", path, query, form: fields.filter(([, value]) => value !== null && value !== undefined && value !== ""),
});

/** GET, or another method without a body. */
export const plainCall = (path, method = "GET") => ({ method, path });

/** The address, relative to the page. */
export function address(call) {
  const query = new URLSearchParams(
    Object.entries(call.query ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== ""),
  ).toString();
  return query ? `${call.path}?${query}` : call.path;
}

/** What fetch() takes beside the address. */
export function request(call, key = "") {
  const headers = { ...call.headers, ...(key && { "X-API-Key": asUtf8(key) }) };
  if (call.form) {
    const body = new FormData();
    for (const [name, value] of call.form) {
      if (value instanceof Blob) body.append(name, value, value.name ?? "file");
      else body.append(name, value);
    }
    return { method: call.method, headers, body };
  }
  if (call.json === undefined) return { method: call.method, headers };
  return { method: call.method, headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(call.json) };
}

/** Header values are bytes in the browser: the server expects those of UTF-8. */
const asUtf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));
