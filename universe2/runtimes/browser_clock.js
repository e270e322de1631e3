// Runs first in every document: takes away the clocks and the chance that differ from run to run. While a
// page loads its clock stands still; afterwards it follows Chromium's virtual time. Knows no task.
(() => {
  if (window.__universe2) return;
  const START = $START_MS;
  const RealDate = Date;
  let begun = false;
  let zero = 0; // the browser's time at which the episode begins

  const now = () => (begun ? START + RealDate.now() - zero : START);
  window.Date = new Proxy(RealDate, {
    construct: (target, args, self) =>
      Reflect.construct(target, args.length ? args : [now()], self === window.Date ? target : self),
    apply: () => new RealDate(now()).toString(),
    get: (target, key) => (key === "now" ? now : Reflect.get(target, key)),
  });
  RealDate.prototype.constructor = window.Date;
  const getter = (prototype, name, get) => Object.defineProperty(prototype, name, { configurable: true, get });
  const formats = Intl.DateTimeFormat.prototype;
  const formatReal = Object.getOwnPropertyDescriptor(formats, "format").get;
  const partsReal = formats.formatToParts;
  getter(formats, "format", function () {
    const format = formatReal.call(this);
    return (date = now()) => format(date);
  });
  formats.formatToParts = function (date = now()) {
    return partsReal.call(this, date);
  };
  getter(Document.prototype, "lastModified", () => "01/01/2024 12:00:00");
  const RealFile = File;
  window.File = new Proxy(RealFile, {
    construct: (target, args, self) => {
      const [bits, name, options = {}] = args;
      if (args.length > 1 && Object(options) === options && options.lastModified === undefined)
        args = [bits, name, { type: options.type, endings: options.endings, lastModified: now() }];
      return Reflect.construct(target, args, self === window.File ? target : self);
    },
  });
  RealFile.prototype.constructor = window.File;
  // The browser lets cookies expire by the system's clock: it is told how long after the page's now they do.
  const cookie = Object.getOwnPropertyDescriptor(Document.prototype, "cookie");
  const EXPIRES = /;\s*expires\s*=([^;]*)/i;
  Object.defineProperty(Document.prototype, "cookie", {
    ...cookie,
    set(text) {
      const whole = String(text);
      const until = /;\s*max-age\s*=/i.test(whole) ? NaN : RealDate.parse(EXPIRES.exec(whole)?.[1]);
      const lasting = `; max-age=${Math.ceil((until - now()) / 1000)}`;
      cookie.set.call(this, Number.isNaN(until) ? whole : whole.replace(EXPIRES, lasting));
    },
  });
  // What differs from machine to machine.
  for (const [name, value] of [["hardwareConcurrency", 4], ["deviceMemory", 8]])
    if (name in Navigator.prototype) getter(Navigator.prototype, name, () => value);
  if (window.Temporal) {
    const instant = () => Temporal.Instant.fromEpochMilliseconds(now());
    const zoned = (zone = "UTC") => instant().toZonedDateTimeISO(zone);
    const plain = (convert) => (zone) => zoned(zone)[convert]();
    Object.assign(Temporal.Now, {
      instant,
      zonedDateTimeISO: zoned,
      plainDateTimeISO: plain("toPlainDateTime"),
      plainDateISO: plain("toPlainDate"),
      plainTimeISO: plain("toPlainTime"),
    });
  }

  // Chromium blurs performance.now by a chance that differs from process to process.
  performance.now = () => now() - START;
  getter(performance, "timeOrigin", () => START);
  const [markReal, measureReal] = [performance.mark.bind(performance), performance.measure.bind(performance)];
  performance.mark = (name, options = {}) => markReal(name, { startTime: performance.now(), ...options });
  performance.measure = (name, from = 0, end = performance.now()) => {
    const options = typeof from === "object" ? { ...from } : { start: from, end };
    if (options.end === undefined && options.duration === undefined) options.end = performance.now();
    return measureReal(name, options);
  };
  // How long files took to load is nobody's business.
  for (const name of ["getEntries", "getEntriesByType", "getEntriesByName"]) {
    const real = performance[name].bind(performance);
    performance[name] = (...args) => real(...args).filter((entry) => /^(mark|measure)$/.test(entry.entryType));
  }
  const MARKED = ["mark", "measure"];
  const observeReal = PerformanceObserver.prototype.observe;
  PerformanceObserver.prototype.observe = function (options = {}) {
    const { type, entryTypes } = options;
    if (type !== undefined && !MARKED.includes(String(type))) return;
    if (type !== undefined || !Array.isArray(entryTypes)) return observeReal.call(this, options);
    const some = entryTypes.filter((each) => MARKED.includes(String(each)));
    if (some.length) observeReal.call(this, { entryTypes: some });
  };
  const timing = window.PerformanceTiming?.prototype;
  for (const name of Object.keys(timing || {})) if (name !== "toJSON") getter(timing, name, () => START);
  // When an event is first looked at: time stands still while it is dealt with.
  const stamps = new WeakMap();
  getter(Event.prototype, "timeStamp", function () {
    if (!stamps.has(this)) stamps.set(this, performance.now());
    return stamps.get(this);
  });
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
  // Bytes that nobody else draws: pages keep the sequence of Math.random that they have.
  let mixed = 1;
  const byte = () => ((mixed = (mixed * 48271) % 2147483647) >> 8) & 255;
  Crypto.prototype.getRandomValues = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let i = 0; i < bytes.length; i++) bytes[i] = byte();
    return array;
  };
  const uuid = () => {
    const hex = Array.from({ length: 16 }, () => byte().toString(16).padStart(2, "0")).join("");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
  };
  if (Crypto.prototype.randomUUID) Crypto.prototype.randomUUID = uuid; // in secure documents only

  const own = (window.__universe2 = {
    // Those of the frames in this document, as far as they are of its origin.
    inner: () =>
      Array.from({ length: window.length }, (_, i) => {
        try {
          return window[i].__universe2;
        } catch {
          return undefined; // another origin
        }
      }).filter(Boolean),
    // Starts the clock, in frames too; the browser's time of that moment, for documents that come later.
    begin: (at = RealDate.now()) => {
      if (!begun) {
        [begun, zero] = [true, at];
        for (const [handle, start] of later) started.set(handle, start());
      }
      for (const inner of own.inner()) inner.begin(zero);
      return zero;
    },
    // Waits for the timers that are due while the page loads.
    settle: async () => {
      for (let turn = 0; soon.size && turn < 1000; turn++) await new Promise((done) => setReal(done, 0));
    },
  });
})();
