"use strict";
// What is shown. All of it stands in the address after the #, so that a link or a reload shows the same again.

const KINDS = ["maps", "pseudo_masks", "predictions"]; // in the order of the workflow
const LAYERS = { photo: "image only", maps: "maps", pseudo_masks: "pseudo mask", predictions: "prediction", truth: "ground truth" };

const State = (() => {
  const defaults = {
    q: "", split: "", cluster: "", tags: "", sort: "id",
    experiment: null, // path; "" is none, and null the one that goes furthest
    layer: "last", // what lies over the photos of the grid
    opacity: "60",
    image: "", // id of the image in the large view
    view: "last", map: "", with: "", changes: "1", // of the large view
  };
  // An address is typed and sent by anybody: what is none of our words is the default, before any other part sees it.
  const isClass = (id) => /^\d{1,3}$/.test(id) && Number(id) < GALLERY.classes.length;
  const isCluster = (name) => {
    const at = name.lastIndexOf("/"), partition = name.slice(0, at), number = name.slice(at + 1);
    return Object.hasOwn(GALLERY.partitions, partition) && /^\d+$/.test(number) && Number(number) < GALLERY.partitions[partition].length;
  };
  const valid = {
    split: (value) => value === "" || GALLERY.splits.includes(value),
    cluster: (value) => value === "" || isCluster(value),
    tags: (value) => value === "" || value.split(",").every(isClass),
    sort: (value) => /^(id|(iou|confidence|share)-(up|down))$/.test(value),
    layer: (value) => value === "last" || Object.hasOwn(LAYERS, value),
    view: (value) => value === "last" || Object.hasOwn(LAYERS, value),
    map: (value) => value === "" || isClass(value),
    changes: (value) => value === "0" || value === "1",
    opacity: (value) => /^\d{1,3}$/.test(value) && Number(value) <= 100,
  };
  const listeners = [];
  let current = parse();

  function furthest() {
    const reached = (experiment) => Math.max(...experiment.steps.map((s) => KINDS.indexOf(GALLERY.steps[s].kind)));
    const own = GALLERY.experiments.filter((e) => !GALLERY.steps[e.steps[0]].supervised);
    return [...(own.length ? own : GALLERY.experiments)].sort((a, b) => reached(b) - reached(a))[0]?.path ?? "";
  }

  function parse() {
    const given = new URLSearchParams(location.hash.slice(1));
    const state = { ...defaults, experiment: furthest() };
    for (const key of Object.keys(defaults)) if (given.has(key)) state[key] = given.get(key);
    const known = (path) => GALLERY.experiments.some((experiment) => experiment.path === path);
    if (state.experiment !== "" && !known(state.experiment)) state.experiment = furthest();
    if (!known(state.with)) state.with = "";
    for (const [key, allowed] of Object.entries(valid)) if (!allowed(state[key])) state[key] = defaults[key];
    return state;
  }

  function address(changes = {}) {
    const state = { ...current, ...changes }, words = new URLSearchParams();
    for (const key of Object.keys(defaults)) {
      // A link to an image names its experiment, whatever the default may be in a later gallery.
      if (state[key] !== defaults[key] && (key !== "experiment" || state.image || state[key] !== furthest())) {
        words.set(key, state[key]);
      }
    }
    return `#${words}`;
  }

  // A new entry of the history only where Back should lead: into and out of the large view.
  function set(changes) {
    const before = current, target = address(changes);
    const enters = changes.image !== undefined && Boolean(changes.image) !== Boolean(before.image);
    if (enters) history.pushState(null, "", target);
    else history.replaceState(null, "", target);
    apply({ ...current, ...changes });
  }

  function apply(next) {
    const before = current;
    current = next;
    const changed = new Set(Object.keys(next).filter((key) => next[key] !== before[key]));
    if (changed.size) for (const listener of listeners) listener(current, changed);
  }

  addEventListener("hashchange", () => apply(parse()));
  addEventListener("popstate", () => apply(parse()));
  return {
    get: () => current,
    set,
    address,
    reset: () => set({ q: "", split: "", cluster: "", tags: "", experiment: "" }),
    onChange: (listener) => listeners.push(listener),
  };
})();
