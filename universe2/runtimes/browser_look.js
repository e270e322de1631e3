// Adds to window.__universe2 what describes a page in structure: refs, the element table, the
// accessibility tree, and what structured actions need. Runs after browser_page.js.
(() => {
  const own = window.__universe2;
  if (!own || own.look) return;
  const refs = new WeakMap();
  const byRef = new Map();
  // Numbers in the order of first sight; an element keeps its number for the whole episode.
  const refOf = (element) => {
    if (!refs.has(element)) {
      refs.set(element, byRef.size + 1);
      byRef.set(byRef.size + 1, new WeakRef(element));
    }
    return refs.get(element);
  };
  const frameOf = ({ ownerDocument }) => (ownerDocument === document ? null : ownerDocument.defaultView.frameElement);
  // What is shown in an element: what its open shadow root holds, and in place of a slot what is put there.
  const shownIn = (element) => {
    const put = element.tagName === "SLOT" ? element.assignedElements() : [];
    return put.length ? put : (element.shadowRoot || element).children;
  };
  // Whether one element is in another, or the same, also across shadow roots.
  const within = (element, other) => {
    while (element && element !== other) element = element.assignedSlot || element.parentNode || element.host;
    return Boolean(element);
  };
  // Where an element is on the screen, also if it is in a frame.
  const boxOf = (element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    const frame = frameOf(element);
    if (!frame) return { left, top, width, height };
    const [outer, [right, down]] = [boxOf(frame), own.inset(frame)];
    return { left: left + outer.left + right, top: top + outer.top + down, width, height };
  };
  // The part of the screen in which an element's document shows: [left, top, right, bottom].
  const windowOf = (element, width, height) => {
    const frame = frameOf(element);
    if (!frame) return [0, 0, width, height];
    const [outer, box, [right, down]] = [windowOf(frame, width, height), boxOf(frame), own.inset(frame)];
    const { innerWidth, innerHeight } = element.ownerDocument.defaultView;
    const [x, y] = [box.left + right, box.top + down];
    const [less, more] = [Math.max, Math.min];
    return [less(outer[0], x), less(outer[1], y), more(outer[2], x + innerWidth), more(outer[3], y + innerHeight)];
  };
  const focused = () => {
    let active = document.activeElement;
    while (active && active.tagName === "IFRAME" && active.contentDocument) active = active.contentDocument.activeElement;
    while (active && active.shadowRoot && active.shadowRoot.activeElement) active = active.shadowRoot.activeElement;
    return active && active !== active.ownerDocument.body ? active : null;
  };
  const words = (text) => text.replace(/\s+/g, " ").trim();
  const ownText = (element) =>
    words(
      [...element.childNodes, ...(element.shadowRoot?.childNodes || [])]
        .filter((node) => node.nodeType === 3).map((node) => node.data).join(" "));
  // Roles and names by the rules that matter for agents. Chromium's own computation brings its whole
  // accessibility tree up to date for every element asked about: seconds on a large page.
  const byTag = {
    BUTTON: "button", TEXTAREA: "textbox", OPTION: "option", IMG: "image", UL: "list", OL: "list", LI: "listitem",
    TABLE: "table", TR: "row", TD: "cell", TH: "columnheader", NAV: "navigation", MAIN: "main", HEADER: "banner",
    FORM: "form", DIALOG: "dialog", LABEL: "LabelText", P: "paragraph", PROGRESS: "progressbar", SUMMARY: "button",
    H1: "heading", H2: "heading", H3: "heading", H4: "heading", H5: "heading", H6: "heading", HR: "separator",
  };
  const byType = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox", radio: "radio",
    range: "slider", number: "spinbutton", search: "searchbox", date: "date", time: "time",
  };
  const role = (element) => {
    const given = element.getAttribute("role");
    if (given) return given.split(" ")[0];
    const tag = element.tagName;
    if (tag === "A") return element.hasAttribute("href") ? "link" : "";
    if (tag === "INPUT") return byType[element.type] || "textbox";
    if (tag === "SELECT") return element.multiple || element.size > 1 ? "listbox" : "combobox";
    return byTag[tag] || (element.isContentEditable ? "textbox" : "");
  };
  const fields = ["textbox", "searchbox", "spinbutton", "date", "time", "combobox", "slider"];
  const editable = (element) =>
    element.isContentEditable || element.matches(
      "textarea, input:not([type=button], [type=submit], [type=reset], [type=checkbox], [type=radio], " +
      "[type=range], [type=color], [type=file], [type=image], [type=hidden])");
  const states = (element) => {
    const aria = (name) => element.getAttribute("aria-" + name) === "true";
    return [
      ["focused", element === focused()],
      ["checked", element.checked === true || aria("checked") || aria("pressed")],
      ["disabled", element.disabled === true || aria("disabled")],
      ["selected", element.selected === true || aria("selected") || element.getAttribute("aria-current") !== null],
      ["expanded", aria("expanded") || (element.tagName === "DETAILS" && element.open)],
      ["editable", editable(element)],
    ].filter(([, on]) => on).map(([name]) => name);
  };
  const value = (element) => {
    if (element.tagName === "SELECT") return words([...element.selectedOptions].map((o) => o.label).join(", "));
    if (element.isContentEditable) return words(element.innerText);
    return element.value === undefined || !fields.includes(role(element)) ? "" : String(element.value);
  };
  const displayed = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  // The text of a label without that of the field in it.
  const labelText = (node) => {
    if (node.nodeType === 3) return node.data;
    return /^(SELECT|INPUT|TEXTAREA|BUTTON)$/.test(node.tagName) ? "" : [...node.childNodes].map(labelText).join(" ");
  };
  // The text in an element, also what slots show; textContent where there are none.
  const textIn = (node) => {
    if (node.nodeType === 3) return node.data;
    const put = node.tagName === "SLOT" ? node.assignedNodes() : [];
    return [...(put.length ? put : (node.shadowRoot || node).childNodes)].map(textIn).join("");
  };
  const whole = /^(button|link|option|heading|tab|menuitem|treeitem|checkbox|radio|switch)$/;
  const name = (element) => {
    const labels = (element.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean);
    const named = labels.map((id) => element.getRootNode().getElementById(id)?.textContent || "").join(" ");
    const kind = role(element);
    const found = [
      named,
      element.getAttribute("aria-label"),
      [...(element.labels || [])].map(labelText).join(" "),
      element.alt,
      kind === "button" && element.tagName === "INPUT" ? element.value : "",
      whole.test(kind) ? element.textContent.trim() || textIn(element) : "",
      ownText(element),
      element.placeholder,
      element.title,
    ];
    return words(found.find((text) => typeof text === "string" && words(text)) || "");
  };

  own.look = (width, height) => {
    const rows = [];
    const lines = [];
    const visit = (element, depth) => {
      const slot = element.tagName === "SLOT"; // only what is put there is displayed
      if (!slot && !displayed(element)) return;
      const [kind, text] = [role(element), ownText(element)];
      const told = !slot && (kind !== "" || text !== "" || element.childElementCount === 0);
      if (element.tagName === "IFRAME") {
        if (element.contentDocument && element.contentDocument.body) visit(element.contentDocument.body, depth);
        return;
      }
      const [box, part] = [boxOf(element), windowOf(element, width, height)];
      const seen =
        box.width > 0 && box.height > 0 && box.left + box.width > part[0] && box.top + box.height > part[1] &&
        box.left < part[2] && box.top < part[3];
      if (told && element.tagName !== "BODY" && (box.width > 0 || text !== "")) {
        const ref = refOf(element);
        const row = {
          ref, tag: element.tagName.toLowerCase(), role: kind, box: [box.left, box.top, box.width, box.height],
          states: states(element), text: name(element), value: value(element),
        };
        if (seen) rows.push(row);
        const parts = [`[${ref}]`, kind || row.tag, ...(row.text ? [JSON.stringify(row.text)] : []), ...row.states];
        if (row.value) parts.push("value=" + JSON.stringify(row.value));
        if (!seen) parts.push("(out of sight)");
        lines.push("  ".repeat(depth) + parts.join(" "));
        depth += 1;
      }
      for (const child of shownIn(element)) visit(child, depth);
    };
    visit(document.body, 0);
    const active = focused();
    const focus = active ? refOf(active) : 0;
    return { rows, tree: lines.join("\n"), focus, url: location.href };
  };

  // The element of a ref, brought into sight: {x, y, width, height, editable} or {error}.
  own.locate = (ref, width, height) => {
    const element = byRef.get(ref)?.deref();
    if (!element || !element.isConnected) return { error: `no element ${ref} is on the page` };
    if (!displayed(element)) return { error: `element ${ref} (${element.tagName.toLowerCase()}) is not displayed` };
    const middle = () => {
      const box = boxOf(element);
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      const [left, top, right, bottom] = windowOf(element, width, height);
      return { x, y, inside: x >= left && y >= top && x < right && y < bottom };
    };
    if (!middle().inside) element.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
    const { x, y, inside } = middle();
    if (!inside) return { error: `element ${ref} can't be scrolled into sight` };
    const hit = own.at(x, y).element;
    const label = element.labels && [...element.labels].some((each) => each.contains(hit));
    if (!within(hit, element) && !within(element, hit) && !label)
      return { error: `element ${ref} is covered by element ${refOf(hit)} (${hit.tagName.toLowerCase()})` };
    const kind = element.tagName === "INPUT" ? element.type : "";
    return { x, y, editable: editable(element), tag: element.tagName.toLowerCase(), kind, filled: value(element) !== "" };
  };

  // Turns the wheel over an element, or over the page for ref 0.
  own.scroll = (ref, deltaY, deltaX) => {
    const element = ref ? byRef.get(ref)?.deref() : document.documentElement;
    if (!element || !element.isConnected) return { error: `no element ${ref} is on the page` };
    own.turn(element, deltaY, deltaX);
    return {};
  };

  // Chooses an option by its label, as a user would, with the events that follow.
  own.choose = (ref, label) => {
    const element = byRef.get(ref)?.deref();
    if (element.tagName !== "SELECT") return { error: `element ${ref} is no drop-down or list but ${element.tagName.toLowerCase()}` };
    if (element.matches(":disabled")) return { error: `element ${ref} is disabled` };
    const options = [...element.options].filter((option) => !option.disabled);
    const chosen = options.find((option) => words(option.label) === words(label));
    if (!chosen) return { error: `${JSON.stringify(label)} is no option of element ${ref}; it has: ${options.map((o) => words(o.label)).join(", ")}` };
    if (element.multiple) chosen.selected = !chosen.selected;
    else element.value = chosen.value, (chosen.selected = true);
    element.dispatchEvent(new Event("input", { bubbles: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
    return {};
  };

  // Gives a field that keys fill badly or not at all its value, as a user would with a calendar or a slider.
  const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value"); // React has one of its own
  const examples = {
    date: "2024-01-31", time: "13:30", month: "2024-01", week: "2024-W05", "datetime-local": "2024-01-31T13:30",
    color: "#ff8000", range: "50",
  };
  const holds = (element, text) =>
    /^(range|number)$/.test(element.type) && text.trim() !== "" && element.value !== ""
      ? Number(element.value) === Number(text)
      : element.value.toLowerCase() === text.toLowerCase();
  own.put = (ref, text) => {
    const element = byRef.get(ref)?.deref();
    const told = `element ${ref} (${element.type})`;
    if (element.matches(":disabled") || element.readOnly) return { error: `${told} is disabled or read-only` };
    element.focus();
    const before = element.value;
    set.call(element, text);
    if (!holds(element, text)) {
      set.call(element, before);
      const among = element.type === "range" ? `, from ${element.min || 0} to ${element.max || 100}` : "";
      return { error: `${told} doesn't take ${JSON.stringify(text)}; it takes texts such as ${examples[element.type]}${among}` };
    }
    element.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
    return {};
  };

  // Whether a number field has taken what was typed into it: it drops characters without a word.
  own.taken = (ref, text) => {
    const element = byRef.get(ref)?.deref();
    if (!element || !element.isConnected || holds(element, text.trim())) return {};
    return { error: `element ${ref} (${element.type}) doesn't take ${JSON.stringify(text)}; it holds ${JSON.stringify(element.value)} now` };
  };
})();
