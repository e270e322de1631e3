// Runs in every document before the page's own scripts. Takes away what would lead out of the page (dialogs,
// windows, other addresses) and adds to window.__universe2, through which the runtime speaks to the page.
(() => {
  const own = window.__universe2;
  if (!own || own.news) return;
  const before = window.name;
  window.name = "";
  history.scrollRestoration = "manual";
  let source = null;

  window.print = window.close = () => undefined;
  window.alert = (text = "") => say(`alert: ${text}`);
  window.confirm = (text = "") => (say(`confirm: ${text}`), $ACCEPT);
  window.prompt = (text = "", value = "") => (say(`prompt: ${text}`), $ACCEPT ? String(value) : null);
  window.open = (url) => {
    const known = url && URL.canParse(url, document.baseURI);
    refuse(known ? new URL(url, document.baseURI).href : "a new window");
    return null;
  };

  // What the runtime must know is told in the outermost document: those of frames hand it on.
  const outer = () => {
    try {
      const above = window.parent === window ? undefined : window.parent.__universe2;
      return above && !above.hosts() ? above : null;
    } catch {
      return null; // another origin
    }
  };
  const happened = new Set();
  const note = (what) => (outer() ? outer().note(what) : happened.add(what));
  // Each text once, not many and none long: a page may make them in every frame, for ever.
  const [MOST, LONGEST] = [10, 350];
  const [refused, dialogs, downloads, errors] = [[], [], [], []];
  const teller = (name, list) => {
    const known = new Set();
    return (text) => {
      const above = outer();
      if (above) return above[name](text);
      const told = text.slice(0, LONGEST);
      if (known.size >= MOST || known.has(told)) return;
      known.add(told);
      list.push(told);
    };
  };
  const [refuse, say] = [teller("refuse", refused), teller("say", dialogs)];
  const [keep, fail] = [teller("keep", downloads), teller("fail", errors)];
  const news = () => ({
    refused: refused.splice(0), dialogs: dialogs.splice(0), downloads: downloads.splice(0), errors: errors.splice(0),
    happened: [...happened],
  });

  // The runtime doesn't see sockets to elsewhere: the browser lets none through, and here they are told.
  for (const name of ["WebSocket", "WebTransport"]) {
    const Real = window[name];
    if (!Real) continue; // WebTransport is in secure documents only
    const told = new Proxy(Real, {
      construct: (target, args, self) => {
        const made = Reflect.construct(target, args, self === told ? target : self);
        const address = new URL(made.url ?? args[0], document.baseURI);
        if (address.host !== location.host) refuse(address.href);
        return made;
      },
    });
    window[name] = Real.prototype.constructor = told;
  }

  // A document that is replaced before the runtime asks leaves its news to the next one, in the window's name.
  // A blank one takes none: it stands between two episodes. What a page itself wrote there may be anything.
  const inherit = () => {
    if (window.parent !== window || location.protocol === "about:") return;
    try {
      const left = JSON.parse(before);
      for (const [list, name] of [[refused, "refused"], [dialogs, "dialogs"], [downloads, "downloads"], [errors, "errors"]])
        list.push(...left[name].map(String));
      for (const what of left.happened) happened.add(String(what));
    } catch {} // nothing was left
  };
  inherit();
  const bequeath = () => {
    const left = news();
    if (window.parent === window && Object.values(left).some((list) => list.length)) window.name = JSON.stringify(left);
  };

  // Nothing leads to another origin; the runtime is told of what would have.
  window.navigation?.addEventListener("navigate", (event) => {
    if (!event.cancelable) return;
    const target = new URL(event.destination.url);
    if (target.origin === location.origin && event.downloadRequest === null) return;
    event.preventDefault();
    // A blob's address has a number in it that is another one in every run.
    const named = () => event.downloadRequest || (target.protocol === "blob:" ? "blob" : target.pathname.split("/").pop());
    if (target.origin !== location.origin) refuse(target.href);
    else keep(named());
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
  const watchSelecting = () => {
    window.addEventListener("mousedown", (event) => (held = held || event.button === 0), true);
    window.addEventListener("mouseup", (event) => (held = held && event.button !== 0), true);
    document.addEventListener("selectionchange", () => held && !getSelection().isCollapsed && note("selected"), true);
  };
  // All pages of a browser share one clipboard: it is emptied after an episode in which something got there.
  const watchCopying = () => {
    for (const type of ["copy", "cut"]) window.addEventListener(type, () => note("copied"), true);
  };
  for (const name of ["write", "writeText"]) {
    const real = window.Clipboard?.prototype[name];
    if (!real) continue;
    Clipboard.prototype[name] = function (...args) {
      note("copied");
      return real.apply(this, args);
    };
  }

  // What the page's scripts did not catch, with its place where that has a name.
  const LENGTH = 300;
  const place = ({ filename, lineno }) => {
    const found = URL.canParse(filename) && new URL(filename);
    return found && /^https?:$/.test(found.protocol) ? ` (${found.pathname.slice(1)}:${lineno})` : "";
  };
  const watchErrors = () => {
    window.addEventListener("error", (event) => {
      if (!(event instanceof ErrorEvent) || !event.isTrusted) return; // a picture that is missing, say
      const text = event.message.replace(/^Uncaught /, "");
      if (!text.startsWith("ResizeObserver loop")) fail(text.slice(0, LENGTH) + place(event)); // breaks nothing
    });
    window.addEventListener("unhandledrejection", ({ reason, isTrusted }) => {
      if (!isTrusted) return;
      let text = "something without a text";
      try {
        text = String(reason);
      } catch {} // its own toString throws
      fail(`${text.slice(0, LENGTH)} (in a promise)`);
    });
  };

  // What every document must not do. Opening a document to write it takes its window's listeners away.
  const guard = () => {
    watchSelecting();
    watchCopying();
    watchErrors();
    window.addEventListener("pagehide", bequeath);
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

  // From a frame's corner to the corner of what it shows.
  const inset = (frame) => {
    const { paddingLeft, paddingTop } = getComputedStyle(frame);
    return [frame.clientLeft + parseFloat(paddingLeft), frame.clientTop + parseFloat(paddingTop)];
  };
  // The innermost element at a point of the screen, and the point as its document counts.
  const at = (x, y) => {
    const find = (document) => {
      let found = document.elementFromPoint(x, y) || document.documentElement;
      for (let inner; (inner = found.shadowRoot?.elementFromPoint(x, y)) && inner !== found; ) found = inner;
      return found;
    };
    let element = find(document);
    while (element.tagName === "IFRAME" && element.contentDocument) {
      const box = element.getBoundingClientRect();
      const [right, down] = inset(element);
      [x, y] = [x - box.left - right, y - box.top - down];
      element = find(element.contentDocument);
    }
    return { element, x, y };
  };
  // Whether a wheel that turns along an axis ("X" or "Y") may scroll an element.
  const scrolls = (element, axis) => {
    const { body, documentElement, defaultView } = element.ownerDocument;
    const overflow = (each) => getComputedStyle(each)["overflow" + axis];
    const handedOn = overflow(documentElement) === "visible" && body; // the body's counts for the window
    if (element !== documentElement && !(element === body && handedOn)) return /auto|scroll/.test(overflow(element));
    const frame = defaultView === window ? null : defaultView.frameElement;
    if (frame && /^no$/i.test(frame.getAttribute("scrolling"))) return false;
    return !/hidden|clip/.test(overflow(handedOn || documentElement));
  };
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
      label: element.getAttribute("aria-label") || "",
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
      const [right, down] = inset(element);
      return [row, ...displayed(inner, row.left + right, row.top + down)];
    });

  const kept = [];
  // A picture that is written out in its address is there as soon as it is asked for.
  const loads = (address) => !/^data:image\/(png|gif|jpeg)[;,]/.test(address);
  const pictures = (rules, base) =>
    [...rules].flatMap((rule) => {
      if (rule.styleSheet) return sheetPictures(rule.styleSheet);
      const nested = rule.cssRules ? pictures(rule.cssRules, base) : [];
      const named = rule.style ? [...rule.cssText.matchAll(/url\("([^"]+)"\)/g)] : [];
      return nested.concat(named.map((match) => new URL(match[1], base).href));
    });
  const sheetPictures = (sheet) => pictures(sheet.cssRules, sheet.href || document.baseURI);

  Object.assign(own, {
    note,
    refuse,
    say,
    keep,
    fail,
    inset,
    at,
    guard,
    hosts: () => source !== null,
    // What the runtime must know: what was refused and so on since it was last asked, and what has happened.
    news,
    // Loads what style sheets may ask for later, so that no loading falls into the episode; returns the addresses.
    // Those of an earlier document of the same page can be given: to look for them takes long.
    preload: async (known) => {
      await own.settle();
      const found = known || [...new Set([...document.styleSheets].flatMap(sheetPictures))].filter(loads);
      const loaded = found.map((source) => {
        const image = new Image();
        kept.push(image);
        image.src = source;
        return image.decode().catch(() => undefined); // missing, or a font
      });
      await Promise.all(loaded);
      return found;
    },
    // In a document that is loaded while the episode runs: the clock goes on.
    resume: (zero, read) => {
      own.read = read;
      own.begin(zero);
    },
    // Starts the problem; its instruction. The layout asks for the pictures it needs now.
    start: (start, read, seed, mode) => {
      own.read = read;
      const instruction = start(seed, mode);
      document.documentElement.getBoundingClientRect();
      return instruction;
    },
    // In the document around an in_frame page: what is to be written, and into what size.
    host: (width, height, html, scripts) => {
      source = { width, height, html, scripts, pictures: undefined };
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
      if (waiting === null) return own.run(inner, number);
      if (waiting.push(number) > 1) return;
      const names = ["$", "jQuery"];
      const install = () => {
        inner.__universe2.waiting = null;
        for (const name of names) delete inner[name];
        for (const each of waiting) own.run(inner, each);
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
      // Each is a message to another process, and most pages store nothing.
      for (const storage of [localStorage, sessionStorage]) if (storage.length) storage.clear();
      const folders = location.pathname.split("/").map((_, i, all) => all.slice(0, i + 1).join("/"));
      for (const cookie of document.cookie.split("; ").filter(Boolean))
        for (const path of folders.flatMap((folder) => [folder, `${folder}/`]))
          document.cookie = `${cookie.split("=")[0]}=; path=${path}; max-age=0`;
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
      source.pictures = await inner.__universe2.preload(source.pictures);
      inner.focus();
    },
    // All elements that are displayed and have an area, in document order, also those in frames.
    elements: () => displayed(document.body, 0, 0),
    // A turn of the wheel: an event for the page, then the innermost part that can still scroll.
    wheel: (x, y, deltaY) => {
      const found = at(x, y);
      own.turn(found.element, deltaY, 0, found.x, found.y);
    },
    turn: (element, deltaY, deltaX, x = 0, y = 0) => {
      const view = element.ownerDocument.defaultView;
      const init = { deltaX, deltaY, clientX: x, clientY: y, bubbles: true, cancelable: true, composed: true, view };
      if (!element.dispatchEvent(new view.WheelEvent("wheel", init))) return;
      while (element) {
        const before = [element.scrollLeft, element.scrollTop].join();
        if (scrolls(element, deltaY ? "Y" : "X")) {
          element.scrollBy({ left: deltaX, top: deltaY, behavior: "instant" });
          if ([element.scrollLeft, element.scrollTop].join() !== before) return;
        }
        const above = element.ownerDocument.defaultView;
        element = element.parentElement || element.getRootNode().host || (above === window ? null : above.frameElement);
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
  });
})();
