(() => {
  // src/openedSamples.js
  var { Operator, OperatorConfig } = window.__foo__;
  var fos = window.__fos__;
  var { getFetchFunction } = window.__fou__;
  var OPENED = /^[0-9a-f]{24}-modal$/;
  var BATCH = 20;
  var ReloadOpenedSamples = class extends Operator {
    get config() {
      return new OperatorConfig({ name: "reload_opened_samples", label: "Reload the opened samples", unlisted: true });
    }
    async execute({ state: { snapshot } }) {
      const [open, dataset, view, slice, groupField] = await Promise.all(
        [fos.modalSelector, fos.datasetName, fos.view, fos.groupSlice, fos.groupField].map((one) => snapshot.getPromise(one))
      );
      const environment = fos.getCurrentEnvironment();
      const store = environment.getStore().getSource();
      const opened = store.getRecordIDs().filter((id) => OPENED.test(id));
      const filters = opened.map((record) => {
        const { sample } = store.get(record);
        const group = slice && (typeof sample === "string" ? JSON.parse(sample) : sample)[groupField];
        return { id: record.split("-")[0], group: group ? { id: group._id, slice, slices: [group.name] } : null };
      });
      filters.sort((one, other) => (other.id === open?.id) - (one.id === open?.id));
      for (let at = 0; at < filters.length; at += BATCH) {
        const samples = await read(dataset, view, filters.slice(at, at + BATCH));
        environment.commitUpdate((records) => samples.forEach((sample) => write(records, sample)));
      }
    }
  };
  async function read(dataset, view, filters) {
    const parameters = filters.map((_, i) => `$filter${i}: SampleFilter!`).join(", ");
    const samples = filters.map(
      (_, i) => `sample${i}: sample(dataset: $dataset, view: $view, filter: $filter${i}) {
      ... on ImageSample { id sample urls { field url } }
    }`
    );
    const query = `query openedSamples($dataset: String!, $view: BSONArray!, ${parameters}) { ${samples.join("\n")} }`;
    const variables = { dataset, view, ...Object.fromEntries(filters.map((filter, i) => [`filter${i}`, filter])) };
    const { data } = await getFetchFunction()("POST", "/graphql", { query, variables });
    return Object.values(data ?? {}).filter((sample) => sample?.id);
  }
  function write(records, { id, sample, urls }) {
    const record = records.get(id);
    if (!record) return;
    record.setValue(JSON.stringify(sample), "sample");
    const files = urls.map(({ field, url }, i) => {
      const name = `client:${id}:urls:${i}`;
      const file = records.get(name) ?? records.create(name, "MediaURL");
      file.setValue(field, "field");
      file.setValue(url, "url");
      return file;
    });
    record.setLinkedRecords(files, "urls");
  }

  // src/marks.js
  var WORDS = { normal: "harmless", anomalous: "a defect" };
  function newId() {
    return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // src/decoded.js
  var KEPT = 60;
  var Decoded = class {
    // media(path) is the address of a picture; changed() is called when one has come
    constructor(media2, changed) {
      Object.assign(this, { media: media2, changed });
      this.pictures = /* @__PURE__ */ new Map();
    }
    // { width, height } once it is decoded, { failed } or neither
    get(path) {
      const known = this.pictures.get(path);
      if (known) return known;
      const state = { element: new Image() };
      this.pictures.set(path, state);
      for (const old of [...this.pictures.keys()].slice(0, -KEPT)) this.pictures.delete(old);
      state.element.onload = () => {
        Object.assign(state, { width: state.element.naturalWidth, height: state.element.naturalHeight });
        this.changed();
      };
      state.element.onerror = () => {
        state.failed = true;
        this.changed();
      };
      state.element.src = this.media(path);
      return state;
    }
  };

  // src/session.js
  var MOST = 5e3;
  var AHEAD = 8;
  var BEHIND = 2;
  var BATCH2 = 100;
  var POLL = 4e3;
  var RETRY = 2e3;
  var Session = class {
    // call(method, params) asks the panel's Python half; media(path) is the address of a picture;
    // memory is what the tab keeps over a reload; rescored() is called when the run has another result
    constructor({ call, media: media2, memory: memory2, rescored, changed }) {
      Object.assign(this, { call, media: media2, memory: memory2, rescored, changed });
      this.queue = null;
      this.error = null;
      this.notice = null;
      this.order = "highest";
      this.filter = "open";
      this.alarms = /* @__PURE__ */ new Map();
      this.marks = {};
      this.list = [];
      this.at = null;
      this.followed = null;
      this.opened = null;
      this.outbox = [];
      this.undoable = [];
      this.shapes = /* @__PURE__ */ new Map();
      this.normals = /* @__PURE__ */ new Map();
      this.decoded = new Decoded(media2, changed);
      this.busy = {};
      this.changes = 0;
      this.ended = false;
    }
    start() {
      this.load();
      this.timer = setInterval(() => this.poll(), POLL);
    }
    end() {
      this.ended = true;
      clearInterval(this.timer);
    }
    // ---- the queue
    async load(run) {
      const { followed } = this;
      const queue = await this.call("queue", { run: run ?? this.queue?.run, order: this.order, most: MOST });
      if (this.ended) return;
      this.error = queue.error ?? null;
      if (queue.error) {
        if (queue.again) setTimeout(() => this.ended || this.load(run), RETRY);
        return this.changed();
      }
      const before = this.queue;
      const other = before?.run !== queue.run || before?.dataset !== queue.dataset;
      const saved = other ? this.memory.read(placeOf(queue)) : null;
      if (saved && saved.order !== this.order) {
        this.order = saved.order;
        if (queue.total > queue.alarms.length) return this.load(run);
      }
      const looked = other ? null : this.current;
      this.queue = queue;
      this.alarms = new Map(queue.alarms.map((alarm) => [alarm.id, alarm]));
      if (before?.stamp !== queue.stamp) {
        this.shapes.clear();
        this.normals.clear();
        if (!other) this.rescored();
      }
      this.opened = followed && queue.sample;
      if (other) {
        this.outbox = saved?.outbox ?? [];
        this.undoable = saved?.undoable ?? [];
        this.filter = saved?.filter ?? this.filter;
      }
      this.marks = { ...queue.marks, ...this.pending() };
      this.arrange();
      const opened = other ? this.firstOf(this.opened) : null;
      this.at = opened ?? this.same(looked ?? saved?.looked) ?? (other ? this.firstOf(queue.sample) : null) ?? this.firstOpen() ?? this.list[0] ?? null;
      this.settle();
      this.send();
      if (followed !== this.followed) this.follow(this.followed);
    }
    // Look at the alarms of what is opened beside the panel
    async follow(id) {
      this.followed = id;
      if (!id || !this.queue) return;
      const { sample } = await this.call("opened", this.where);
      if (this.followed !== id || this.ended) return;
      this.opened = sample ?? null;
      if (this.rest && !this.firstOf(sample)) await this.load();
      this.go(this.firstOf(sample));
    }
    // An alarm of a sample: the first without a mark, if there is one
    firstOf(sample) {
      const ids = [...this.list, ...this.alarms.keys()].filter((id) => this.alarms.get(id).sample === sample);
      return ids.find((id) => !this.marks[id]) ?? ids[0] ?? null;
    }
    // Says so where the alarm is not of the sample that is open beside the panel
    get elsewhere() {
      if (!this.opened || !this.current || this.current.sample === this.opened) return null;
      return this.firstOf(this.opened) ? "This alarm is of another image than the open one." : "The open image has no alarm; this one is of another.";
    }
    // Named in each request, for another dataset or run may be open by the time it is answered
    get where() {
      return { dataset: this.queue.dataset, run: this.queue.run };
    }
    get current() {
      return this.alarms.get(this.at);
    }
    get open() {
      return this.queue ? this.queue.alarms.filter((alarm) => !this.marks[alarm.id]).length : 0;
    }
    // How many alarms are not held yet
    get rest() {
      return this.queue ? this.queue.total - this.queue.alarms.length : 0;
    }
    // They come once all that are held have a mark, and the marks are written
    async fetchRest() {
      if (!this.rest || this.open || this.outbox.length) return;
      await this.load();
      this.go(this.firstOpen());
    }
    // Marks of decisions that are on their way
    pending() {
      const marks = {};
      for (const entry of this.outbox) {
        if (this.alarms.has(entry.alarm)) marks[entry.alarm] = entry.shown;
      }
      return marks;
    }
    // The alarm that is where one was before the run was scored again
    same(looked) {
      if (!looked) return null;
      if (this.alarms.has(looked.id)) return looked.id;
      const others = this.queue.alarms.filter((alarm) => alarm.sample === looked.sample);
      const nearest = (alarm) => Math.hypot(...alarm.box.map((side, i) => side - looked.box[i]));
      return others.sort((one, other) => nearest(one) - nearest(other))[0]?.id ?? null;
    }
    arrange() {
      const { alarms, telling } = this.queue;
      const ids = (this.order === "telling" ? telling.map((i) => alarms[i]) : alarms).map((alarm) => alarm.id);
      const shown = { open: (id) => !this.marks[id], done: (id) => this.marks[id], all: () => true }[this.filter];
      this.list = ids.filter(shown);
    }
    choose(name, value) {
      this[name] = value;
      if (name === "order" && this.rest) return this.load().then(() => this.go(this.firstOpen()));
      this.arrange();
      if (name === "order" || !this.list.includes(this.at)) this.at = this.firstOpen() ?? this.list[0] ?? null;
      this.settle();
    }
    // ---- the place in it
    firstOpen(from = 0, fits = () => true) {
      const rest = [...this.list.slice(from), ...this.list.slice(0, from)];
      return rest.find((id) => !this.marks[id] && fits(id));
    }
    step(by) {
      const index = this.list.indexOf(this.at);
      this.go(this.list[Math.min(Math.max(index + by, 0), this.list.length - 1)]);
    }
    skip() {
      this.go(this.firstOpen(this.list.indexOf(this.at) + 1, (id) => id !== this.at));
    }
    nextFamily() {
      const family = this.current?.family;
      const fits = (id) => this.alarms.get(id).family !== family;
      this.go(this.firstOpen(this.list.indexOf(this.at) + 1, fits));
    }
    go(id) {
      if (id) this.at = id;
      this.settle();
    }
    // ---- decisions
    decide(label) {
      const alarm = this.current;
      if (!alarm) return;
      const before = this.marks[alarm.id] ?? null;
      if (before?.label !== label) {
        const action = newId();
        const shown = { label, by: null, action };
        this.put({ action, alarm, label, shown, replaces: before?.action ?? null });
        this.undoable.push({ action, id: alarm.id, sample: alarm.sample, box: alarm.box, before });
      }
      this.skip();
    }
    undo() {
      const last = this.undoable.pop();
      if (!last) return;
      const id = this.same(last);
      const alarm = { id: id ?? last.id, sample: last.sample, box: last.box };
      this.put({ action: last.action, alarm, label: null, shown: last.before, replaces: null });
      if (id && !this.list.includes(id)) this.list.unshift(id);
      this.go(id);
    }
    put({ action, alarm, label, shown, replaces }) {
      this.changes++;
      this.marks[alarm.id] = shown;
      this.outbox.push({ action, alarm: alarm.id, sample: alarm.sample, box: alarm.box, label, shown, replaces });
      this.remember();
      this.send();
    }
    // One request at a time, so that decisions arrive in their order; each may arrive twice, and counts once
    async send() {
      if (this.busy.send || !this.outbox.length || this.ended) return;
      this.busy.send = true;
      const { outbox } = this;
      const batch = outbox.slice(0, BATCH2);
      const decisions = batch.map(({ action, sample, box, label, replaces }) => ({ action, sample, box, label, replaces }));
      const answer = await this.call("decide", { ...this.where, decisions, by: this.memory.reviewer() });
      this.busy.send = false;
      if (answer.error) {
        this.notice = `Not yet written: ${answer.error}`;
        setTimeout(() => this.send(), RETRY);
        return this.changed();
      }
      if (this.notice?.startsWith("Not yet written")) this.notice = null;
      outbox.splice(0, batch.length);
      if (outbox !== this.outbox) return this.send();
      const later = this.pending();
      batch.forEach((entry, i) => {
        const { mark, refused } = answer.outcomes[i];
        if (this.alarms.has(entry.alarm) && !(entry.alarm in later)) this.marks[entry.alarm] = mark;
        if (refused) {
          this.undoable = this.undoable.filter((one) => one.action !== entry.action);
          const name = this.alarms.get(entry.alarm)?.name ?? "An image";
          this.notice = mark ? `${name}: ${mark.by} had marked it as ${WORDS[mark.label]} in the meantime; that mark stays` : `${name} is no longer in the dataset`;
        }
      });
      this.changes++;
      this.remember();
      this.changed();
      this.send();
      this.poll();
      this.fetchRest();
    }
    // ---- what others do, and what the run learns
    async poll() {
      if (this.busy.poll || !this.queue || this.ended || document.hidden) return;
      this.busy.poll = true;
      const { changes, queue } = this;
      const news = await this.call("poll", { ...this.where, version: queue.version });
      this.busy.poll = false;
      if (news.again || this.ended || queue !== this.queue) return;
      if (news.error || news.stamp !== queue.stamp) return this.load();
      Object.assign(queue, { learning: news.learning, learnt: news.learnt, failed: news.failed });
      if (news.marks && changes === this.changes) {
        Object.assign(queue, { version: news.version, unlearnt: news.unlearnt });
        this.marks = { ...news.marks, ...this.pending() };
      }
      this.changed();
    }
    async learn() {
      if (!this.queue?.learns || this.queue.learning) return;
      Object.assign(this.queue, { learning: "0%", learnt: null, failed: null });
      this.changed();
      while (this.outbox.length && !this.ended) await new Promise((resolve) => setTimeout(resolve, 50));
      const answer = await this.call("learn", this.where);
      if (answer.error) Object.assign(this.queue, { learning: null, failed: answer.error });
      this.changed();
    }
    // ---- preparation of what comes next
    settle() {
      this.remember();
      this.changed();
      this.prepare();
    }
    remember() {
      const { order, filter, outbox, undoable } = this;
      const alarm = this.current;
      const looked = alarm && { id: alarm.id, sample: alarm.sample, box: alarm.box };
      this.memory.write(placeOf(this.queue), { order, filter, outbox, undoable, looked });
    }
    near() {
      const index = Math.max(this.list.indexOf(this.at), 0);
      const ahead = this.list.slice(index, index + 1 + AHEAD);
      return [...ahead, ...this.list.slice(Math.max(index - BEHIND, 0), index)];
    }
    prepare() {
      for (const id of this.near()) {
        this.decoded.get(this.alarms.get(id).path);
        const normal = this.normals.get(id);
        if (normal?.path) this.decoded.get(normal.path);
      }
      this.ask("shapes", this.shapes, AHEAD);
      this.ask("normals", this.normals, BEHIND);
    }
    async ask(method, known, count2) {
      const ids = this.near().filter((id) => !known.has(id)).slice(0, count2);
      if (this.busy[method] || !ids.length || this.ended) return;
      this.busy[method] = true;
      const { stamp } = this.queue;
      const answer = await this.call(method, { ...this.where, ids });
      this.busy[method] = false;
      if (this.ended) return;
      if (answer.again) {
        setTimeout(() => this.prepare(), RETRY);
        return;
      }
      if (stamp === this.queue.stamp) {
        for (const id of ids) known.set(id, answer.error ? { error: answer.error } : answer[id] ?? { none: true });
      }
      this.changed();
      this.prepare();
    }
  };
  var placeOf = (queue) => `segad-review ${queue.dataset} ${queue.run}`;

  // src/pictures.jsx
  var UNITS = 1e4;
  function crop([x, y, width, height], size, side) {
    const place = (middle, length) => Math.min(Math.max(middle - side / 2, Math.min(0, length - side)), Math.max(length - side, 0));
    return [place(x + width / 2, size.width), place(y + height / 2, size.height), side, side];
  }
  function Picture({ src, size, view, children, label }) {
    return /* @__PURE__ */ React.createElement("svg", { className: "sr-picture", viewBox: view.join(" "), role: "img", "aria-label": label }, /* @__PURE__ */ React.createElement("image", { href: src, width: size.width, height: size.height, preserveAspectRatio: "none" }), children);
  }
  function Line({ d, size, colour, width = 2, dashed = false, name }) {
    const transform = `scale(${size.width / UNITS} ${size.height / UNITS})`;
    const common = { d, transform, fill: "none", vectorEffect: "non-scaling-stroke", strokeLinejoin: "round" };
    return /* @__PURE__ */ React.createElement("g", { "data-line": name }, /* @__PURE__ */ React.createElement("path", { ...common, stroke: "#000", strokeOpacity: "0.55", strokeWidth: width + 2 }), /* @__PURE__ */ React.createElement("path", { ...common, stroke: colour, strokeWidth: width, strokeDasharray: dashed ? "6 4" : void 0 }));
  }
  function Box({ box: [x0, y0, x1, y1], colour }) {
    const common = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, fill: "none", vectorEffect: "non-scaling-stroke" };
    return /* @__PURE__ */ React.createElement("g", null, /* @__PURE__ */ React.createElement("rect", { ...common, stroke: "#000", strokeOpacity: "0.55", strokeWidth: "4" }), /* @__PURE__ */ React.createElement("rect", { ...common, stroke: colour, strokeWidth: "2" }));
  }
  var WIDTH = 240;
  var HEIGHT = 54;
  function Histogram({ histogram, threshold, score }) {
    const { edges, compared, alarms, good } = histogram;
    const [low, high] = [edges[0], edges[edges.length - 1]];
    const x = (value) => (Math.min(Math.max(value, low), high) - low) / (high - low) * WIDTH;
    const bars = (counts, className) => {
      const most = Math.max(...counts, 1);
      return counts.map((count2, i) => {
        const height = count2 / most * (HEIGHT - 12);
        return count2 ? /* @__PURE__ */ React.createElement("rect", { key: i, className, x: x(edges[i]), y: HEIGHT - height, width: Math.max(x(edges[i + 1]) - x(edges[i]) - 1, 1), height }) : null;
      });
    };
    const title = `${good ? "Good images" : "All images"} (grey) and alarms (orange) by score; the dashed line is the threshold`;
    return /* @__PURE__ */ React.createElement("svg", { className: "sr-histogram", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, /* @__PURE__ */ React.createElement("title", null, title), bars(compared, "sr-good"), bars(alarms, "sr-alarming"), /* @__PURE__ */ React.createElement("line", { className: "sr-threshold", x1: x(threshold), x2: x(threshold), y1: "6", y2: HEIGHT }), /* @__PURE__ */ React.createElement("path", { className: "sr-score", d: `M${x(score) - 5} 0h10l-5 9Z M${x(score)} 9V${HEIGHT}` }));
  }

  // src/style.js
  var text = "var(--fo-palette-text-primary)";
  var faint = "var(--fo-palette-text-secondary)";
  var line = "var(--fo-palette-divider)";
  var raised = "var(--fo-palette-background-level2)";
  var orange = "var(--fo-palette-primary-main, #ff6d04)";
  var DEFECT = "#d500f9";
  var HARMLESS = "#00c853";
  var TRUTH = "#00b8d4";
  var LEVELS = ["#ffd54f", "#ffb300", "#fb8c00", "#f4511e"];
  var STYLE = `
.sr { height: 100%; overflow: auto; box-sizing: border-box; padding: 10px 12px; color: ${text}; outline: none;
  font-family: inherit; font-size: 14px; line-height: 1.4; display: flex; flex-direction: column; gap: 8px;
  border-top: 2px solid transparent; }
.sr:focus-within, .sr:focus { border-top-color: ${orange}; }
.sr-row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.sr-space { flex: 1; }
.sr-faint { color: ${faint}; }
.sr b { font-weight: 600; }
.sr select, .sr input { background: ${raised}; color: ${text}; border: 1px solid ${line}; border-radius: 4px;
  padding: 3px 6px; font: inherit; }
.sr input { width: 110px; }
.sr button { background: ${raised}; color: ${text}; border: 1px solid ${line}; border-radius: 4px; padding: 4px 9px;
  font: inherit; cursor: pointer; display: inline-flex; gap: 6px; align-items: center; }
.sr button:hover:enabled { border-color: ${orange}; }
.sr button:disabled { opacity: 0.45; cursor: default; }
.sr button.sr-on { border-color: ${orange}; }
.sr button.sr-defect { border-color: ${DEFECT}; }
.sr button.sr-harmless { border-color: ${HARMLESS}; }
.sr kbd { font: 600 12px monospace; border: 1px solid ${line}; border-radius: 3px; padding: 0 5px; min-width: 10px;
  text-align: center; background: var(--fo-palette-background-body); color: ${text}; }
.sr-pictures { display: flex; flex-wrap: wrap; gap: 10px; }
.sr-frame { flex: 1 1 220px; min-width: 200px; max-width: min(100%, 62vh); }
.sr-frame figcaption { min-height: 20px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.sr-frame figure, .sr figure { margin: 0; }
.sr-picture { display: block; width: 100%; aspect-ratio: 1; background: #111; border-radius: 4px; }
.sr-empty { display: flex; align-items: center; justify-content: center; text-align: center; width: 100%;
  aspect-ratio: 1; background: ${raised}; border-radius: 4px; color: ${faint}; padding: 12px; box-sizing: border-box; }
.sr-histogram { width: 240px; height: 54px; border-bottom: 1px solid ${line}; }
.sr-good { fill: ${faint}; opacity: 0.6; }
.sr-alarming { fill: ${orange}; opacity: 0.75; }
.sr-threshold { stroke: ${text}; stroke-dasharray: 4 3; }
.sr-score { stroke: ${text}; fill: ${text}; }
.sr-mark { border: 2px solid; border-radius: 4px; padding: 0 8px; font-weight: 600; }
.sr-notice { border-left: 3px solid ${orange}; padding: 2px 8px; background: ${raised}; }
.sr-title { font-size: 16px; }
`;

  // src/Review.jsx
  var { useEffect, useMemo, useReducer, useRef, useState } = window.React;
  var LEAST = 64;
  var AROUND = 2.2;
  var ZOOM = 1.3;
  var KEY_NAMES = { ArrowLeft: "\u2190", ArrowRight: "\u2192", ArrowUp: "\u2191", ArrowDown: "\u2193", Backspace: "\u232B", " ": "space" };
  var LABELS = {
    defect: "Defect",
    harmless: "Harmless",
    skip: "Skip",
    undo: "Undo",
    previous: "Previous",
    next: "Next",
    family: "Next family",
    whole: "Whole image",
    zoom_in: "Closer",
    zoom_out: "Farther",
    map: "Map",
    outline: "Outline",
    truth: "Truth"
  };
  function Review({ call, media: media2, memory: memory2, rescored, opened }) {
    const [, changed] = useReducer((count2) => count2 + 1, 0);
    const [view, setView] = useState({ whole: false, zoom: 1, map: true, outline: true, truth: false });
    const root = useRef(null);
    const session = useMemo(() => new Session({ call, media: media2, memory: memory2, rescored, changed }), []);
    useEffect(() => {
      session.start();
      const warn = (event) => session.outbox.length && event.preventDefault();
      window.addEventListener("beforeunload", warn);
      return () => {
        session.end();
        window.removeEventListener("beforeunload", warn);
      };
    }, []);
    useEffect(() => void session.follow(opened), [opened]);
    const toggle = (name) => setView((before) => ({ ...before, [name]: !before[name] }));
    const zoom = (by) => setView((before) => ({ ...before, whole: false, zoom: before.zoom * by }));
    const actions = {
      defect: () => session.decide("anomalous"),
      harmless: () => session.decide("normal"),
      skip: () => session.skip(),
      undo: () => session.undo(),
      previous: () => session.step(-1),
      next: () => session.step(1),
      family: () => session.nextFamily(),
      whole: () => toggle("whole"),
      zoom_in: () => zoom(1 / ZOOM),
      zoom_out: () => zoom(ZOOM),
      map: () => toggle("map"),
      outline: () => toggle("outline"),
      truth: () => toggle("truth"),
      learn: () => session.learn()
    };
    useKeys(root, session, actions);
    const { queue, current } = session;
    const press = (name) => /* @__PURE__ */ React.createElement(Press, { key: name, name, queue, on: view[name], onClick: actions[name], disabled: !current || name === "undo" && !session.undoable.length });
    return /* @__PURE__ */ React.createElement("div", { className: "sr", tabIndex: 0, ref: root, "data-cy": "segad-review", onMouseMove: () => focus(root) }, /* @__PURE__ */ React.createElement("style", null, STYLE), session.error && /* @__PURE__ */ React.createElement("div", { className: "sr-notice" }, session.error), !queue && !session.error && /* @__PURE__ */ React.createElement("div", { className: "sr-faint" }, "Reading the alarms\u2026"), queue && /* @__PURE__ */ React.createElement(Head, { session, memory: memory2, actions }), queue && !current && /* @__PURE__ */ React.createElement(Nothing, { session }), current && /* @__PURE__ */ React.createElement(React.Fragment, null, session.elsewhere && /* @__PURE__ */ React.createElement("div", { className: "sr-faint", "data-cy": "segad-elsewhere" }, session.elsewhere), /* @__PURE__ */ React.createElement(Facts, { session, alarm: current }), /* @__PURE__ */ React.createElement("div", { className: "sr-pictures" }, /* @__PURE__ */ React.createElement(Alarm, { session, alarm: current, view }), /* @__PURE__ */ React.createElement(Normal, { session, alarm: current, view })), /* @__PURE__ */ React.createElement("div", { className: "sr-row" }, ["defect", "harmless", "skip", "undo"].map(press)), /* @__PURE__ */ React.createElement("div", { className: "sr-row" }, ["previous", "next"].map(press), queue.alarms.some((alarm) => alarm.family) && press("family"), ["whole", "zoom_in", "zoom_out", "map", "outline"].map(press), session.shapes.get(current.id)?.truth != null && press("truth")), /* @__PURE__ */ React.createElement(Hint, { root })));
  }
  function focus(root) {
    const busy = root.current?.contains(document.activeElement) || /^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName);
    if (!busy) root.current?.focus({ preventScroll: true });
  }
  function useKeys(root, session, actions) {
    const latest = useRef(actions);
    latest.current = actions;
    useEffect(() => {
      const listen = (event) => {
        const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
        if (typing || event.ctrlKey || event.metaKey || event.altKey || !session.queue) return;
        const pressed = event.key.toLowerCase() === "=" ? "+" : event.key.toLowerCase();
        const name = Object.keys(session.queue.keys).find((one) => session.queue.keys[one].toLowerCase() === pressed);
        if (!name) return;
        event.preventDefault();
        event.stopPropagation();
        latest.current[name]();
      };
      const element = root.current;
      element.addEventListener("keydown", listen);
      focus(root);
      const later = setTimeout(() => focus(root), 500);
      return () => {
        element.removeEventListener("keydown", listen);
        clearTimeout(later);
      };
    }, []);
  }
  function Press({ name, queue, onClick, on, disabled, children }) {
    const key = queue.keys[name];
    const colour = name === "defect" || name === "harmless" ? `sr-${name}` : "";
    return /* @__PURE__ */ React.createElement("button", { type: "button", className: `${colour} ${on ? "sr-on" : ""}`, "aria-pressed": on, onClick, disabled, onMouseDown: (event) => event.preventDefault(), "data-cy": `segad-${name}` }, children ?? LABELS[name], " ", /* @__PURE__ */ React.createElement("kbd", null, KEY_NAMES[key] ?? key.toUpperCase()));
  }
  function Select({ label, value, options, onChange }) {
    return /* @__PURE__ */ React.createElement("select", { "aria-label": label, value, onChange: (event) => onChange(event.target.value) }, Object.entries(options).map(([name, words]) => /* @__PURE__ */ React.createElement("option", { key: name, value: name }, words)));
  }
  function Head({ session, memory: memory2, actions }) {
    const { queue, list, at } = session;
    const [reviewer, setReviewer] = useState(memory2.reviewer());
    const unlearnt = queue.unlearnt === null ? "marks have changed" : `${count(queue.unlearnt, "mark")} not yet learnt`;
    const runs = Object.fromEntries(queue.runs.map((run) => [run, run]));
    return /* @__PURE__ */ React.createElement(React.Fragment, null, /* @__PURE__ */ React.createElement("div", { className: "sr-row" }, queue.runs.length > 1 && /* @__PURE__ */ React.createElement(Select, { label: "Run", value: queue.run, options: runs, onChange: (run) => session.load(run) }), /* @__PURE__ */ React.createElement("span", { className: "sr-title", "data-cy": "segad-progress" }, /* @__PURE__ */ React.createElement("b", null, list.length ? list.indexOf(at) + 1 : 0), " of ", list.length), /* @__PURE__ */ React.createElement("span", { className: "sr-faint", "data-cy": "segad-open" }, session.open, " of ", queue.alarms.length, " open", session.rest > 0 && `, the first ${thousands(queue.alarms.length)} of ${thousands(queue.total)}`), session.outbox.length > 0 && /* @__PURE__ */ React.createElement("span", { className: "sr-faint" }, "writing ", session.outbox.length), /* @__PURE__ */ React.createElement("span", { className: "sr-space" }), /* @__PURE__ */ React.createElement(Select, { label: "Order", value: session.order, options: { highest: "Highest first", telling: "Most telling first" }, onChange: (order) => session.choose("order", order) }), /* @__PURE__ */ React.createElement(Select, { label: "Filter", value: session.filter, options: { open: "Unreviewed", done: "Reviewed", all: "All" }, onChange: (filter) => session.choose("filter", filter) })), /* @__PURE__ */ React.createElement("div", { className: "sr-row" }, /* @__PURE__ */ React.createElement("label", { className: "sr-faint" }, "Reviewer", " ", /* @__PURE__ */ React.createElement("input", { value: reviewer, placeholder: "this machine's user", onChange: (event) => (setReviewer(event.target.value), memory2.setReviewer(event.target.value)) })), /* @__PURE__ */ React.createElement("span", { className: "sr-space" }), /* @__PURE__ */ React.createElement("span", { "data-cy": "segad-unlearnt" }, queue.learning ? `learning, ${queue.learning}` : unlearnt), queue.learns && /* @__PURE__ */ React.createElement(Press, { name: "learn", queue, onClick: actions.learn, disabled: !!queue.learning || queue.unlearnt === 0 }, "Learn now")), queue.learnt && /* @__PURE__ */ React.createElement("div", { className: "sr-notice", "data-cy": "segad-learnt" }, queue.learnt), queue.failed && /* @__PURE__ */ React.createElement("div", { className: "sr-notice" }, "Learning failed: ", queue.failed), session.notice && /* @__PURE__ */ React.createElement("div", { className: "sr-notice", "data-cy": "segad-notice" }, session.notice), queue.problems.map((problem) => /* @__PURE__ */ React.createElement("div", { className: "sr-notice", key: problem }, "Settings: ", problem)));
  }
  function Nothing({ session }) {
    const { queue, filter } = session;
    if (session.rest && filter !== "done") return /* @__PURE__ */ React.createElement("div", { "data-cy": "segad-done" }, "The next alarms come\u2026");
    if (!queue.alarms.length) return /* @__PURE__ */ React.createElement("div", null, "The run flags no region at its threshold, ", queue.rule, ".");
    return /* @__PURE__ */ React.createElement("div", { "data-cy": "segad-done" }, filter === "done" ? "Nothing is reviewed yet." : "All alarms are reviewed.");
  }
  function Facts({ session, alarm }) {
    const { queue, marks, shapes, normals } = session;
    const mark = marks[alarm.id];
    const like = normals.get(alarm.id)?.like;
    const hit = shapes.get(alarm.id)?.hit;
    return /* @__PURE__ */ React.createElement("div", { className: "sr-row" }, /* @__PURE__ */ React.createElement(Histogram, { histogram: queue.histogram, threshold: queue.threshold, score: alarm.imageScore }), /* @__PURE__ */ React.createElement("div", null, /* @__PURE__ */ React.createElement("div", null, "Image score ", /* @__PURE__ */ React.createElement("b", null, digits(alarm.imageScore)), /* @__PURE__ */ React.createElement("span", { className: "sr-faint" }, " ", "(threshold ", digits(queue.threshold), "); peak of the region ", digits(alarm.score))), /* @__PURE__ */ React.createElement("div", { "data-cy": "segad-rarity" }, alarm.rarity), /* @__PURE__ */ React.createElement("div", null, alarm.family && /* @__PURE__ */ React.createElement(React.Fragment, null, /* @__PURE__ */ React.createElement("b", null, familyWords(alarm.family)), ". "), like && /* @__PURE__ */ React.createElement(React.Fragment, null, like, ". "), hit != null && /* @__PURE__ */ React.createElement("span", { className: "sr-faint" }, "The ground truth calls it ", hit ? "a defect" : "good", ". "), mark && /* @__PURE__ */ React.createElement("span", { className: "sr-mark", "data-cy": "segad-mark", style: { borderColor: mark.label === "normal" ? HARMLESS : DEFECT } }, WORDS[mark.label], mark.by ? `, ${mark.by}` : ""))));
  }
  function sideOf(alarm, size, view) {
    const region = Math.max(alarm.box[2] * size.width, alarm.box[3] * size.height);
    return Math.max(region * AROUND, LEAST, Math.min(size.width, size.height) / 6) * view.zoom;
  }
  function Alarm({ session, alarm, view }) {
    const size = session.decoded.get(alarm.path);
    const shapes = session.shapes.get(alarm.id) ?? {};
    const [x, y, width, height] = alarm.box;
    const box = [x * size.width, y * size.height, width * size.width, height * size.height];
    const piece = view.whole ? [0, 0, size.width, size.height] : crop(box, size, sideOf(alarm, size, view));
    return /* @__PURE__ */ React.createElement("figure", { className: "sr-frame", "data-cy": "segad-alarm", "data-alarm": alarm.id, "data-ready": !!size.width }, /* @__PURE__ */ React.createElement(Waiting, { size, what: alarm.name }, /* @__PURE__ */ React.createElement(Picture, { src: session.media(alarm.path), size, view: piece, label: alarm.name }, view.map && shapes.map?.map((d, i) => /* @__PURE__ */ React.createElement(Line, { key: i, name: "map", d, size, colour: LEVELS[i], width: 1.25 })), view.truth && shapes.truth && /* @__PURE__ */ React.createElement(Line, { name: "truth", d: shapes.truth, size, colour: TRUTH, dashed: true }), view.outline && shapes.outline && /* @__PURE__ */ React.createElement(Line, { name: "outline", d: shapes.outline, size, colour: DEFECT }))), /* @__PURE__ */ React.createElement("figcaption", { title: alarm.path }, alarm.name), shapes.error && /* @__PURE__ */ React.createElement("div", { className: "sr-faint" }, shapes.error));
  }
  function Normal({ session, alarm, view }) {
    const normal = session.normals.get(alarm.id);
    if (!normal || normal.error || normal.none) {
      const words = normal?.error ?? (normal ? "Nothing to compare with." : "Looking for the nearest normal segment\u2026");
      return /* @__PURE__ */ React.createElement("figure", { className: "sr-frame" }, /* @__PURE__ */ React.createElement("div", { className: "sr-empty" }, words), /* @__PURE__ */ React.createElement("figcaption", null));
    }
    const size = session.decoded.get(normal.path);
    const own = session.decoded.get(alarm.path);
    const box = normal.box ?? [alarm.box[0], alarm.box[1], alarm.box[0] + alarm.box[2], alarm.box[1] + alarm.box[3]].map((share, i) => share * (i % 2 ? size.height : size.width));
    const piece = view.whole ? [0, 0, size.width, size.height] : crop([box[0], box[1], box[2] - box[0], box[3] - box[1]], size, sideOf(alarm, own, view));
    return /* @__PURE__ */ React.createElement("figure", { className: "sr-frame", "data-cy": "segad-normal" }, /* @__PURE__ */ React.createElement(Waiting, { size, what: normal.name }, /* @__PURE__ */ React.createElement(Picture, { src: session.media(normal.path), size, view: piece, label: normal.name }, view.outline && normal.box && /* @__PURE__ */ React.createElement(Box, { box: normal.box, colour: HARMLESS }))), /* @__PURE__ */ React.createElement("figcaption", { title: normal.path }, /* @__PURE__ */ React.createElement("span", { className: "sr-faint" }, normal.box ? "Nearest normal:" : "Nearest normal, the same place:"), " ", normal.name));
  }
  function Waiting({ size, what, children }) {
    if (size.width) return children;
    return /* @__PURE__ */ React.createElement("div", { className: "sr-empty" }, size.failed ? `The browser cannot show ${what}` : "\u2026");
  }
  function Hint({ root }) {
    const [active, setActive] = useState(true);
    useEffect(() => {
      const look = () => setActive(!!root.current?.contains(document.activeElement));
      look();
      const timer = setInterval(look, 500);
      return () => clearInterval(timer);
    }, []);
    return active ? null : /* @__PURE__ */ React.createElement("div", { className: "sr-faint" }, "Move the mouse over this panel for its keys to work.");
  }
  var familyWords = (family) => family === "new" ? "A new kind" : family.startsWith("family ") ? family.replace("f", "F") : `Family ${family}`;
  var count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  var thousands = (number) => number.toLocaleString("en");
  var digits = (number) => Number(number.toPrecision(3)).toString();

  // src/index.jsx
  var { registerComponent, PluginComponentType } = window.__fop__;
  var { executeOperator, registerOperator, usePanelEvent } = window.__foo__;
  var { usePanelContext } = window.__fosp__;
  var { nullableModalSampleId } = window.__fos__;
  var { useRecoilValue } = window.recoil;
  var { getFetchOrigin, getFetchPathPrefix } = window.__fou__;
  var { useRef: useRef2 } = window.React;
  var PLUGIN = "@segad/anomaly";
  var REVIEWER = "segad-reviewer";
  var MODAL = "modal";
  var memory = {
    read: (place) => JSON.parse(sessionStorage.getItem(place) ?? "null"),
    write: (place, value) => sessionStorage.setItem(place, JSON.stringify(value)),
    reviewer: () => localStorage.getItem(REVIEWER) ?? "",
    setReviewer: (name) => localStorage.setItem(REVIEWER, name)
  };
  function media(path) {
    if (/^https?:/.test(path)) return path;
    return `${getFetchOrigin()}${getFetchPathPrefix()}/media?filepath=${encodeURIComponent(path)}`;
  }
  function readAgain() {
    executeOperator("reload_dataset");
    executeOperator(`${PLUGIN}/reload_opened_samples`);
  }
  function SegadReview({ schema }) {
    const { node, scope } = usePanelContext();
    const opened = useRecoilValue(nullableModalSampleId);
    const latest = useRef2(null);
    latest.current = { handle: usePanelEvent(), methods: schema.view };
    const call = (method, params) => new Promise((resolve) => {
      const { handle, methods } = latest.current;
      const callback = ({ result, error, errorMessage }) => resolve(error ? { error: String(errorMessage ?? error), again: true } : result ?? {});
      handle(node.id, { operator: methods[method], params, callback });
    });
    return /* @__PURE__ */ React.createElement(Review, { call, media, memory, rescored: readAgain, opened: scope === MODAL ? opened : null });
  }
  registerComponent({
    name: "SegadReview",
    label: "SegadReview",
    component: SegadReview,
    type: PluginComponentType.Component,
    activator: () => true
  });
  registerOperator(ReloadOpenedSamples, PLUGIN);
})();
