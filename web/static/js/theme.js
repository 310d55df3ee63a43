// What a reader chose, before anything is drawn: theme and easier-to-read. A plain script in <head>, so nothing flashes.
//
//   localStorage "theme": "light", "dark", "contrast", "contrast-dark"; absent: the device decides.
//   localStorage "read": "easy"; absent: as usual. On staff pages data-density gives way to it: never both.
//
// window.look.get("theme") and window.look.set("theme", "dark" or null) are what switches use (dom.js: `switches()`).
(() => {
  "use strict";
  const root = document.documentElement;
  const density = root.dataset.density;
  const allowed = { theme: ["light", "dark", "contrast", "contrast-dark"], read: ["easy"] };
  const get = (name) => {
    try {
      const value = localStorage.getItem(name);
      return allowed[name].includes(value) ? value : null;
    } catch {
      return null; // storage may be switched off: the device's own choice then holds
    }
  };
  const apply = (name, value) => {
    if (value) root.dataset[name] = value;
    else delete root.dataset[name];
    if (name !== "read" || !density) return;
    if (value) delete root.dataset.density;
    else root.dataset.density = density;
  };
  const set = (name, value) => {
    try {
      if (value) localStorage.setItem(name, value);
      else localStorage.removeItem(name);
    } catch {
      // not kept, but still applied to this page
    }
    apply(name, value);
  };
  for (const name of ["theme", "read"]) apply(name, get(name));
  window.look = { get, set };
})();
