"use strict";
// Masks and maps of one image, fetched when they are looked at. Each is a script that hands its pixels over by
// `Layers.take`, because a page opened from the file system may not read the pixels of picture files.

const Layers = (() => {
  const KEPT = 24;
  const taken = new Map(), loads = new Map();

  function load(layer, i) {
    const key = `${layer.folder}/${GALLERY.ids[i]}`;
    const known = loads.get(key) ?? fetched(key, Model.path(layer, i, ".js"));
    loads.delete(key); // and in again at the end: the longest unused goes first
    loads.set(key, known);
    if (loads.size > KEPT) loads.delete(loads.keys().next().value);
    return known;
  }

  function fetched(key, address) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const fail = () => reject(new Error(`${decodeURIComponent(address)} is missing or damaged; run pcc gallery again`));
      script.src = address;
      script.onerror = () => { script.remove(); loads.delete(key); fail(); };
      script.onload = async () => {
        script.remove();
        const content = taken.get(key);
        taken.delete(key);
        if (!content) return fail();
        try {
          const [mask, ...maps] = await Promise.all([content.mask, ...Object.values(content.maps ?? {})].map(numbers));
          const classes = Object.keys(content.maps ?? {}).map(Number);
          resolve({ size: content.size, range: content.range ?? [0, 1], mask, maps: new Map(classes.map((id, n) => [id, maps[n]])) });
        } catch { fail(); }
      };
      document.head.append(script);
    });
  }

  // The grey values of a PNG: { width, height, values }.
  async function numbers(address) {
    const picture = new Image();
    picture.src = address;
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const values = new Uint8Array(pixels.length / 4);
    for (let n = 0; n < values.length; n++) values[n] = pixels[4 * n];
    return { width: canvas.width, height: canvas.height, values };
  }

  return { load, take: (content) => taken.set(content.of, content) };
})();
