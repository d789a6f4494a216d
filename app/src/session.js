// The state of a review: the queue, the place in it, and what was decided but is not yet written.
// Nothing here draws; the component draws again whenever `changed` is called.

import { Decoded } from "./decoded.js";
import { WORDS, newId } from "./marks.js";

const MOST = 5000; // alarms without a mark that are held at once
const AHEAD = 8; // alarms that are prepared before they are looked at
const BEHIND = 2;
const BATCH = 100; // decisions in one request
const POLL = 4000; // ms between looks at what others have done
const RETRY = 2000;

export class Session {
  // call(method, params) asks the panel's Python half; media(path) is the address of a picture;
  // memory is what the tab keeps over a reload; rescored() is called when the run has another result
  constructor({ call, media, memory, rescored, changed }) {
    Object.assign(this, { call, media, memory, rescored, changed });
    this.queue = null; // what Python said
    this.error = null;
    this.notice = null;
    this.order = "highest";
    this.filter = "open";
    this.alarms = new Map(); // by id
    this.marks = {}; // what is decided of each alarm, this tab's decisions included
    this.list = []; // ids in the order in which they are looked at; stays until order or filter change
    this.at = null;
    this.followed = null; // what is open beside the panel: a sample, or a patch of one
    this.opened = null; // the sample of that
    this.outbox = []; // decisions that are not yet known to be written
    this.undoable = [];
    this.shapes = new Map();
    this.normals = new Map();
    this.decoded = new Decoded(media, changed);
    this.busy = {};
    this.changes = 0; // counts this tab's decisions, so that an older answer does not undo them
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
      if (queue.total > queue.alarms.length) return this.load(run); // the first in another order are others
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
    const batch = outbox.slice(0, BATCH);
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
    if (outbox !== this.outbox) return this.send(); // another queue is open by now
    const later = this.pending();
    batch.forEach((entry, i) => {
      const { mark, refused } = answer.outcomes[i];
      if (this.alarms.has(entry.alarm) && !(entry.alarm in later)) this.marks[entry.alarm] = mark;
      if (refused) {
        this.undoable = this.undoable.filter((one) => one.action !== entry.action);
        const name = this.alarms.get(entry.alarm)?.name ?? "An image";
        this.notice = mark
          ? `${name}: ${mark.by} had marked it as ${WORDS[mark.label]} in the meantime; that mark stays`
          : `${name} is no longer in the dataset`;
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
    this.ask("normals", this.normals, BEHIND); // few, for each goes through the model
  }

  async ask(method, known, count) {
    const ids = this.near().filter((id) => !known.has(id)).slice(0, count);
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
}

// Where the tab's memory has what it keeps of a queue
const placeOf = (queue) => `segad-review ${queue.dataset} ${queue.run}`;
