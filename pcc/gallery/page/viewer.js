"use strict";
// The large view of one image, or of one image in two experiments.

const Viewer = (() => {
  const at = (id) => document.getElementById(id), dialog = at("viewer");
  const panes = [new Pane(), new Pane()];
  let shown = []; // what the panes show: { path, layer, content }
  let turn = 0, latest = -1; // latest: number of the image last shown

  // Side by side, both panes show the same kind: the furthest that both have, unless one was chosen.
  function choiceFor(state, i, paths) {
    if (state.view !== "last" || paths.length < 2) return state.view;
    const both = KINDS.filter((kind) => paths.every((path) => Model.layerOf(path, i, kind)));
    return both.at(-1) ?? "last";
  }

  async function render(state) {
    const i = Model.number(state.image);
    if (!state.image) {
      if (dialog.open) dialog.close();
      return;
    }
    if (!dialog.open) {
      dialog.showModal();
      at("close").focus();
    }
    if (i < 0) return nothing(state.image);
    at("viewer-body").hidden = false;
    latest = i;
    const mine = ++turn, order = Grid.order(), place = Grid.placeOf(i);
    at("viewer-title").textContent = state.image;
    at("viewer-place").textContent = place < 0 ? "not among the filtered images" : `${place + 1} of ${order.length}`;
    at("previous").disabled = place <= 0;
    at("next").disabled = place < 0 || place >= order.length - 1;
    const paths = state.with && state.with !== state.experiment ? [state.experiment, state.with] : [state.experiment];
    const choice = choiceFor(state, i, paths), layers = paths.map((path) => Model.layerOf(path, i, choice));
    at("panes").replaceChildren(...panes.slice(0, paths.length).map((pane) => pane.figure));
    at("panes").className = paths.length > 1 ? "two" : "one";
    chooseLayers(state, i, paths, layers);
    choose(state);
    at("changed-count").textContent = "";
    const contents = await Promise.all(layers.map((layer, n) => panes[n].show(i, paths[n], layer, choice, state.map)));
    if (mine !== turn) return;
    shown = layers.map((layer, n) => ({ path: paths[n], layer, content: contents[n] }));
    chooseMaps(state);
    legend();
    facts(i);
    changes(state);
    const after = order[place + 1];
    if (after !== undefined && place >= 0 && GALLERY.sizes[after]) new Image().src = Model.photo(after);
  }

  function nothing(id) {
    turn++;
    at("viewer-title").textContent = id;
    at("viewer-place").textContent = "Image not found in this gallery.";
    at("viewer-body").hidden = true;
    at("previous").disabled = at("next").disabled = true;
  }

  function buttons(group, entries, pressed, act) {
    const focused = group.contains(document.activeElement) ? document.activeElement.value : null;
    group.replaceChildren(...entries.map(([value, text, key]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.value = value;
      button.append(text);
      if (key) button.append(" ", Object.assign(document.createElement("kbd"), { textContent: key }));
      button.setAttribute("aria-pressed", String(value === pressed));
      button.addEventListener("click", () => act(value));
      return button;
    }));
    if (focused !== null) [...group.children].find((button) => button.value === focused)?.focus();
  }

  const letters = { photo: "0", maps: "m", pseudo_masks: "p", predictions: "r", truth: "t" };
  function available(i, paths) {
    const kinds = KINDS.filter((kind) => paths.some((path) => Model.layerOf(path, i, kind)));
    return ["photo", ...kinds, ...(Model.has(GALLERY.truth, i) ? ["truth"] : [])];
  }

  function chooseLayers(state, i, paths, layers) {
    const layer = layers[0] ?? layers[1];
    const pressed = !layer ? "photo" : layer === GALLERY.truth ? "truth" : layer.kind;
    buttons(at("layers"), available(i, paths).map((kind) => [kind, LAYERS[kind], letters[kind]]), pressed, (view) => State.set({ view }));
  }

  function chooseMaps(state) {
    const classes = [...new Set(shown.flatMap(({ layer, content }) => (layer?.kind === "maps" && content ? [...content.maps.keys()] : [])))];
    at("map-classes").hidden = at("heat-legend").hidden = !classes.length;
    const entries = [["", "strongest class"], ...classes.map((id) => [String(id), Model.className(id)])];
    const pressed = classes.includes(Number(state.map)) && state.map !== "" ? state.map : "";
    buttons(at("map-classes"), classes.length ? entries : [], pressed, (map) => State.set({ map }));
    const ranges = shown.filter(({ content }) => content).map(({ content }) => content.range);
    if (!classes.length || !ranges.length) return;
    const alike = ranges.every((range) => String(range) === String(ranges[0]));
    const [low, high] = at("heat-ends").children;
    low.textContent = alike ? String(ranges[0][0]) : "low";
    high.textContent = alike ? `${ranges[0][1]} (value of the map)` : "high (ends differ)";
    Paint.bar(at("heat-bar"));
  }

  function choose(state) {
    const entries = GALLERY.experiments.map((e) => [e.path, Filters.experimentName(e)]);
    Filters.options(at("viewer-experiment"), [["", "none"], ...entries], state.experiment);
    Filters.options(at("viewer-with"), [["", "nothing"], ...entries.filter(([path]) => path !== state.experiment)], state.with);
    at("viewer-opacity").value = state.opacity;
    at("viewer-opacity-value").textContent = `${state.opacity} %`;
  }

  function legend() {
    const masks = shown.filter(({ layer, content }) => content && layer.kind !== "maps").map(({ content }) => content.mask);
    const counts = masks.map((mask) => new Map(Paint.counted(mask)));
    const ids = [...new Set(counts.flatMap((count) => [...count.keys()]))].sort((a, b) => a - b);
    at("legend").replaceChildren(...ids.map((id) => {
      const line = document.createElement("li"), swatch = document.createElement("span"), name = document.createElement("span");
      swatch.className = id === 0 ? "swatch clear" : "swatch";
      if (id !== 0) swatch.style.background = GALLERY.colours[id];
      name.textContent = Model.className(id);
      const shares = counts.map((count, n) => Model.percent((count.get(id) ?? 0) / masks[n].values.length));
      const number = Object.assign(document.createElement("span"), { className: "number", textContent: shares.join(" → ") });
      line.append(swatch, name, number);
      return line;
    }));
  }

  function facts(i) {
    const size = GALLERY.sizes[i];
    const lines = [
      ["Labels", Model.names(GALLERY.tags[i]).join(", ") || "none"],
      ["Split", GALLERY.splits[i]],
      ["Size", size ? `${size[0]} × ${size[1]} pixels` : "no image"],
    ];
    for (const { path, layer } of shown) {
      const name = shown.length > 1 && layer ? `, ${layer.name ?? "ground truth"}` : "";
      if (layer?.iou && layer.iou[i] !== null) lines.push([`IoU${name}`, Model.percent(layer.iou[i])]);
      if (layer?.mean_iou != null) lines.push([`mIoU of the split${name}`, Model.percent(layer.mean_iou)]);
      const confidence = Model.confidence(path, i);
      if (confidence !== null) lines.push([`Confidence${name}`, confidence.toFixed(2)]);
    }
    const fault = Model.fault(GALLERY.truth, GALLERY.ids[i]);
    if (fault) lines.push(["True mask", fault]);
    at("facts").replaceChildren(...lines.flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]));
  }

  function changes(state) {
    const [a, b] = shown, both = shown.length > 1 && a.content && b.content && a.layer !== GALLERY.truth;
    at("changed-line").hidden = !both;
    at("changed-toggle").setAttribute("aria-pressed", String(state.changes === "1"));
    if (!both) return;
    const count = Paint.changes(a.content.mask, b.content.mask, panes[1].marks), all = a.content.mask.values.length;
    panes[1].marks.hidden = state.changes !== "1" || count === null;
    const what = a.layer.kind === "maps" ? " in the strongest class" : "";
    at("changed-count").textContent = count === null ? "The masks differ in size."
      : `${count.toLocaleString("en")} of ${all.toLocaleString("en")} pixels changed${what} (${Model.percent(count / all)})`;
  }

  function step(by) {
    const order = Grid.order(), place = Grid.placeOf(Model.number(State.get().image));
    const next = order[place + by];
    if (place >= 0 && next !== undefined) State.set({ image: GALLERY.ids[next] });
  }

  function toggle(kind) {
    const pressed = at("layers").querySelector("[aria-pressed=true]")?.value;
    const there = [...at("layers").children].some((button) => button.value === kind);
    if (there) State.set({ view: pressed === kind ? "photo" : kind });
  }

  function nextMap() {
    const list = [...at("map-classes").children];
    const now = list.findIndex((button) => button.getAttribute("aria-pressed") === "true");
    if (list.length) State.set({ map: list[(now + 1) % list.length].value });
  }

  function start() {
    at("previous").addEventListener("click", () => step(-1));
    at("next").addEventListener("click", () => step(1));
    at("close").addEventListener("click", () => State.set({ image: "" }));
    at("viewer-opacity").addEventListener("input", () => State.set({ opacity: at("viewer-opacity").value }));
    at("viewer-experiment").addEventListener("change", () => State.set({ experiment: at("viewer-experiment").value }));
    at("viewer-with").addEventListener("change", () => State.set({ with: at("viewer-with").value }));
    at("changed-toggle").addEventListener("click", () => State.set({ changes: State.get().changes === "1" ? "0" : "1" }));
    dialog.addEventListener("close", () => {
      if (State.get().image) State.set({ image: "" });
      const place = Grid.placeOf(latest); // the focus goes to its card, wherever the view was opened from
      if (place >= 0) Grid.activate(place);
    });
  }

  return { start, render, step, toggle, nextMap, isOpen: () => dialog.open };
})();
