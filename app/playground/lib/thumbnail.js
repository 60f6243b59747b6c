/** Small pictures of pages: hundreds of them would not fit into memory at their own size. */

const HEIGHT = 360;

/** A URL of a JPEG of a page's `image`, to be revoked when it is not shown any more. */
export async function thumbnailUrl({ image, width, height }) {
  const scale = Math.min(1, HEIGHT / height);
  const bitmap = await createImageBitmap(image, {
    resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)), resizeQuality: "high",
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  // JPEG knows no transparency.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 }));
}
