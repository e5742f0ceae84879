"use strict";
// Numbers to colours: class ids, heat, and the pixels in which two masks differ.

const Paint = (() => {
  const table = (colours) => new Uint8Array(colours.flatMap((c) => [1, 3, 5].map((at) => parseInt(c.slice(at, at + 2), 16))));
  const classes = table(GALLERY.colours), heat = table(GALLERY.heat);

  // Fill a canvas; `colour` gives the place in a table of colours, or -1 for a pixel to see through.
  function fill(canvas, width, height, colours, place) {
    canvas.width = width;
    canvas.height = height;
    const picture = new ImageData(width, height), data = picture.data;
    for (let n = 0; n < width * height; n++) {
      const at = place(n);
      if (at < 0) continue;
      data[4 * n] = colours[3 * at];
      data[4 * n + 1] = colours[3 * at + 1];
      data[4 * n + 2] = colours[3 * at + 2];
      data[4 * n + 3] = 255;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  // In the class colours, background seen through; borders white, as the palette alone does not part every pair.
  function mask(canvas, { width, height, values }) {
    const WHITE = 256, colours = new Uint8Array([...classes, 255, 255, 255]);
    fill(canvas, width, height, colours, (n) => {
      const here = values[n];
      if ((n % width && values[n - 1] !== here) || (n >= width && values[n - width] !== here)) return WHITE;
      return here === 0 ? -1 : here;
    });
  }

  function map(canvas, grid, [width, height]) {
    const values = resized(grid, width, height);
    fill(canvas, width, height, heat, (n) => Math.round(values[n]));
  }

  // Bilinear with half-pixel centres, as the masks were made from the maps (pcc.maps.resize).
  function resized(grid, width, height) {
    const out = new Float32Array(width * height);
    const columns = places(grid.width, width);
    for (let y = 0; y < height; y++) {
      const [top, bottom, down] = place(grid.height, height, y);
      for (let x = 0; x < width; x++) {
        const [left, right, along] = columns[x];
        const above = grid.values[top * grid.width + left] * (1 - along) + grid.values[top * grid.width + right] * along;
        const below = grid.values[bottom * grid.width + left] * (1 - along) + grid.values[bottom * grid.width + right] * along;
        out[y * width + x] = above * (1 - down) + below * down;
      }
    }
    return out;
  }
  const places = (from, to) => Array.from({ length: to }, (_, n) => place(from, to, n));
  function place(from, to, n) {
    const exact = Math.max(0, ((n + 0.5) * from) / to - 0.5), first = Math.min(from - 1, Math.floor(exact));
    return [first, Math.min(from - 1, first + 1), exact - first];
  }

  // The strongest of several maps at every cell.
  function strongest(maps) {
    const [first, ...rest] = maps, values = Uint8Array.from(first.values);
    for (const other of rest) for (let n = 0; n < values.length; n++) values[n] = Math.max(values[n], other.values[n]);
    return { ...first, values };
  }

  // How many pixels two masks differ in, shown on a canvas where one is given; null where sizes differ.
  function changes(a, b, canvas) {
    if (a.width !== b.width || a.height !== b.height) return null;
    let count = 0;
    for (let n = 0; n < a.values.length; n++) count += a.values[n] !== b.values[n];
    // Yellow and black stripes stand out from every class colour, none of which is so bright, and from every photo.
    const stripes = new Uint8Array([0, 0, 0, 255, 221, 0]);
    if (canvas) {
      fill(canvas, a.width, a.height, stripes, (n) =>
        a.values[n] === b.values[n] ? -1 : (Math.floor(n / a.width) + (n % a.width)) % 4 < 2 ? 0 : 1);
    }
    return count;
  }

  // Pixels by class id, the largest first.
  function counted({ values }) {
    const counts = new Map();
    for (const id of values) counts.set(id, (counts.get(id) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]);
  }

  function bar(canvas) {
    fill(canvas, 256, 1, heat, (n) => n);
  }

  return { mask, map, strongest, changes, counted, bar };
})();
