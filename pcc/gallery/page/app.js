"use strict";
// The start: what is drawn when the state changes, keys, dark mode.

(() => {
  const at = (id) => document.getElementById(id);
  // What a person likes, not what is shown: kept by the browser where it may, and forgotten where it may not.
  const prefs = {
    get(key, otherwise) { try { return localStorage.getItem(`pcc-${key}`) ?? otherwise; } catch { return otherwise; } },
    set(key, value) { try { localStorage.setItem(`pcc-${key}`, value); } catch { /* it is forgotten */ } },
  };

  function draw(state, changed) {
    const any = (...keys) => keys.some((key) => changed.has(key));
    if (any("opacity")) document.documentElement.style.setProperty("--opacity", Number(state.opacity) / 100);
    Filters.fill(state);
    if (any("q", "split", "cluster", "tags", "experiment", "sort") || (any("layer") && state.sort !== "id")) {
      const chosen = Model.chosen(state), all = GALLERY.ids.length;
      Grid.show(chosen);
      at("count").textContent = chosen.length === all ? `${all} images` : `${chosen.length} of ${all} images`;
      at("empty").hidden = chosen.length > 0;
    } else if (any("layer")) Grid.redraw();
    if (state.image || any("image")) Viewer.render(state);
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  function theme() {
    const chosen = prefs.get("theme", "");
    document.documentElement.dataset.theme = chosen;
    at("theme").setAttribute("aria-pressed", String(chosen ? chosen === "dark" : dark.matches));
  }
  function switchTheme() {
    prefs.set("theme", at("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark");
    document.documentElement.dataset.theme = at("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark";
    at("theme").setAttribute("aria-pressed", String(document.documentElement.dataset.theme === "dark"));
  }

  const opacity = (by) => State.set({ opacity: String(Math.min(100, Math.max(0, Number(State.get().opacity) + by))) });
  const inViewer = [
    [["ArrowRight", "j"], "→ or j", "next image", () => Viewer.step(1)],
    [["ArrowLeft", "k"], "← or k", "previous image", () => Viewer.step(-1)],
    [["0"], "0", "photo only", () => State.set({ view: "photo" })],
    [["m"], "m", "maps, and back to the photo", () => Viewer.toggle("maps")],
    [["n"], "n", "the next class's map", () => Viewer.nextMap()],
    [["p"], "p", "pseudo mask, and back", () => Viewer.toggle("pseudo_masks")],
    [["r"], "r", "prediction, and back", () => Viewer.toggle("predictions")],
    [["t"], "t", "true mask, and back", () => Viewer.toggle("truth")],
    [["d"], "d", "mark the changed pixels, side by side", () => at("changed-toggle").click()],
  ];
  const everywhere = [
    [["["], "[", "overlay more transparent", () => opacity(-10)],
    [["]"], "]", "overlay less transparent", () => opacity(10)],
    [["l"], "l", "light or dark", switchTheme],
    [["?"], "?", "this help", () => at("help").open || at("help").showModal()],
  ];
  const inGrid = [[["/"], "/", "search ids", () => at("q").focus()], [["g"], "g", "into the grid", () => Grid.focus()]];
  const told = [["← → ↑ ↓ Home End", "move in the grid"], ["Enter", "open the image"], ["Esc", "close what is open"]];

  function press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const target = event.target, typing = target.matches("select, input:not([type=checkbox], [type=range])");
    const arrows = target.matches("input, select") && event.key.startsWith("Arrow");
    if (typing || arrows || at("help").open) return;
    if (event.key.length === 1 && event.key !== "?" && !at("letters").checked) return;
    const key = [...everywhere, ...(Viewer.isOpen() ? inViewer : inGrid)].find(([names]) => names.includes(event.key));
    if (!key) return;
    event.preventDefault();
    key[3]();
  }

  function tellKeys() {
    const lines = [...told, ...[...inGrid, ...inViewer, ...everywhere].map(([, key, words]) => [key, words])];
    at("keys").replaceChildren(...lines.flatMap(([key, words]) => {
      const name = document.createElement("dt");
      name.append(Object.assign(document.createElement("kbd"), { textContent: key }));
      return [name, Object.assign(document.createElement("dd"), { textContent: words })];
    }));
  }

  document.title = `${GALLERY.name}: PCC gallery`;
  at("title").textContent = GALLERY.name;
  at("letters").checked = prefs.get("letters", "1") === "1";
  at("letters").addEventListener("change", () => prefs.set("letters", at("letters").checked ? "1" : "0"));
  at("theme").addEventListener("click", switchTheme);
  for (const id of ["help-open", "viewer-help"]) at(id).addEventListener("click", () => at("help").showModal());
  dark.addEventListener("change", theme);
  addEventListener("keydown", press);
  theme();
  tellKeys();
  Filters.start(prefs);
  Viewer.start();
  Grid.setSize(Number(prefs.get("size", "170")) || 170);
  State.onChange(draw);
  draw(State.get(), new Set(Object.keys(State.get())));
  performance.mark("ready");
})();
