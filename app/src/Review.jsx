// The panel: what is drawn of a session, and its keys and buttons.

import { WORDS } from "./marks.js";
import { Session } from "./session.js";
import { Box, Histogram, Line, Picture, crop } from "./pictures.jsx";
import { DEFECT, HARMLESS, LEVELS, STYLE, TRUTH } from "./style.js";

const { useEffect, useMemo, useReducer, useRef, useState } = window.React;
const LEAST = 64; // pixels that a piece of an image shows at least
const AROUND = 2.2; // how many times larger the piece is than its region
const ZOOM = 1.3;
const KEY_NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Backspace: "⌫", " ": "space" };
const LABELS = {
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
  truth: "Truth",
};

export function Review({ call, media, memory, rescored, opened }) {
  const [, changed] = useReducer((count) => count + 1, 0);
  const [view, setView] = useState({ whole: false, zoom: 1, map: true, outline: true, truth: false });
  const root = useRef(null);
  const session = useMemo(() => new Session({ call, media, memory, rescored, changed }), []);

  useEffect(() => {
    session.start();
    const warn = (event) => session.outbox.length && event.preventDefault(); // a page that is closed too early
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
    learn: () => session.learn(),
  };
  useKeys(root, session, actions);

  const { queue, current } = session;
  const press = (name) => (
    <Press key={name} name={name} queue={queue} on={view[name]} onClick={actions[name]} disabled={!current || (name === "undo" && !session.undoable.length)} />
  );
  return (
    <div className="sr" tabIndex={0} ref={root} data-cy="segad-review" onMouseMove={() => focus(root)}>
      <style>{STYLE}</style>
      {session.error && <div className="sr-notice">{session.error}</div>}
      {!queue && !session.error && <div className="sr-faint">Reading the alarms…</div>}
      {queue && <Head session={session} memory={memory} actions={actions} />}
      {queue && !current && <Nothing session={session} />}
      {current && (
        <>
          {session.elsewhere && (
            <div className="sr-faint" data-cy="segad-elsewhere">
              {session.elsewhere}
            </div>
          )}
          <Facts session={session} alarm={current} />
          <div className="sr-pictures">
            <Alarm session={session} alarm={current} view={view} />
            <Normal session={session} alarm={current} view={view} />
          </div>
          <div className="sr-row">{["defect", "harmless", "skip", "undo"].map(press)}</div>
          <div className="sr-row">
            {["previous", "next"].map(press)}
            {queue.alarms.some((alarm) => alarm.family) && press("family")}
            {["whole", "zoom_in", "zoom_out", "map", "outline"].map(press)}
            {session.shapes.get(current.id)?.truth != null && press("truth")}
          </div>
          <Hint root={root} />
        </>
      )}
    </div>
  );
}

function focus(root) {
  const busy = root.current?.contains(document.activeElement) || /^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName);
  if (!busy) root.current?.focus({ preventScroll: true });
}

// Keys count while the panel has the focus, which it takes when it opens and when the mouse moves over it. They are
// kept from the App, which has shortcuts of its own.
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
    const later = setTimeout(() => focus(root), 500); // the menu that opened the panel gives the focus back first
    return () => {
      element.removeEventListener("keydown", listen);
      clearTimeout(later);
    };
  }, []);
}

function Press({ name, queue, onClick, on, disabled, children }) {
  const key = queue.keys[name];
  const colour = name === "defect" || name === "harmless" ? `sr-${name}` : "";
  return (
    <button type="button" className={`${colour} ${on ? "sr-on" : ""}`} aria-pressed={on} onClick={onClick} disabled={disabled} onMouseDown={(event) => event.preventDefault()} data-cy={`segad-${name}`}>
      {children ?? LABELS[name]} <kbd>{KEY_NAMES[key] ?? key.toUpperCase()}</kbd>
    </button>
  );
}

