/** The vectors of a picture and of its patches. */

import { sendForJson } from "./api.js";
import { FileContent, formCall, jsonCall } from "./call.js";
import { atUnitLength, decoded } from "./vectors.js";

const NUMBERS = { embedding_types: ["cls_token", "patch_features"], encoding_format: "base64" };

/** The calls behind patchFeatures(): for a page of a PDF, its picture; its vectors; its patch grid. */
export async function featureCalls(page, how) {
  const rendered = page.file === page.image ? null : formCall("pages", [["file", page.file]]);
  return [rendered, await vectorsCall(page, how), gridCall(page, how)].filter(Boolean);
}

async function vectorsCall(page, { model, imageSize }) {
  const json = { image_data: await FileContent.of(page.image), model, ...NUMBERS };
  return jsonCall("predict", imageSize ? { ...json, image_size: imageSize } : json);
}

/** The call for the patch grid, which the vectors' answer leaves open; null for a square, whose sides are equal. */
const gridCall = ({ width, height }, { model, imageSize }) =>
  (imageSize ? null : jsonCall("patches", { dimensions: [{ width, height }], model }));

/**
 * {width, height: of the patch grid; whole, patches: rows of vectors.js at unit length} of a page of files.js.
 * `imageSize` is the side in pixels of a square to read it as, or null. Throws ApiError.
 */
export async function patchFeatures(page, how, { signal } = {}) {
  const grid = gridCall(page, how);
  const [features, size] = await Promise.all([
    sendForJson(await vectorsCall(page, how), { signal }),
    grid && sendForJson(grid, { signal }),
  ]);
  const [whole, patches] = [features.cls_token, features.patch_features].map((vectors) => atUnitLength(decoded(vectors)));
  const side = Math.round(Math.sqrt(patches.n));
  const [width, height] = size ? [size.results[0].n_patches_x, size.results[0].n_patches_y] : [side, side];
  if (width * height !== patches.n) throw new Error(`${patches.n} patches do not make a grid of ${width} x ${height}.`);
  return { width, height, whole, patches };
}
