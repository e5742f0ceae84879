"use strict";
// Questions about the data: which images are wanted, in which order, and what there is to show of them.

const Model = (() => {
  const { ids, tags, splits, steps, experiments, truth } = GALLERY;
  const numbers = new Map(ids.map((id, i) => [id, i]));
  const lower = ids.map((id) => id.toLowerCase());
  const every = ids.map((_, i) => i);

  const experiment = (path) => experiments.find((e) => e.path === path);
  const stepsOf = (path) => (experiment(path)?.steps ?? []).map((s) => steps[s]);
  const has = (layer, i) => layer.share[i] !== null;
  const fault = (layer, id) => (layer && Object.hasOwn(layer.faults, id) ? layer.faults[id] : undefined);

  // The layer of an image that a choice stands for: a kind, the truth, "last" (the furthest there is), or none.
  function layerOf(path, i, choice) {
    if (choice === "truth") return has(truth, i) ? truth : null;
    if (choice === "photo") return null;
    const there = stepsOf(path).filter((step) => has(step, i));
    if (choice === "last") return there.at(-1) ?? null;
    return there.find((step) => step.kind === choice) ?? null;
  }

  function cluster(name) {
    const at = name.lastIndexOf("/"), partition = GALLERY.partitions[name.slice(0, at)];
    return partition?.[Number(name.slice(at + 1))];
  }

  function matching(state) {
    const text = state.q.trim().toLowerCase();
    const wanted = state.tags.split(",").filter(Boolean).map(Number);
    const group = state.cluster && cluster(state.cluster);
    const own = stepsOf(state.experiment);
    return every.filter((i) =>
      (!text || lower[i].includes(text)) &&
      (!state.split || splits[i] === state.split) &&
      (!group || tags[i].some((tag) => group.classes.includes(tag))) &&
      wanted.every((tag) => tags[i].includes(tag)) &&
      (!state.experiment || own.some((step) => has(step, i))));
  }

  const confidence = (path, i) => stepsOf(path).findLast((step) => step.confidence)?.confidence[i] ?? null;
  const iou = (path, i, choice) => layerOf(path, i, choice)?.iou?.[i] ?? null;
  const share = (path, i, choice) => layerOf(path, i, choice)?.share[i] ?? null;

  // Sorting by a number puts images without one at the end, whichever way it goes.
  function sorted(list, state) {
    const [what, way] = state.sort.split("-");
    const value = new Map(Object.entries({ iou, confidence, share })).get(what);
    if (!value) return list;
    const keys = new Map(list.map((i) => [i, value(state.experiment, i, state.layer)]));
    const sign = way === "down" ? -1 : 1;
    return [...list].sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * (x - y) || a - b;
    });
  }

  const some = (column) => Boolean(column?.some((value) => value !== null));
  const path = (layer, i, ending) => `${[...layer.folder.split("/"), ids[i]].map(encodeURIComponent).join("/")}${ending}`;
  return {
    number: (id) => numbers.get(id) ?? -1,
    chosen: (state) => sorted(matching(state), state),
    experiment, stepsOf, layerOf, has, fault, confidence, iou, path,
    scored: (own) => stepsOf(own).some((step) => some(step.iou)),
    judged: (own) => stepsOf(own).some((step) => some(step.confidence)),
    oracle: (own) => stepsOf(own).some((step) => step.oracle),
    supervised: (own) => stepsOf(own).some((step) => step.supervised),
    thumb: (i) => `thumbs/${encodeURIComponent(ids[i])}.jpg`,
    photo: (i) => `photos/${encodeURIComponent(ids[i])}.jpg`,
    names: (classes) => classes.map((id) => GALLERY.classes[id]),
    className: (id) => (id === 255 ? "ignored" : GALLERY.classes[id] ?? `class ${id}`),
    percent: (value, digits = 1) => `${(100 * value).toFixed(digits)}\u00a0%`,
  };
})();