function Select({ label, value, options, onChange }) {
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.target.value)}>
      {Object.entries(options).map(([name, words]) => (
        <option key={name} value={name}>
          {words}
        </option>
      ))}
    </select>
  );
}

function Head({ session, memory, actions }) {
  const { queue, list, at } = session;
  const [reviewer, setReviewer] = useState(memory.reviewer());
  const unlearnt = queue.unlearnt === null ? "marks have changed" : `${count(queue.unlearnt, "mark")} not yet learnt`;
  const runs = Object.fromEntries(queue.runs.map((run) => [run, run]));
  return (
    <>
      <div className="sr-row">
        {queue.runs.length > 1 && <Select label="Run" value={queue.run} options={runs} onChange={(run) => session.load(run)} />}
        <span className="sr-title" data-cy="segad-progress">
          <b>{list.length ? list.indexOf(at) + 1 : 0}</b> of {list.length}
        </span>
        <span className="sr-faint" data-cy="segad-open">
          {session.open} of {queue.alarms.length} open
          {session.rest > 0 && `, the first ${thousands(queue.alarms.length)} of ${thousands(queue.total)}`}
        </span>
        {session.outbox.length > 0 && <span className="sr-faint">writing {session.outbox.length}</span>}
        <span className="sr-space" />
        <Select label="Order" value={session.order} options={{ highest: "Highest first", telling: "Most telling first" }} onChange={(order) => session.choose("order", order)} />
        <Select label="Filter" value={session.filter} options={{ open: "Unreviewed", done: "Reviewed", all: "All" }} onChange={(filter) => session.choose("filter", filter)} />
      </div>
      <div className="sr-row">
        <label className="sr-faint">
          Reviewer{" "}
          <input value={reviewer} placeholder="this machine's user" onChange={(event) => (setReviewer(event.target.value), memory.setReviewer(event.target.value))} />
        </label>
        <span className="sr-space" />
        <span data-cy="segad-unlearnt">{queue.learning ? `learning, ${queue.learning}` : unlearnt}</span>
        {queue.learns && (
          <Press name="learn" queue={queue} onClick={actions.learn} disabled={!!queue.learning || queue.unlearnt === 0}>
            Learn now
          </Press>
        )}
      </div>
      {queue.learnt && (
        <div className="sr-notice" data-cy="segad-learnt">
          {queue.learnt}
        </div>
      )}
      {queue.failed && <div className="sr-notice">Learning failed: {queue.failed}</div>}
      {session.notice && (
        <div className="sr-notice" data-cy="segad-notice">
          {session.notice}
        </div>
      )}
      {queue.problems.map((problem) => (
        <div className="sr-notice" key={problem}>
          Settings: {problem}
        </div>
      ))}
    </>
  );
}

function Nothing({ session }) {
  const { queue, filter } = session;
  if (session.rest && filter !== "done") return <div data-cy="segad-done">The next alarms come…</div>;
  if (!queue.alarms.length) return <div>The run flags no region at its threshold, {queue.rule}.</div>;
  return <div data-cy="segad-done">{filter === "done" ? "Nothing is reviewed yet." : "All alarms are reviewed."}</div>;
}

function Facts({ session, alarm }) {
  const { queue, marks, shapes, normals } = session;
  const mark = marks[alarm.id];
  const like = normals.get(alarm.id)?.like;
  const hit = shapes.get(alarm.id)?.hit;
  return (
    <div className="sr-row">
      <Histogram histogram={queue.histogram} threshold={queue.threshold} score={alarm.imageScore} />
      <div>
        <div>
          Image score <b>{digits(alarm.imageScore)}</b>
          <span className="sr-faint">
            {" "}
            (threshold {digits(queue.threshold)}); peak of the region {digits(alarm.score)}
          </span>
        </div>
        <div data-cy="segad-rarity">{alarm.rarity}</div>
        <div>
          {alarm.family && <><b>{familyWords(alarm.family)}</b>. </>}
          {like && <>{like}. </>}
          {hit != null && <span className="sr-faint">The ground truth calls it {hit ? "a defect" : "good"}. </span>}
          {mark && (
            <span className="sr-mark" data-cy="segad-mark" style={{ borderColor: mark.label === "normal" ? HARMLESS : DEFECT }}>
              {WORDS[mark.label]}
              {mark.by ? `, ${mark.by}` : ""}
            </span>
          )}
        </div>
      </div>
    </div>
  );
}

