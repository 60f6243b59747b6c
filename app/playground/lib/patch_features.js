/** The vectors of a picture and of its patches. */

import { sendForJson } from "./api.js";
import { FileContent, jsonCall } from "./call.js";
import { atUnitLength, decoded } from "./vectors.js";

const NUMBERS = { embedding_types: ["cls_token", "patch_features"], encoding_format: "base64" };

/** The call for the vectors of a page of files.js; `imageSize` is the side in pixels of a square, or null. */
export async function featuresCall(page, { model, imageSize }) {
  const json = { image_data: await FileContent.of(page.image), model, ...NUMBERS };
  return jsonCall("predict", imageSize ? { ...json, image_size: imageSize } : json);
}

/** The call for the patch grid, which the vectors' answer leaves open; null for a square, whose sides are equal. */
export const gridCall = ({ width, height }, { model, imageSize }) =>
  (imageSize ? null : jsonCall("patches", { dimensions: [{ width, height }], model }));

/** {width, height: of the patch grid; whole, patches: rows of vectors.js at unit length}. Throws ApiError. */
export async function patchFeatures(page, how, { signal } = {}) {
  const grid = gridCall(page, how);
  const [features, size] = await Promise.all([
    sendForJson(await featuresCall(page, how), { signal }),
    grid && sendForJson(grid, { signal }),
  ]);
  const [whole, patches] = [features.cls_token, features.patch_features].map((vectors) => atUnitLength(decoded(vectors)));
  const side = Math.round(Math.sqrt(patches.n));
  const [width, height] = size ? [size.results[0].n_patches_x, size.results[0].n_patches_y] : [side, side];
  if (width * height !== patches.n) throw new Error(`${patches.n} patches do not make a grid of ${width} x ${height}.`);
  return { width, height, whole, patches };
}
