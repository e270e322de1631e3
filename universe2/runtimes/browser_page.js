// Runs in every document before the page's own scripts. Takes away what differs from run to run
// (clocks, chance, dialogs) and adds window.__universe2, through which the runtime speaks to the page.
(() => {
  if (window.__universe2) return;
  window.name = "";
  history.scrollRestoration = "manual";
  const START = $START_MS;
  const RealDate = Date;
  let begun = false;
  let source = null;
  let zero = 0; // the browser's time at which the episode begins

  // While a page loads its clock stands still; afterwards it follows Chromium's virtual time.
  const now = () => (begun ? START + RealDate.now() - zero : START);
  window.Date = new Proxy(RealDate, {
    construct: (target, args, self) =>
      Reflect.construct(target, args.length ? args : [now()], self === window.Date ? target : self),
    apply: () => new RealDate(now()).toString(),
    get: (target, key) => (key === "now" ? now : Reflect.get(target, key)),
  });
  RealDate.prototype.constructor = window.Date;
  // Chromium blurs performance.now by a chance that differs from process to process.
  performance.now = () => now() - START;
  const frame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => frame(() => callback(performance.now()));

  // A timer set while the page loads would be due at a random point of the episode. Those that are due
  // at once run during the loading, which waits for them; the others start with the episode.
  const [setReal, repeatReal, clearReal] = [window.setTimeout, window.setInterval, window.clearTimeout];
  const soon = new Set();
  const later = new Map();
  const started = new Map();
  const timer = (make) => (callback, delay = 0, ...args) => {
    if (begun) return make(callback, delay, ...args);
    if (make === repeatReal || delay > 4) {
      const handle = 1e9 + later.size + started.size;
      later.set(handle, () => make(callback, delay, ...args));
      return handle;
    }
    const handle = make(() => {
      soon.delete(handle);
      typeof callback === "function" ? callback(...args) : (0, eval)(callback);
    }, 0);
    soon.add(handle);
    return handle;
  };
  window.setTimeout = timer(setReal);
  window.setInterval = timer(repeatReal);
  window.clearTimeout = window.clearInterval = (handle) => {
    soon.delete(handle);
    if (later.has(handle)) later.set(handle, () => 0);
    clearReal(started.has(handle) ? started.get(handle) : handle);
  };

  // What a page draws while it loads; a task seeds its own generator afterwards.
  let state = 12345;
  Math.random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;

  window.alert = window.print = window.close = () => undefined;
  window.confirm = () => false;
  window.prompt = () => null;
  window.open = () => null;

  // Nothing leads to another origin; the runtime is told of what would have.
  const refused = [];
  window.navigation?.addEventListener("navigate", (event) => {
    if (!event.cancelable) return;
    const target = new URL(event.destination.url);
    if (target.origin === location.origin && event.downloadRequest === null) return;
    event.preventDefault();
    if (target.origin !== location.origin) refused.push(target.href);
  });

  // Lists, calendars and palettes of the system open in windows of their own: no picture shows them, and a
  // frame may wait for them for ever. A field that has one takes the focus and is worked with keys instead.
  const opensWindow = (element) =>
    element.tagName === "SELECT"
      ? !element.multiple && element.size < 2
      : element.tagName === "INPUT" && /^(date|time|month|week|datetime-local|color|file)$/.test(element.type);
  const keepShut = (event) => {
    const [element] = event.composedPath();
    if (!event.isTrusted || !(element instanceof Element) || !opensWindow(element)) return;
    const list = element.tagName === "SELECT";
    if (event.type === "mousedown") {
      if (!list) return;
      event.preventDefault();
      if (!element.disabled) element.focus();
    } else if (event.type === "click") {
      if (!list) event.preventDefault();
    } else if ([" ", "F4", "Enter"].includes(event.key) || (event.altKey && event.key.startsWith("Arrow"))) {
      event.preventDefault();
    }
  };
  HTMLSelectElement.prototype.showPicker = HTMLInputElement.prototype.showPicker = () => undefined;

  // Chromium treats the first text that is selected by dragging otherwise than all later ones, as long as
  // the page lives, whatever documents it shows: after such an episode the runtime takes another page.
  let held = false;
  let selected = false;
  const watchSelecting = () => {
    window.addEventListener("mousedown", (event) => (held = held || event.button === 0), true);
    window.addEventListener("mouseup", (event) => (held = held && event.button !== 0), true);
    const look = () => (selected = selected || (held && !getSelection().isCollapsed));
    document.addEventListener("selectionchange", look, true);
  };

  // What every document must not do. Opening a document to write it takes its window's listeners away.
  const guard = () => {
    watchSelecting();
    // A drag of the operating system would take the pointer away from the page.
    window.addEventListener("dragstart", (event) => event.preventDefault());
    for (const type of ["mousedown", "click", "keydown"]) window.addEventListener(type, keepShut, true);
    // The runtime's flush (see browser_input.py) is a key event without a key: no page may notice it.
    window.addEventListener(
      "keypress",
      (event) => {
        if (event.isTrusted && event.keyCode === 0) event.stopImmediatePropagation();
      },
      true,
    );
  };
  guard();

  // (left, top): where the element's document is on the screen.
  const seen = (element, left, top) => {
    const box = element.getBoundingClientRect();
    const { document, SVGElement } = element.ownerDocument.defaultView;
    const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data);
    if (element.alt) own.push(element.alt);
    const style = getComputedStyle(element);
    return {
      tag: element.tagName.toLowerCase(),
      id: element.id,
      classes: element.getAttribute("class") || "",
      type: element.getAttribute("type") || "",
      text: own.join(" ").replace(/\s+/g, " ").trim(),
      value: element.value === undefined ? "" : String(element.value),
      checked: element.checked === true,
      focused: element === document.activeElement,
      color: element instanceof SVGElement ? style.fill : style.backgroundColor,
      left: left + box.left,
      top: top + box.top,
      width: box.width,
      height: box.height,
    };
  };
  const displayed = (body, left, top) =>
    [...body.querySelectorAll("*")].flatMap((element) => {
      if (!element.checkVisibility({ visibilityProperty: true })) return [];
      const row = seen(element, left, top);
      if (!(row.width > 0 && row.height > 0)) return [];
      const inner = element.tagName === "IFRAME" && element.contentDocument && element.contentDocument.body;
      if (!inner) return [row];
      return [row, ...displayed(inner, row.left + element.clientLeft, row.top + element.clientTop)];
    });

  const kept = [];
  const pictures = (rules, base) =>
    [...rules].flatMap((rule) => {
      if (rule.styleSheet) return sheetPictures(rule.styleSheet);
      const nested = rule.cssRules ? pictures(rule.cssRules, base) : [];
      const named = rule.style ? [...rule.cssText.matchAll(/url\("([^"]+)"\)/g)] : [];
      return nested.concat(named.map((match) => new URL(match[1], base).href));
    });
  const sheetPictures = (sheet) => pictures(sheet.cssRules, sheet.href || document.baseURI);

  window.__universe2 = {
    refused,
    guard,
    selected: () => selected,
    // Loads what style sheets may ask for later, so that no loading falls into the episode.
    preload: async () => {
      for (let turn = 0; soon.size && turn < 1000; turn++) await new Promise((done) => setReal(done, 0));
      const found = new Set([...document.styleSheets].flatMap(sheetPictures));
      const loads = [...found].map((source) => {
        const image = new Image();
        kept.push(image);
        image.src = source;
        return image.decode().catch(() => undefined); // missing, or a font
      });
      await Promise.all(loads);
    },
    // Starts the clock; the browser's time of that moment, for documents that come later.
    begin: () => {
      begun = true;
      zero = RealDate.now();
      for (const [handle, start] of later) started.set(handle, start());
      return zero;
    },
    // In a document that is loaded while the episode runs: the clock goes on.
    resume: (at, read) => {
      begun = true;
      zero = at;
      window.__universe2.read = read;
    },
    // Starts the problem; its instruction. The layout asks for the pictures it needs now.
    start: (start, read, seed, mode) => {
      window.__universe2.read = read;
      const instruction = start(seed, mode);
      document.documentElement.getBoundingClientRect();
      return instruction;
    },
    // In the document around an in_frame page: what is to be written, and into what size.
    host: (width, height, html, scripts) => {
      source = { width, height, html, scripts };
    },
    run: (inner, number) => {
      const script = inner.document.createElement("script");
      script.textContent = source.scripts[number];
      inner.document.head.append(script);
      script.remove();
    },
    // jQuery and what builds on it: run in order when $ or jQuery is first touched.
    runLater: (inner, number) => {
      const waiting = inner.__universe2.waiting;
      if (waiting === null) return window.__universe2.run(inner, number);
      if (waiting.push(number) > 1) return;
      const names = ["$", "jQuery"];
      const install = () => {
        inner.__universe2.waiting = null;
        for (const name of names) delete inner[name];
        for (const each of waiting) window.__universe2.run(inner, each);
      };
      for (const name of names)
        Object.defineProperty(inner, name, {
          configurable: true,
          get: () => (install(), inner[name]),
          set: (value) => (install(), (inner[name] = value)),
        });
    },
    waiting: [],
    // A fresh frame with a fresh document, written at once instead of being navigated to.
    write: async () => {
      for (const old of document.querySelectorAll("iframe")) old.remove();
      localStorage.clear();
      sessionStorage.clear();
      for (const cookie of document.cookie.split("; "))
        document.cookie = cookie.split("=")[0] + "=; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT";
      const frame = document.createElement("iframe");
      frame.style.cssText = `display: block; border: 0; width: ${source.width}px; height: ${source.height}px`;
      document.body.append(frame);
      const inner = frame.contentWindow;
      inner.document.open();
      inner.__universe2.guard();
      const loaded = new Promise((done) => inner.addEventListener("load", done));
      inner.document.write(source.html);
      inner.document.close();
      await loaded;
      await inner.__universe2.preload();
      inner.focus();
    },
    // All elements that are displayed and have an area, in document order, also those in frames.
    elements: () => displayed(document.body, 0, 0),
    // A turn of the wheel: an event for the page, then the innermost part that can still scroll.
    wheel: (x, y, deltaY) => {
      const at = (document) => document.elementFromPoint(x, y) || document.documentElement;
      let element = at(document);
      while (element.tagName === "IFRAME" && element.contentDocument) {
        const box = element.getBoundingClientRect();
        [x, y] = [x - box.left - element.clientLeft, y - box.top - element.clientTop];
        element = at(element.contentDocument);
      }
      window.__universe2.turn(element, deltaY, 0, x, y);
    },
    turn: (element, deltaY, deltaX, x = 0, y = 0) => {
      const view = element.ownerDocument.defaultView;
      const init = { deltaX, deltaY, clientX: x, clientY: y, bubbles: true, cancelable: true, view };
      if (!element.dispatchEvent(new view.WheelEvent("wheel", init))) return;
      while (element) {
        const { body, documentElement, defaultView } = element.ownerDocument;
        const before = [element.scrollLeft, element.scrollTop].join();
        const style = getComputedStyle(element);
        const root = element === documentElement || element === body;
        if (root || /auto|scroll/.test(deltaY ? style.overflowY : style.overflowX)) {
          element.scrollBy({ left: deltaX, top: deltaY, behavior: "instant" });
          if ([element.scrollLeft, element.scrollTop].join() !== before) return;
        }
        element = element.parentElement || (defaultView === window ? null : defaultView.frameElement);
      }
    },
    // Empties the clipboard, which all pages of a browser share.
    forget: () => {
      const empty = (event) => {
        event.clipboardData.setData("text/plain", "");
        event.preventDefault();
        event.stopImmediatePropagation();
      };
      window.addEventListener("copy", empty, true);
      document.execCommand("copy");
      window.removeEventListener("copy", empty, true);
    },
  };
})();