// Side in pixels of the piece of an image that is shown; the same for the alarm and the normal segment
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
  return (
    <figure className="sr-frame" data-cy="segad-alarm" data-alarm={alarm.id} data-ready={!!size.width}>
      <Waiting size={size} what={alarm.name}>
        <Picture src={session.media(alarm.path)} size={size} view={piece} label={alarm.name}>
          {view.map && shapes.map?.map((d, i) => <Line key={i} name="map" d={d} size={size} colour={LEVELS[i]} width={1.25} />)}
          {view.truth && shapes.truth && <Line name="truth" d={shapes.truth} size={size} colour={TRUTH} dashed />}
          {view.outline && shapes.outline && <Line name="outline" d={shapes.outline} size={size} colour={DEFECT} />}
        </Picture>
      </Waiting>
      <figcaption title={alarm.path}>{alarm.name}</figcaption>
      {shapes.error && <div className="sr-faint">{shapes.error}</div>}
    </figure>
  );
}

function Normal({ session, alarm, view }) {
  const normal = session.normals.get(alarm.id);
  if (!normal || normal.error || normal.none) {
    const words = normal?.error ?? (normal ? "Nothing to compare with." : "Looking for the nearest normal segment…");
    return (
      <figure className="sr-frame">
        <div className="sr-empty">{words}</div>
        <figcaption />
      </figure>
    );
  }
  const size = session.decoded.get(normal.path);
  const own = session.decoded.get(alarm.path);
  // Of a coreset only features are kept, not where they are from: then the same place is shown
  const box = normal.box ?? [alarm.box[0], alarm.box[1], alarm.box[0] + alarm.box[2], alarm.box[1] + alarm.box[3]].map((share, i) => share * (i % 2 ? size.height : size.width));
  const piece = view.whole ? [0, 0, size.width, size.height] : crop([box[0], box[1], box[2] - box[0], box[3] - box[1]], size, sideOf(alarm, own, view));
  return (
    <figure className="sr-frame" data-cy="segad-normal">
      <Waiting size={size} what={normal.name}>
        <Picture src={session.media(normal.path)} size={size} view={piece} label={normal.name}>
          {view.outline && normal.box && <Box box={normal.box} colour={HARMLESS} />}
        </Picture>
      </Waiting>
      <figcaption title={normal.path}>
        <span className="sr-faint">{normal.box ? "Nearest normal:" : "Nearest normal, the same place:"}</span> {normal.name}
      </figcaption>
    </figure>
  );
}

function Waiting({ size, what, children }) {
  if (size.width) return children;
  return <div className="sr-empty">{size.failed ? `The browser cannot show ${what}` : "…"}</div>;
}

function Hint({ root }) {
  const [active, setActive] = useState(true);
  useEffect(() => {
    const look = () => setActive(!!root.current?.contains(document.activeElement));
    look();
    const timer = setInterval(look, 500);
    return () => clearInterval(timer);
  }, []);
  return active ? null : <div className="sr-faint">Move the mouse over this panel for its keys to work.</div>;
}

// Families are called "family 1" and so on until a person names them
const familyWords = (family) => (family === "new" ? "A new kind" : family.startsWith("family ") ? family.replace("f", "F") : `Family ${family}`);

const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
const thousands = (number) => number.toLocaleString("en");
const digits = (number) => Number(number.toPrecision(3)).toString();
