"use strict";
// The form beside the grid. It only reads and writes the state.

const Filters = (() => {
  const at = (id) => document.getElementById(id);

  function options(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, text]) => new Option(text, value, false, value === chosen)));
    select.value = entries.some(([value]) => value === chosen) ? chosen : entries[0][0];
  }

  function experimentName(experiment) {
    const marks = [Model.oracle(experiment.path) && "oracle", Model.supervised(experiment.path) && "trained on masks"].filter(Boolean);
    return marks.length ? `${experiment.name} (${marks.join(", ")})` : experiment.name;
  }

  function sorts(state) {
    const entries = [["id", "order of the data set"]];
    if (Model.scored(state.experiment)) {
      entries.push(["iou-up", "IoU, worst first"], ["iou-down", "IoU, best first"]);
    }
    if (Model.judged(state.experiment)) {
      entries.push(["confidence-up", "confidence, least first"], ["confidence-down", "confidence, most first"]);
    }
    if (state.experiment || state.layer === "truth") entries.push(["share-up", "share of things, smallest first"], ["share-down", "share of things, largest first"]);
    return entries;
  }

  function clusters() {
    return Object.entries(GALLERY.partitions).flatMap(([partition, groups]) =>
      groups.map((group, n) => [`${partition}/${n}`, `${partition}: ${group.name}`]));
  }

  function fill(state) {
    const experiments = GALLERY.experiments.map((e) => [e.path, experimentName(e)]);
    options(at("experiment"), [["", "none: all images"], ...experiments], state.experiment);
    const kinds = KINDS.filter((kind) => Model.stepsOf(state.experiment).some((step) => step.kind === kind));
    const truth = GALLERY.truth.share.some((share) => share !== null) ? ["truth"] : [];
    options(at("layer"), [["last", "last step there is"], ...[...kinds, ...truth, "photo"].map((k) => [k, LAYERS[k]])], state.layer);
    options(at("sort"), sorts(state), state.sort);
    options(at("split"), [["", "all"], ...[...new Set(GALLERY.splits)].map((split) => [split, split])], state.split);
    options(at("cluster"), [["", "all"], ...clusters()], state.cluster);
    if (at("q").value !== state.q) at("q").value = state.q;
    at("opacity").value = state.opacity;
    at("opacity-value").textContent = `${state.opacity} %`;
    const wanted = state.tags.split(",");
    for (const box of at("tags").querySelectorAll("input")) box.checked = wanted.includes(box.value);
    note(state);
  }

  function note(state) {
    const lines = [];
    if (Model.scored(state.experiment)) lines.push("IoU: mean over the classes of an image, against ground truth.");
    if (Model.oracle(state.experiment)) lines.push("Oracle: parts of this experiment were selected on ground truth.");
    if (Model.supervised(state.experiment)) lines.push("Fully supervised: trained on ground-truth masks.");
    if (Model.judged(state.experiment)) lines.push("Confidence: mean over the classes of an image, without ground truth.");
    at("note").textContent = lines.join(" ");
  }

  function tagBoxes() {
    const counts = new Map();
    for (const tags of GALLERY.tags) for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
    GALLERY.classes.forEach((name, id) => {
      if (!counts.has(id)) return;
      const label = document.createElement("label"), box = document.createElement("input");
      const swatch = document.createElement("span"), text = document.createElement("span"), count = document.createElement("span");
      box.type = "checkbox";
      box.value = id;
      swatch.className = "swatch";
      swatch.style.background = GALLERY.colours[id];
      text.textContent = name;
      count.className = "number";
      count.textContent = counts.get(id);
      label.append(box, swatch, text, count);
      at("tags").append(label);
    });
  }

  function start(prefs) {
    tagBoxes();
    for (const id of ["experiment", "layer", "sort", "split", "cluster"]) {
      at(id).addEventListener("change", () => State.set({ [id]: at(id).value }));
    }
    at("q").addEventListener("input", () => State.set({ q: at("q").value }));
    at("opacity").addEventListener("input", () => State.set({ opacity: at("opacity").value }));
    at("tags").addEventListener("change", () => {
      State.set({ tags: [...at("tags").querySelectorAll(":checked")].map((box) => box.value).join(",") });
    });
    at("size").value = prefs.get("size", "170");
    at("size").addEventListener("input", () => {
      prefs.set("size", at("size").value);
      Grid.setSize(Number(at("size").value));
    });
    at("reset").addEventListener("click", State.reset);
    at("empty-reset").addEventListener("click", State.reset);
    at("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  return { start, fill, options, experimentName };
})();
